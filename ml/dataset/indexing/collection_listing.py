"""A collection as one more layout: what its journal says of the recordings, without reading them again."""

from pathlib import Path

from ml.dataset.collection.state import CollectionRecording, read_state
from ml.dataset.entries import FileRefusal
from ml.dataset.indexing.listing import ListedRecording, Listing
from ml.errors import DatasetEmpty, RecordingChanged

MISSING = "file_missing"


def list_collection(folder: Path, version: str | None = None) -> Listing:
    """List a collection as it is, or as it was at a version; what was removed since is a refusal then.

    Raises:
        DatasetEmpty: there is no recording in it.
        DatasetVersionNotFound: it has not had that version.
    """
    found = read_state(folder, version).recordings.values()
    if not found:
        raise DatasetEmpty(f"{folder} holds no recording yet.")
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
        return FileRefusal(recording.path, MISSING, "The journal lists it, and it does not exist: removed, or lost.")
    if size != recording.info.bytes:
        reason = f"It has {size} bytes; the journal has {recording.info.bytes} of the upload."
        return FileRefusal(recording.path, RecordingChanged.code, reason)
    return None


def _list_recording(recording: CollectionRecording) -> ListedRecording:
    return ListedRecording(
        path=recording.path,
        annotation=recording.annotation,
        session_scope=recording.annotation.machine_name,
        file_name=recording.file_name,
    )
