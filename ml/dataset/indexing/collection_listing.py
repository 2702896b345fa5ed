"""Listing of a collection from its journal, without reading the files again."""

from datetime import datetime
from pathlib import Path

from ml.dataset.collection.state import CollectionRecording, read_state
from ml.dataset.entries import FileRefusal
from ml.dataset.indexing.listing import ListedRecording, Listing
from ml.errors import DatasetEmpty, RecordingChanged

MISSING = "file_missing"


def list_collection(folder: Path, version: str | None = None) -> Listing:
    """List a collection, now or at a version. A recording that was removed since then is a refusal.

    Raises:
        DatasetEmpty: the collection has no recording.
        DatasetVersionNotFound: the collection has no such version.
    """
    found = read_state(folder, version).recordings.values()
    if not found:
        raise DatasetEmpty(f"{folder} contains no recording yet.")
    listing = Listing(folder, "collection", explicit_sessions=True)
    for recording in found:
        if (refusal := _refusal(folder, recording)) is not None:
            listing.refusals.append(refusal)
            continue
        listing.recordings.append(_list_recording(recording))
        listing.infos[recording.path] = recording.info
        listing.explicit_sessions &= recording.annotation.session is not None
    return listing


def _refusal(folder: Path, recording: CollectionRecording) -> FileRefusal | None:
    try:
        size = (folder / recording.path).stat().st_size
    except FileNotFoundError:
        return FileRefusal(recording.path, MISSING, "The journal lists it, but it does not exist: removed or lost.")
    if size != recording.info.bytes:
        reason = f"It has {size} bytes; the upload had {recording.info.bytes}."
        return FileRefusal(recording.path, RecordingChanged.code, reason)
    return None


def _list_recording(recording: CollectionRecording) -> ListedRecording:
    return ListedRecording(
        path=recording.path,
        annotation=recording.annotation,
        session_scope=recording.annotation.machine_name,
        file_name=recording.file_name,
        uploaded_s=datetime.fromisoformat(recording.uploaded).timestamp(),
    )
