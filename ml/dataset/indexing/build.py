"""Index a folder, a collection or a manifest: list its recordings, assign sessions, read the files."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ml.audio.decode import view_bytes
from ml.audio.info import read_info
from ml.dataset.collection.state import is_collection
from ml.dataset.entries import Contradiction, Dataset, Entry, FileRefusal, SessionFacts
from ml.dataset.indexing import cache as cached
from ml.dataset.indexing.cache import InfoOrRefusal, Key
from ml.dataset.indexing.collection_listing import list_collection
from ml.dataset.indexing.contradictions import find_contradictions
from ml.dataset.indexing.layouts import FLAT, list_folder
from ml.dataset.indexing.listing import ListedRecording, Listing, natural_key
from ml.dataset.indexing.manifest import (
    NAME,
    has_manifest,
    list_manifest,
    note_tables,
    pass_over_unlisted,
    reason_unused,
)
from ml.dataset.indexing.sessions import assign_sessions
from ml.dataset.indexing.table import TABLE_SUFFIXES
from ml.dataset.indexing.times import FileTime, as_text, time_in_name
from ml.errors import (
    AudioError,
    DatasetEmpty,
    DatasetNotFound,
    DecoderFailed,
    DecoderMissing,
    RecordingChanged,
)
from ml.system.parallel import ordered_map
from ml.system.progress import ProgressCallback, ignore_progress

REASONS_SHOWN = 3
UNREADABLE, UNLABELLED = "file_unreadable", "label_missing"
# Refusals that another disk, permission or installation would not have; they are not kept in the cache.
NOT_PERMANENT = (UNREADABLE, DecoderMissing.code, DecoderFailed.code)


def index(
    source: Path,
    *,
    snr_db: float | None = None,
    within: Path | None = None,
    cache: Path | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Dataset:
    """Index a dataset. Each recording is read once; a recording that cannot be used becomes a refusal.

    Args:
        source: folder in one of the layouts of :mod:`ml.dataset.indexing.layouts`, collection (its journal has the
            measured facts), folder with a ``manifest.csv``, or manifest.
        snr_db: use only recordings with this signal-to-noise ratio, in dB.
        within: links and the paths of a manifest must stay within this folder; None allows every file that can be read,
            for sources that a person names on the command line.
        cache: file that keeps the measured facts; the next index then reads only changed files.
        processes: number of processes that read files; None chooses by cores and recordings.
        report: called after each file that is read.

    Returns:
        The dataset, with entries and refusals in natural order of their paths.

    Raises:
        DatasetNotFound: there is no such folder or manifest.
        InvalidManifest: the manifest lacks a required column or cannot be read.
        DatasetEmpty: no recording can be used; the message has the first reasons.
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100 - the names of links can carry label and machine
    listing = list_dataset(source, within)
    return index_listing(listing, source, snr_db=snr_db, cache=cache, processes=processes, report=report)


