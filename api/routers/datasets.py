"""Routes of datasets: create and remove them, and upload, label, list and play their recordings. They use no Redis."""

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.api_keys import ApiKey
from api.audio_files import AudioFileResponse
from api.dependencies import (
    CollectionDep,
    RecordingsUpload,
    RejectUnknownParameters,
    ServicesDep,
)
from api.errors import (
    AUDIO_ERRORS,
    BODY_ERRORS,
    FORM_ERRORS,
    V1_ERRORS,
    InvalidRequest,
    MalformedRange,
    RangeNotSatisfiable,
)
from api.forms import RECORDINGS_FORM
from api.problems import error_responses, problem_of_error
from api.schemas.datasets import (
    REVISIONS_SHOWN,
    UNLABELLED,
    DatasetList,
    DatasetNew,
    DatasetSummary,
    LabelsChange,
    PassedOverFiles,
    RecordingDetails,
    RecordingPage,
    RecordingSummary,
    SessionList,
    SessionSummary,
    UploadResponse,
    UploadResult,
)
from api.security import AuthFirstRoute, KeyDep, check_dataset_binding
from api.services import Services
from api.sound_length import estimate_duration_s
from api.uploads import Upload
from ml import errors
from ml.audio.formats import HEAD_BYTES, recognise
from ml.audio.info import read_info
from ml.dataset.annotations import MAX_TEXT, AnnotationChanges, check_annotation
from ml.dataset.catalog import dataset_names
from ml.dataset.collection.state import CollectionRecording, is_collection
from ml.dataset.collection.store import AddResult, Collection
from ml.dataset.indexing.build import list_dataset
from ml.dataset.indexing.contradictions import contradiction_in_name, find_contradictions
from ml.dataset.summary import group_passed_over, session_summaries
from ml.errors import SignalMLError
from ml.system.audit import record_change
from ml.system.logs import current_request_id

logger = logging.getLogger("signalml.datasets")
router = APIRouter(
    prefix="/v1/datasets",
    tags=["datasets"],
    dependencies=[RejectUnknownParameters],
    route_class=AuthFirstRoute,
)
# A regular expression, because the path names the dataset.
UPLOAD_PATH = f"{router.prefix}/[^/]+/recordings"
DATASET_ERRORS = (*V1_ERRORS, errors.InvalidName, errors.DatasetNotFound)
COLLECTION_ERRORS = (*DATASET_ERRORS, errors.DatasetReadOnly)
RECORDING_ERRORS = (*COLLECTION_ERRORS, errors.RecordingNotFound)
UPLOAD_ERRORS = (
    *V1_ERRORS,
    *BODY_ERRORS,
    *FORM_ERRORS,
    # Uploads to a dataset read all channels, so none can be missing.
    *(kind for kind in AUDIO_ERRORS if kind is not errors.ChannelNotFound),
    errors.InvalidName,
    errors.DatasetReadOnly,
    errors.InvalidRecordingLabels,
    errors.StorageFull,
)
MAX_PAGE = 1000
MAX_REVISIONS = 10_000
AUDIO = {
    kind: {"schema": {"type": "string", "format": "binary"}, "example": magic}
    for kind, magic in (("audio/wav", "RIFF..."), ("audio/flac", "fLaC..."))
}
RecordingIdPath = Annotated[
    str,
    Path(
        description="Id of the recording: 32 hexadecimal digits, a hash of its samples.",
        examples=["2c26b46b68ffc68ff99b453c1d304134"],
    ),
]


@router.get("", summary="List datasets", responses=error_responses(*V1_ERRORS, InvalidRequest))
async def list_datasets(
    services: ServicesDep,
    key: KeyDep,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Largest number of datasets on a page.")] = MAX_PAGE,
    cursor: Annotated[
        str, Query(max_length=MAX_TEXT, description="`next_cursor` of the previous page; empty for the first page.")
    ] = "",
) -> DatasetList:
    """List a page of datasets: collections, with their counts, and folders that were placed there by hand.

    A key that is bound to datasets gets these only.
    """
    return await asyncio.to_thread(_list, services, key, limit, cursor)


