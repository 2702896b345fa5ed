"""Find recording sessions from file names and times, where no session is given."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ml.dataset.entries import SessionOrigin
from ml.dataset.indexing.listing import ListedRecording
from ml.dataset.indexing.times import (
    SHORTEST_GAP_IN_A_NAME_S,
    SHORTEST_GAP_S,
    FileTime,
    are_recording_times,
    as_text,
    cut_at_gaps,
    time_in_name,
)

# Counter, date or time at the end of a name: digits after a separator, or digits only.
COUNTERS = re.compile(r"(?:^|[_\-. ]+)[0-9]+$")
FILES_PER_SESSION = 2
FindFileTime = Callable[[ListedRecording], FileTime | None]
"""Function that returns the time of a file, or None if it is not known."""


def assign_sessions(
    recordings: Iterable[ListedRecording], file_time: FindFileTime = lambda _: None
) -> list[ListedRecording]:
    """Return the recordings, each with a session and its origin.

    A missing session is found in this order:

    1. The file name without counters, dates and times at its end: ``N1_20251111_180218_0001`` gives ``N1``,
       ``0001_cw_f8_01`` gives ``0001_cw_f8``. If every name has a time, these sessions are also cut at gaps of more
       than four hours: ``fan1_20240301_080000`` and ``fan1_20240302_080000`` are of two sessions. Then a beginning that
       is only the label does not count: normal and abnormal recordings of one time are of one session.
    2. Gaps between the times in the file names (:func:`~ml.dataset.indexing.times.cut_at_gaps`), if every name has one.
    3. Gaps between the times of the files, if they can be the times of the recordings
       (:func:`~ml.dataset.indexing.times.are_recording_times`).
    4. All recordings of a machine id are one session or, if no id is known, all with the same label and fault.

    Sessions of 1 to 3 are used if there are at least two of them in the scope, if a session has two or more files on
    average, and if no name is empty.

    Args:
        recordings: the recordings.
        file_time: returns the time of a recording's file.
    """
    named, unnamed = [], defaultdict(list)
    for recording in recordings:
        if recording.annotation.session is not None:
            named.append(recording)
        else:
            unnamed[recording.session_scope].append(recording)
    return named + [found for scope in unnamed.values() for found in _find_sessions(scope, file_time)]


def session_from_name(path: str) -> str:
    """Return a file name without counters, dates and times at its end; empty for ``00000012.wav``."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    while counter := COUNTERS.search(name):
        name = name[: counter.start()]
    return name


def _find_sessions(scope: Sequence[ListedRecording], file_time: FindFileTime) -> list[ListedRecording]:
    names = [session_from_name(_name(recording)) for recording in scope]
    times_s = [time_in_name(_name(recording)) for recording in scope]
    if _are_plausible(names):
        cut = _cut_within(names, scope, times_s)
        if cut != names and _are_plausible(cut):
            return _with_sessions(scope, cut, "times in names", times_s)
        return _with_sessions(scope, names, "file names", times_s)
    if _are_plausible(names := _sessions_of_times(times_s)):
        return _with_sessions(scope, names, "times in names", times_s)
    files = _recording_times(scope, file_time)
    if _are_plausible(names := _sessions_of_times(files)):
        return _with_sessions(scope, names, "file times", files)
    return [
        _assign(recording, _default_session(recording), "none", time_s)
        for recording, time_s in zip(scope, times_s, strict=True)
    ]


def _name(recording: ListedRecording) -> str:
    return recording.file_name or recording.path


def _are_plausible(sessions: Sequence[str]) -> bool:
    distinct = set(sessions)
    return "" not in distinct and len(distinct) > 1 and len(sessions) >= FILES_PER_SESSION * len(distinct)


def _cut_within(
    names: Sequence[str], scope: Sequence[ListedRecording], times_s: Sequence[float | None]
) -> Sequence[str]:
    """Return the names, with the start of the session where a name has a gap; unchanged if a time is not known."""
    by_name, pieces = defaultdict(list), list(names)
    if not _has_gap(names, times_s):
        return names
    for index, (name, recording) in enumerate(zip(names, scope, strict=True)):
        by_name["" if name == recording.annotation.label else name].append(index)
    for name, indices in by_name.items():
        starts = _sessions_of_times([times_s[index] for index in indices], SHORTEST_GAP_IN_A_NAME_S)
        if name == "" or len(set(starts)) > 1:
            for index, start in zip(indices, starts, strict=True):
                pieces[index] = _join(name, start)
    return pieces


def _has_gap(names: Sequence[str], times_s: Sequence[float | None]) -> bool:
    """Whether every time is known, and recordings of one name have a gap between them."""
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for name, time_s in zip(names, times_s, strict=True):
        if time_s is not None:
            by_name[name].append(time_s)
    return None not in times_s and any(max(cut_at_gaps(of, SHORTEST_GAP_IN_A_NAME_S)) > 0 for of in by_name.values())


def _sessions_of_times(times_s: Sequence[float | None], shortest_gap_s: float = SHORTEST_GAP_S) -> list[str]:
    """Return the start of the session of each time; empty names if a time is not known."""
    known = [time_s for time_s in times_s if time_s is not None]
    if len(known) < len(times_s):
        return [""] * len(times_s)
    numbers = cut_at_gaps(known, shortest_gap_s)
    starts: dict[int, float] = {}
    for number, time_s in zip(numbers, known, strict=True):
        starts[number] = min(time_s, starts.get(number, time_s))
    return [as_text(starts[number]) for number in numbers]


def _recording_times(scope: Sequence[ListedRecording], file_time: FindFileTime) -> list[float | None]:
    """Return the times of the files; None for all if they cannot be those of the recordings."""
    files = [file_time(recording) for recording in scope]
    of_folder: defaultdict[PurePosixPath, list[FileTime]] = defaultdict(list)
    for recording, file in zip(scope, files, strict=True):
        if file is not None:
            of_folder[PurePosixPath(recording.path).parent].append(file)
    if None in files or not all(map(are_recording_times, of_folder.values())):
        return [None] * len(scope)
    return [None if file is None else file.time_s for file in files]


def _with_sessions(
    scope: Sequence[ListedRecording],
    sessions: Sequence[str],
    origin: SessionOrigin,
    times_s: Sequence[float | None] = (),
) -> list[ListedRecording]:
    times_s = times_s or [time_in_name(_name(recording)) for recording in scope]
    return [
        _assign(recording, _join(recording.session_scope, session), origin, time_s)
        for recording, session, time_s in zip(scope, sessions, times_s, strict=True)
    ]


def _assign(recording: ListedRecording, session: str, origin: SessionOrigin, time_s: float | None) -> ListedRecording:
    annotation = replace(recording.annotation, session=session)
    return replace(recording, annotation=annotation, session_origin=origin, time_s=time_s)


def _default_session(recording: ListedRecording) -> str:
    if recording.annotation.machine_id:
        return recording.annotation.machine_name
    return _join(recording.session_scope, recording.annotation.label, recording.annotation.fault)


def _join(*parts: str | None) -> str:
    return "/".join(part for part in parts if part)