def index_listing(
    listing: Listing,
    source: Path,
    *,
    snr_db: float | None = None,
    cache: Path | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Dataset:
    """Index the listed recordings of ``source``; see :func:`index`.

    Raises:
        DatasetEmpty: no recording can be used.
    """
    recordings = _sort(_select_snr(snr_db, listing))
    infos = verified_infos(recordings, listing, cache, processes, report)
    recordings = sort_with_sessions(recordings, listing.root, infos)
    entries: list[Entry] = []
    refusals = list(listing.refusals)
    for recording in recordings:
        facts = infos[recording.path]
        if isinstance(facts, FileRefusal):
            refusals.append(FileRefusal(recording.path, facts.code, facts.reason))
        elif recording.annotation.label is None:
            refusals.append(
                FileRefusal(recording.path, UNLABELLED, "It has no label yet; normal or abnormal was expected.")
            )
        else:
            annotation = replace(recording.annotation, session=recording.annotation.session or "")
            entries.append(Entry(path=recording.path, annotation=annotation, info=facts))
    if not entries:
        raise DatasetEmpty(_no_usable_recording(source, refusals))
    return Dataset(
        name=source.name if source.is_dir() else source.stem,
        root=listing.root,
        layout=listing.layout,
        entries=tuple(entries),
        refusals=tuple(sorted(refusals, key=lambda refusal: natural_key(refusal.path))),
        explicit_sessions=listing.explicit_sessions,
        session_facts=_session_facts(recordings),
        passed_over=tuple(sorted(listing.passed_over, key=lambda each: natural_key(each.path))),
        contradictions=_of_entries(find_contradictions(listing), entries),
    )


def verified_infos(
    recordings: Sequence[ListedRecording],
    listing: Listing,
    cache: Path | None,
    processes: int | None,
    report: ProgressCallback,
) -> dict[str, InfoOrRefusal]:
    """Return the facts of each recording, from its file or, without a cache, from the listing.

    With a cache, the file of an upload is compared with the facts of its journal, which were measured at the upload.
    """
    unread = [each for each in recordings if cache is not None or each.path not in listing.infos]
    read = read_infos([listing.root / each.path for each in unread], listing.root, cache, processes, report)
    infos: dict[str, InfoOrRefusal] = dict(listing.infos)
    for recording, found in zip(unread, read, strict=True):
        uploaded = listing.infos.get(recording.path)
        if uploaded is None or isinstance(found, FileRefusal):
            infos[recording.path] = found
        elif found.audio_hash != uploaded.audio_hash:
            reason = "Its samples are not those of the upload: the file was replaced. Upload it again."
            infos[recording.path] = FileRefusal(recording.path, RecordingChanged.code, reason)
    return infos


def _of_entries(found: Iterable[Contradiction], entries: Iterable[Entry]) -> tuple[Contradiction, ...]:
    """Return the contradictions of usable recordings, in natural order of their paths."""
    paths = {entry.path for entry in entries}
    return tuple(sorted((each for each in found if each.path in paths), key=lambda each: natural_key(each.path)))


def sort_with_sessions(
    recordings: Iterable[ListedRecording], root: Path, infos: Mapping[str, InfoOrRefusal]
) -> list[ListedRecording]:
    """Return the recordings in natural order of their paths, each with a session.

    Args:
        recordings: the recordings.
        root: folder that the paths are relative to.
        infos: measured facts of each file, by path.
    """

    def file_time(recording: ListedRecording) -> FileTime | None:
        info = infos[recording.path]
        duration_s = 0.0 if isinstance(info, FileRefusal) else info.duration_s
        if recording.uploaded_s is not None:
            return FileTime(recording.uploaded_s, duration_s)
        try:
            return FileTime((root / recording.path).stat().st_mtime, duration_s)
        except OSError:
            return None

    return _sort(assign_sessions(_sort(recordings), file_time))


def _sort(recordings: Iterable[ListedRecording]) -> list[ListedRecording]:
    return sorted(recordings, key=lambda recording: natural_key(recording.path))


def _session_facts(recordings: Iterable[ListedRecording]) -> dict[str, SessionFacts]:
    of_session: defaultdict[str, list[ListedRecording]] = defaultdict(list)
    for recording in recordings:
        of_session[recording.annotation.session or ""].append(recording)
    facts = {}
    for session, members in of_session.items():
        # The time of a given session is in the names, or not known.
        times = [time_in_name(each.file_name or each.path) if each.time_s is None else each.time_s for each in members]
        known = [as_text(time_s) for time_s in times if time_s is not None]
        complete = len(known) == len(times)
        facts[session] = SessionFacts(
            members[0].session_origin, min(known) if complete else None, max(known) if complete else None
        )
    return facts


def list_dataset(source: Path, within: Path | None = None) -> Listing:
    """List the recordings of a folder, a collection or a manifest, without reading their files.

    Args:
        source: the folder or manifest.
        within: see :func:`index`.

    Raises:
        DatasetNotFound, InvalidManifest, DatasetEmpty
    """
    if source.is_dir():
        if is_collection(source):
            return list_collection(source)
        if has_manifest(source, within):
            return pass_over_unlisted(list_manifest(source / NAME, within), source, within)
        try:
            listing = list_folder(source, within)
        except DatasetEmpty as error:
            raise DatasetEmpty(f"{error}{reason_unused(source, within)}") from error
        return note_tables(listing, source, within) if listing.layout == FLAT else listing
    if source.is_file() and source.suffix.lower() in TABLE_SUFFIXES:
        return list_manifest(source, within)
    what = "is a file of another kind" if source.exists() else "does not exist"
    raise DatasetNotFound(f"{source} {what}; a folder of recordings or a manifest (.csv) was expected.")


def _select_snr(snr_db: float | None, listing: Listing) -> list[ListedRecording]:
    if snr_db is None:
        return listing.recordings
    chosen = [recording for recording in listing.recordings if recording.annotation.snr_db == snr_db]
    if not chosen and listing.recordings:
        values = sorted(
            {recording.annotation.snr_db for recording in listing.recordings if recording.annotation.snr_db is not None}
        )
        known = f"it has {', '.join(f'{value:g}' for value in values)} dB" if values else "no SNR is known"
        raise DatasetEmpty(f"{listing.root} contains no recording at {snr_db:g} dB; {known}.")
    return chosen


def read_infos(
    files: Sequence[Path], root: Path, cache: Path | None, processes: int | None, report: ProgressCallback
) -> list[InfoOrRefusal]:
    """Return the measured facts of each file; only files whose content is not in the cache are decoded."""
    if not files:
        return []
    known = cached.read(cache)
    keys = _known_keys(files, known)
    unread = [file for file, key in zip(files, keys, strict=True) if key not in known]
    fresh: list[tuple[Key | None, InfoOrRefusal]] = []
    try:
        if unread:
            fresh.extend(ordered_map(_read_info, unread, step="recordings", processes=processes, report=report))
    finally:
        measured = {key: found for key, found in fresh if key is not None and _is_permanent(found)}
        if measured:
            current = {key for key in keys if key in known} | measured.keys()
            cached.write(cache, known | measured, [key for key in current if key is not None], root)
    remaining = (found for _, found in fresh)
    return [known[key] if key in known else next(remaining) for key in keys]


def _known_keys(files: Sequence[Path], known: Mapping[Key, InfoOrRefusal]) -> list[Key | None]:
    """Return the keys of the files that the cache can have; None for the others, which are not read here."""
    paths = {path for path, *_ in known}
    if not paths:
        return [None] * len(files)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # hashlib and read release Python's lock
        return list(threads.map(lambda file: _key(file) if str(file.resolve()) in paths else None, files))


def _key(file: Path) -> Key | None:
    try:
        return cached.key_of(file)
    except OSError:
        return None


def _is_permanent(found: InfoOrRefusal) -> bool:
    """Return whether a result depends only on the file's content, not on a disk, a permission or a decoder."""
    return not isinstance(found, FileRefusal) or found.code not in NOT_PERMANENT


def _read_info(file: Path) -> tuple[Key | None, InfoOrRefusal]:
    """Return facts and key of one content: the file is opened once, so that it cannot be replaced in between."""
    key = None
    try:
        content = view_bytes(file)
        key = cached.key_of(file, content)
        return key, read_info(content)
    except AudioError as error:
        return key, FileRefusal(str(file), error.code, str(error))
    except OSError as error:
        return None, FileRefusal(str(file), UNREADABLE, f"It cannot be read: {error.strerror or error}.")


def _no_usable_recording(source: Path, refusals: Sequence[FileRefusal]) -> str:
    reasons = "; ".join(f"{refusal.path}: {refusal.reason.rstrip('.')}" for refusal in refusals[:REASONS_SHOWN])
    more = f"; and {len(refusals) - REASONS_SHOWN} more" if len(refusals) > REASONS_SHOWN else ""
    return f"None of the {len(refusals)} recordings of {source} can be used: {reasons}{more}."
