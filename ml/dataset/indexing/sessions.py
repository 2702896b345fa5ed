"""Guess recording sessions from file names, where no session is given."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ml.dataset.indexing.listing import ListedRecording

# Counter, date or time at the end of a name: digits after a separator, or digits only.
COUNTERS = re.compile(r"(?:^|[_\-. ]+)[0-9]+$")
FILES_PER_SESSION = 2


def assign_sessions(recordings: Iterable[ListedRecording]) -> list[ListedRecording]:
    """Return the recordings, each with a session.

    A missing session is guessed from the file name without counters, dates and times at its end:
    ``N1_20251111_180218_0001`` gives ``N1``, ``0001_cw_f8_01`` gives ``0001_cw_f8``. The guesses are used if they give
    at least two sessions in the scope, if a session has two or more files on average, and if no name is empty.
    Otherwise all recordings of a machine id are one session or, if no id is known, all with the same label and fault.
    """
    named, unnamed = [], defaultdict(list)
    for recording in recordings:
        if recording.annotation.session is not None:
            named.append(recording)
        else:
            unnamed[recording.session_scope].append(recording)
    return named + [guessed for scope in unnamed.values() for guessed in _guess_sessions(scope)]


def session_from_name(path: str) -> str:
    """Return a file name without counters, dates and times at its end; empty for ``00000012.wav``."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    while counter := COUNTERS.search(name):
        name = name[: counter.start()]
    return name


def _guess_sessions(scope: Sequence[ListedRecording]) -> list[ListedRecording]:
    sessions = [session_from_name(recording.file_name or recording.path) for recording in scope]
    distinct = set(sessions)
    plausible = "" not in distinct and len(distinct) > 1 and len(scope) >= FILES_PER_SESSION * len(distinct)
    guesses = [
        _join(recording.session_scope, session) if plausible else _default_session(recording)
        for recording, session in zip(scope, sessions, strict=True)
    ]
    return [
        replace(recording, annotation=replace(recording.annotation, session=guess))
        for recording, guess in zip(scope, guesses, strict=True)
    ]


def _default_session(recording: ListedRecording) -> str:
    if recording.annotation.machine_id:
        return recording.annotation.machine_name
    return _join(recording.session_scope, recording.annotation.label, recording.annotation.fault)


def _join(*parts: str | None) -> str:
    return "/".join(part for part in parts if part)