@router.post(
    "",
    summary="Create a dataset",
    status_code=201,
    responses=error_responses(*V1_ERRORS, *BODY_ERRORS, errors.InvalidName, errors.DatasetExists, errors.StorageFull),
)
async def create_dataset(
    new: DatasetNew, request: Request, services: ServicesDep, response: Response
) -> DatasetSummary:
    """Create an empty dataset. `Location` is its address.

    An upload to a dataset that does not exist creates it, too.
    """
    check_dataset_binding(request, new.name)
    collection = services.collection(new.name)
    await asyncio.to_thread(collection.create, current_request_id())
    response.headers["Location"] = f"{router.prefix}/{new.name}"
    return await asyncio.to_thread(_details, services, collection)


@router.get("/{name}", summary="Show a dataset", responses=error_responses(*DATASET_ERRORS))
async def show_dataset(collection: CollectionDep, services: ServicesDep) -> DatasetSummary:
    """Show the number of recordings with each label, the version that a new job would use, and what is passed over."""
    return await asyncio.to_thread(_details, services, collection)


@router.get("/{name}/sessions", summary="List the sessions of a dataset", responses=error_responses(*COLLECTION_ERRORS))
async def list_sessions(collection: CollectionDep) -> SessionList:
    """List the sessions that a training would use now, with the origin of each.

    Recordings without a label are in no session.
    """
    return await asyncio.to_thread(_sessions, collection)


@router.delete(
    "/{name}",
    summary="Remove a dataset",
    status_code=204,
    responses=error_responses(*COLLECTION_ERRORS, InvalidRequest, errors.StorageFull),
)
async def remove_dataset(
    collection: CollectionDep,
    confirm: Annotated[str, Query(description="Name of the dataset again, as a confirmation.", examples=["hall-3"])],
) -> None:
    """Remove a dataset with all its recordings, in one step.

    A folder that was placed there by hand cannot be removed.
    """
    if confirm != collection.name:
        raise InvalidRequest(
            f"query.confirm is {confirm[:MAX_TEXT]!r}; the name of the dataset to remove with all its recordings, "
            f"{collection.name!r}, was expected."
        )
    await asyncio.to_thread(collection.delete)


@router.post(
    "/{name}/recordings",
    summary="Upload recordings",
    status_code=201,
    openapi_extra=RECORDINGS_FORM.openapi(),
    responses=error_responses(*UPLOAD_ERRORS)
    | {200: {"model": UploadResponse, "description": "No recording is new: each was there already or was refused."}},
)
async def put_recordings(
    request: Request, collection: CollectionDep, form: RecordingsUpload, services: ServicesDep, response: Response
) -> UploadResponse:
    """Upload one or more recordings as parts `file`, with labels that apply to all of them.

    The dataset is created if it does not exist. A recording with the same samples as an earlier one is stored once,
    also in another file format; labels that differ from the stored ones then count as a correction. When the answer is
    sent, the recordings are on the disk.

    If one file is sent, `Location` is the address of the recording, and a refused file is answered with an error. If
    several files are sent, each has a result or an error, and a refused file does not affect the others.
    """
    services.executor.refuse_if_full()
    given, uploader = check_annotation(form.fields), _RecordingUploader(services, collection, request.receive)
    if len(form.files) == 1:
        results = [_result(form.files[0], await uploader(form.files[0], given))]
        response.headers["Location"] = f"{router.prefix}/{collection.name}/recordings/{results[0].id}"
    else:
        results = []
        for upload in form.files:
            results.append(await uploader.or_error(upload, given))
            if await request.is_disconnected():
                raise ClientDisconnect
    if not any(result.added for result in results):
        response.status_code = 200
    await asyncio.to_thread(_record_upload, services, collection.name, form.fields, results)
    return UploadResponse(results=results)


