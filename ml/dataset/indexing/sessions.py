"""Recording sessions as file names tell them, for where nobody has named them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ml.dataset.indexing.listing import ListedRecording

# A counter, a date or a time at the end of a name: all digits, after a separator or alone.
COUNTERS = re.compile(r"(?:^|[_\-. ]+)[0-9]+$")
FILES_PER_SESSION = 2


def assign_sessions(recordings: Iterable[ListedRecording]) -> list[ListedRecording]:
    """The same recordings, each with a group.

    Where a recording has none yet: its session is what is left of the file's name without the counters, dates and times
    at its end (``N1_20251111_180218_0001`` is of ``N1``, ``0001_cw_f8_01`` of ``0001_cw_f8``), if that makes at least
    two sessions of two or more files on average within its unit. Otherwise all recordings of a machine id are one
    group or, where no id is known, all of a class.
    """
    named, open_ = [], defaultdict(list)
    for recording in recordings:
        if recording.annotation.session is not None:
            named.append(recording)
        else:
            open_[recording.session_scope].append(recording)
    return named + [grouped for unit in open_.values() for grouped in _guess_sessions(unit)]


def session_from_name(path: str) -> str:
    """The name without what counts at its end; empty for ``00000012.wav``."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    while counter := COUNTERS.search(name):
        name = name[: counter.start()]
    return name


def _guess_sessions(unit: Sequence[ListedRecording]) -> list[ListedRecording]:
    sessions = [session_from_name(recording.file_name or recording.path) for recording in unit]
    distinct = set(sessions)
    tell = "" not in distinct and len(distinct) > 1 and len(unit) >= FILES_PER_SESSION * len(distinct)
    guesses = [
        _join(recording.session_scope, session) if tell else _coarse(recording)
        for recording, session in zip(unit, sessions, strict=True)
    ]
    return [
        replace(recording, annotation=replace(recording.annotation, session=guess))
        for recording, guess in zip(unit, guesses, strict=True)
    ]


def _coarse(recording: ListedRecording) -> str:
    if recording.annotation.machine_id:
        return recording.annotation.machine_name
    return _join(recording.session_scope, recording.annotation.label, recording.annotation.fault)


def _join(*parts: str | None) -> str:
    return "/".join(part for part in parts if part)
