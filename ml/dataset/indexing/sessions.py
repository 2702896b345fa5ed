"""Recording sessions as file names tell them, for where nobody has named them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ml.dataset.entries import machine_name
from ml.dataset.indexing.listing import Listed

# A counter, a date or a time at the end of a name: all digits, after a separator or alone.
COUNTERS = re.compile(r"(?:^|[_\-. ]+)[0-9]+$")
FILES_PER_SESSION = 2


def with_groups(recordings: Iterable[Listed]) -> list[Listed]:
    """The same recordings, each with a group.

    Where a recording has none yet: its session is what is left of the file's name without the counters, dates and times
    at its end (``N1_20251111_180218_0001`` is of ``N1``, ``0001_cw_f8_01`` of ``0001_cw_f8``), if that makes at least
    two sessions of two or more files on average within its unit. Otherwise all recordings of a machine id are one
    group or, where no id is known, all of a class.
    """
    named, open_ = [], defaultdict(list)
    for recording in recordings:
        if recording.group is not None:
            named.append(recording)
        else:
            open_[recording.unit].append(recording)
    return named + [grouped for unit in open_.values() for grouped in _guessed(unit)]


def session_of(path: str) -> str:
    """The name without what counts at its end; empty for ``00000012.wav``."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    while counter := COUNTERS.search(name):
        name = name[: counter.start()]
    return name


def _guessed(unit: Sequence[Listed]) -> list[Listed]:
    sessions = [session_of(recording.file_name or recording.path) for recording in unit]
    distinct = set(sessions)
    tell = "" not in distinct and len(distinct) > 1 and len(unit) >= FILES_PER_SESSION * len(distinct)
    return [
        replace(recording, group=_joined(recording.unit, session) if tell else _coarse(recording))
        for recording, session in zip(unit, sessions, strict=True)
    ]


def _coarse(recording: Listed) -> str:
    if recording.machine_id:
        return machine_name(recording.machine, recording.machine_id)
    return _joined(recording.unit, recording.label, recording.fault)


def _joined(*parts: str | None) -> str:
    return "/".join(part for part in parts if part)