@router.get(
    "/{name}/recordings",
    summary="List recordings",
    responses=error_responses(*COLLECTION_ERRORS, InvalidRequest),
)
async def list_recordings(
    collection: CollectionDep,
    label: Annotated[
        Literal["normal", "abnormal", "unlabelled"] | None, Query(description="Only recordings with this label.")
    ] = None,
    machine_id: Annotated[str | None, Query(description="Only recordings with this machine id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Largest number of recordings on a page.")] = 100,
    cursor: Annotated[int, Query(ge=0, description="`next_cursor` of the previous page; 0 for the first page.")] = 0,
) -> RecordingPage:
    """List a page of recordings, in the order of upload.

    Recordings that are added meanwhile are on the last page.
    """
    return await asyncio.to_thread(_page, collection, label, machine_id, limit, cursor)


@router.get(
    "/{name}/recordings/{recording}",
    summary="Show a recording",
    responses=error_responses(*RECORDING_ERRORS, InvalidRequest),
)
async def show_recording(
    collection: CollectionDep,
    recording: RecordingIdPath,
    revisions: Annotated[
        int, Query(ge=1, le=MAX_REVISIONS, description="Largest number of latest revisions in the answer.")
    ] = REVISIONS_SHOWN,
) -> RecordingDetails:
    """Show a recording with the latest revisions of its labels, each with its time and the id of its request."""
    return RecordingDetails.of(await asyncio.to_thread(collection.recording, recording), revisions)


@router.get(
    "/{name}/recordings/{recording}/audio",
    summary="Get the file of a recording",
    response_class=FileResponse,
    responses=error_responses(*RECORDING_ERRORS, MalformedRange, RangeNotSatisfiable)
    | {200: {"content": AUDIO}, 206: {"description": "The range of the header `Range`.", "content": AUDIO}},
)
async def listen(collection: CollectionDep, recording: RecordingIdPath) -> FileResponse:
    """Get the file of a recording, as it was uploaded, or a range of it."""
    known, file, facts, media_type = await asyncio.to_thread(_file, collection, recording)
    return AudioFileResponse(file, facts, media_type, known.file_name)


@router.patch(
    "/{name}/recordings/{recording}",
    summary="Label a recording",
    responses=error_responses(*RECORDING_ERRORS, *BODY_ERRORS, errors.InvalidRecordingLabels, errors.StorageFull),
)
async def label_recording(
    collection: CollectionDep, recording: RecordingIdPath, change: LabelsChange
) -> RecordingDetails:
    """Correct the labels of a recording, as a new revision. Earlier revisions are kept; the answer has the latest."""
    relabel = partial(collection.relabel, recording, change.to_label_changes(), current_request_id())
    return RecordingDetails.of(await asyncio.to_thread(relabel))


@router.delete(
    "/{name}/recordings/{recording}",
    summary="Remove a recording",
    status_code=204,
    responses=error_responses(*RECORDING_ERRORS, errors.StorageFull),
)
async def remove_recording(collection: CollectionDep, recording: RecordingIdPath) -> None:
    """Remove a recording and its file.

    A job that is pinned to an earlier version continues without the recording.
    """
    await asyncio.to_thread(collection.remove, recording, current_request_id())


def _list(services: Services, key: ApiKey, limit: int, cursor: str) -> DatasetList:
    names = [name for name in filter(key.reaches_dataset, dataset_names(services.settings.home)) if name > cursor]
    shown = names[:limit]
    return DatasetList(
        datasets=list(_summaries(services, shown)), next_cursor=shown[-1] if len(names) > len(shown) else None
    )


def _summaries(services: Services, names: Sequence[str]) -> Iterator[DatasetSummary]:
    for name in names:
        try:
            yield _summary(services, Collection(services.settings.home, name))
        except errors.DatasetNotFound:
            continue  # removed after it was listed
        except OSError as error:  # one journal that the disk or the permissions do not let read
            logger.warning("the dataset %s is not listed: %s", name, error.strerror)


def _summary(services: Services, collection: Collection) -> DatasetSummary:
    if collection.folder.is_dir() and not is_collection(collection.folder):
        return DatasetSummary.of_folder(collection.name)
    # A journal that has changed is probably in memory: the collection of the services reads only its new lines.
    counts = services.collection_counts.counts(
        collection.folder, lambda: services.collection(collection.name).current_state()
    )
    return DatasetSummary.of(collection.name, counts)


def _details(services: Services, collection: Collection) -> DatasetSummary:
    """Return the summary with what is passed over; the recordings are not read for it."""
    summary = _summary(services, collection)
    try:
        listing = list_dataset(collection.folder, within=collection.folder)
    except (errors.DatasetEmpty, errors.InvalidManifest):
        return summary
    groups = group_passed_over((*listing.passed_over, *listing.refusals))
    found = [PassedOverFiles(**asdict(group) | {"examples": list(group.examples)}) for group in groups]
    contradictions = len({each.path for each in find_contradictions(listing)})
    return summary.model_copy(update={"passed_over": found, "contradictions": contradictions})


def _sessions(collection: Collection) -> SessionList:
    try:
        found = session_summaries(collection.dataset())
    except errors.DatasetEmpty:
        found = []
    return SessionList(sessions=[SessionSummary.model_validate(session) for session in found])


def _page(collection: Collection, label: str | None, machine_id: str | None, limit: int, cursor: int) -> RecordingPage:
    matching = (
        recording
        for recording in collection.recordings()
        if recording.number > cursor
        and (label is None or (recording.annotation.label or UNLABELLED) == label)
        and (machine_id is None or recording.annotation.machine_id == machine_id)
    )
    found = list(islice(matching, limit + 1))
    return RecordingPage(
        recordings=[RecordingSummary.model_validate(recording) for recording in found[:limit]],
        next_cursor=found[limit - 1].number if len(found) > limit else None,
    )


def _file(collection: Collection, recording_id: str) -> tuple[CollectionRecording, FilePath, os.stat_result, str]:
    """Return a recording, its file, the system's facts about it, and its media type by its first bytes."""
    known, path = collection.recording(recording_id), collection.file(recording_id)
    with path.open("rb") as file:
        found = recognise(memoryview(file.read(HEAD_BYTES)))
        facts = os.fstat(file.fileno())
    return known, path, facts, "application/octet-stream" if found is None else found.media_type


class _RecordingUploader:
    """Uploader of recordings into one dataset, for one accepted request."""

    def __init__(self, services: Services, collection: Collection, receive: Receive) -> None:
        self._services = services
        self._receive = receive
        self._collection = collection

    async def __call__(self, upload: Upload, given: AnnotationChanges) -> AddResult:
        """Read the samples in an inference thread, and write the file in another thread.

        So a slow disk does not take a place of the executor.
        """
        read = partial(read_info, upload.content, self._services.limits)
        sound_s = estimate_duration_s(upload.content, self._services.limits)
        facts = await self._services.executor.run(read, sound_s, self._receive, admitted=True)
        add = partial(self._collection.add, upload.content, facts, upload.name, given, current_request_id())
        return await asyncio.to_thread(add)

    async def or_error(self, upload: Upload, given: AnnotationChanges) -> UploadResult:
        """Add one of several recordings; return its error as a result."""
        try:
            return _result(upload, await self(upload, given))
        except SignalMLError as error:
            self._services.metrics.count_refusal(error.code)
            return UploadResult(
                file_name=upload.name,
                id=None,
                added=False,
                relabelled=False,
                recording=None,
                error=problem_of_error(error, self._services.settings.home),
            )


def _record_upload(services: Services, name: str, given: dict[str, str], results: list[UploadResult]) -> None:
    """Add one line to the audit log for all recordings of a request; the journal of the dataset has each of them."""
    added = sum(result.added for result in results)
    relabelled = sum(result.relabelled for result in results)
    if added or relabelled:
        after = {
            "added": added,
            "relabelled": relabelled,
            "labels": {name: text for name, text in given.items() if text},
        }
        record_change(services.settings.home, "recording.upload", name, after=after)


def _result(upload: Upload, done: AddResult) -> UploadResult:
    return UploadResult(
        file_name=upload.name,
        id=done.recording.id,
        added=done.added,
        relabelled=done.relabelled,
        recording=RecordingSummary.model_validate(done.recording),
        warning=_warning(done.recording),
        error=None,
    )


def _warning(recording: CollectionRecording) -> str | None:
    label = recording.annotation.label
    return None if label is None else contradiction_in_name(recording.file_name, label)
