"""Routes of events: list, show, review and watch them, get their sound, and take those of other devices."""

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from api.api_keys import ApiKey
from api.audio_files import AudioFileResponse
from api.dependencies import RejectUnknownParameters, ServicesDep, UploadReader
from api.errors import (
    AUDIO_ERRORS,
    BODY_ERRORS,
    FORM_ERRORS,
    V1_ERRORS,
    Busy,
    InvalidRequest,
    MalformedRange,
    RangeNotSatisfiable,
)
from api.event_reports import Report
from api.event_streams import EVENT_STREAM, NO_CACHE, encode_events, stream_answer
from api.forms import EVENT_FORM
from api.problems import error_responses
from api.schemas.datasets import RecordingSummary
from api.schemas.events import (
    EVENT_ID,
    ClipRecording,
    ClipRecordingRequest,
    EventDetails,
    EventPage,
    EventReviewChange,
    ReportResult,
    to_summary,
)
from api.schemas.times import MAX_TIME, QueryTime
from api.security import AuthFirstRoute, KeyDep, check_dataset_binding, check_machine_binding, until_revoked
from api.settings import Settings
from api.uploads import UploadForm
from listener.alerts.routes import route_by_file
from listener.events.clip_files import clip_file, spectrogram_file
from listener.events.event import Event, EventState
from listener.events.recordings import make_recording, review_event
from listener.events.store import EventChange, EventFilter, EventStore
from ml import errors
from ml.dataset.collection.store import AddResult
from ml.machines.observation import MACHINE_ID_PATTERN, MAX_MACHINE_ID
from ml.system.audit import record_change
from ml.system.logs import current_request_id
from ml.system.validation import shorten

router = APIRouter(
    prefix="/v1/events", tags=["events"], dependencies=[RejectUnknownParameters], route_class=AuthFirstRoute
)
UPLOAD_PATH = router.prefix
EVENTS_ERRORS = (*V1_ERRORS, InvalidRequest, errors.EventsUnavailable)
EVENT_ERRORS = (*V1_ERRORS, errors.EventNotFound, errors.EventsUnavailable)
REPORT_ERRORS = (
    *V1_ERRORS,
    *BODY_ERRORS,
    *FORM_ERRORS,
    # All channels of a clip are read, so none can be missing.
    *(kind for kind in AUDIO_ERRORS if kind is not errors.ChannelNotFound),
    errors.EventConflict,
    errors.EventsUnavailable,
    errors.StorageFull,
)
MAX_PAGE = 500
MAX_NUMBER = 2**63 - 1
FLAC_TYPE, PNG_TYPE = "audio/flac", "image/png"
FLAC = {FLAC_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "fLaC..."}}
PNG = {PNG_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "PNG..."}}
STREAM = stream_answer(
    "Changes of events as they happen: the kind of an event is its change, its id the number of the change, and its "
    "data the change with the event as it is now. A client that connects again sends the id of its last event as "
    "`Last-Event-ID`; then it misses no change and repeats none. Without it, only later changes are sent.",
    'id: 1294\nevent: began\ndata: {"number":1294,"change":"began","at":"2026-11-22T21:46:09.123+00:00",'
    '"event":{}}\n\n',
)
EventPath = Annotated[
    str,
    Path(description="Id of the event: 28 hexadecimal digits.", examples=["019ac7d2f1e84c7b9a3e51d07f20"]),
]
MachineQuery = Annotated[
    str | None,
    Query(max_length=MAX_MACHINE_ID, pattern=MACHINE_ID_PATTERN, description="Only events of this machine."),
]
ReportForm = Annotated[UploadForm, Depends(UploadReader(EVENT_FORM))]


@router.get("", summary="List events", responses=error_responses(*EVENTS_ERRORS))
async def list_events(
    services: ServicesDep,
    key: KeyDep,
    machine_id: MachineQuery = None,
    source: Annotated[str | None, Query(max_length=40, description="Only events of this source.")] = None,
    state: Annotated[EventState | None, Query(description="Only events in this state.")] = None,
    reviewed: Annotated[bool | None, Query(description="Only events with, or without, a review.")] = None,
    origin: Annotated[
        str | None,
        Query(max_length=64, description="Only events of this device; empty for those of this service's own listener."),
    ] = None,
    since: Annotated[QueryTime | None, Query(max_length=MAX_TIME, description="Only events since then.")] = None,
    until: Annotated[QueryTime | None, Query(max_length=MAX_TIME, description="Only events before then.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Largest number of events on a page.")] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="`next` of the previous page.")] = None,
) -> EventPage:
    """List events, the newest first. A key that is bound to machines gets events of these only."""
    wanted = EventFilter(machine_id, source, state, reviewed, since, until, origin)
    return await asyncio.to_thread(_page, services.settings, key, wanted, limit, cursor)


@router.post(
    "",
    summary="Report an event",
    status_code=201,
    openapi_extra=EVENT_FORM.openapi(),
    responses=error_responses(*REPORT_ERRORS)
    | {200: {"model": ReportResult, "description": "The event was known here by its id."}},
)
async def report_event(request: Request, form: ReportForm, services: ServicesDep, response: Response) -> ReportResult:
    """Report an event of another device, with its sound if it has one.

    Sinks of another service do so. The same event may be reported again and again: it is stored once, by its id, and
    the newer state wins. Its review and its recording here stay. `Location` is its address.
    """
    report = await asyncio.to_thread(Report.of, form)
    check_machine_binding(request, report.facts.machine_id)
    result = await services.event_intake.take(report, request.receive)
    response.headers["Location"] = f"{router.prefix}/{result.id}"
    if result.result != "created":
        response.status_code = 200
    return result


@router.get(
    "/stream",
    summary="Watch events",
    response_class=StreamingResponse,
    responses=error_responses(*EVENTS_ERRORS, Busy) | STREAM,
)
async def watch_events(
    request: Request,
    services: ServicesDep,
    key: KeyDep,
    machine_id: MachineQuery = None,
    last_event_id: Annotated[
        str, Header(pattern=r"^\d{0,18}$", description="Id of the last event that was received.")
    ] = "",
) -> Response:
    """Watch events as server-sent events, from now on or after `Last-Event-ID`.

    A key that is bound to machines gets events of these only. The stream ends when the key expires or is revoked, and
    with the session of a browser.
    """
    last = await asyncio.to_thread(_last_change, services.settings)
    # A larger number is from a file that was deleted since.
    after = min(int(last_event_id), last) if last_event_id else last

    def encode(change: EventChange) -> str | None:
        found = change.event.machine_id
        return _encode(change) if machine_id in (None, found) and key.reaches_machine(found) else None

    changes = until_revoked(services.event_feed.changes(after, encode), services, request)
    return StreamingResponse(encode_events(changes, str(after)), media_type=EVENT_STREAM, headers=NO_CACHE)


@router.get("/{event}", summary="Show an event", responses=error_responses(*EVENT_ERRORS))
async def show_event(event: EventPath, services: ServicesDep, key: KeyDep) -> EventDetails:
    """Show an event with its changes."""
    return await asyncio.to_thread(_details, services.settings, key, event)


@router.get(
    "/{event}/clip",
    summary="Get the sound of an event",
    response_class=FileResponse,
    responses=error_responses(*EVENT_ERRORS, errors.ClipNotFound, MalformedRange, RangeNotSatisfiable)
    | {200: {"content": FLAC}, 206: {"description": "The range of the header `Range`.", "content": FLAC}},
)
async def get_clip(event: EventPath, services: ServicesDep, key: KeyDep) -> FileResponse:
    """Get the sound of an event as FLAC, or a range of it. It begins some seconds before the event."""
    found, facts = await asyncio.to_thread(_file, services.settings, key, event, clip_file)
    return AudioFileResponse(found, facts, FLAC_TYPE, found.name)


@router.get(
    "/{event}/spectrogram",
    summary="Get the spectrum of an event",
    response_class=FileResponse,
    responses=error_responses(*EVENT_ERRORS, errors.ClipNotFound, MalformedRange, RangeNotSatisfiable)
    | {200: {"content": PNG}, 206: {"description": "The range of the header `Range`.", "content": PNG}},
)
async def get_spectrogram(event: EventPath, services: ServicesDep, key: KeyDep) -> FileResponse:
    """Get a picture of the mel spectrum of the sound, as the model's features have it."""
    found, facts = await asyncio.to_thread(_file, services.settings, key, event, spectrogram_file)
    return AudioFileResponse(found, facts, PNG_TYPE, found.name)


@router.patch(
    "/{event}",
    summary="Review an event",
    responses=error_responses(*EVENT_ERRORS, *BODY_ERRORS, errors.InvalidRecordingLabels, errors.StorageFull),
)
async def patch_event(event: EventPath, change: EventReviewChange, services: ServicesDep, key: KeyDep) -> EventDetails:
    """Note the verdict of a person: whether the machine was faulty, the name of the fault, and a text.

    `POST .../recording` then puts the sound into a dataset with this label, for the next training.
    """
    return await asyncio.to_thread(_review, services.settings, key, event, change)


@router.post(
    "/{event}/recording",
    summary="Make a recording of an event",
    status_code=201,
    responses=error_responses(
        *EVENT_ERRORS,
        *BODY_ERRORS,
        errors.ClipNotFound,
        errors.InvalidName,
        errors.DatasetReadOnly,
        errors.InvalidRecordingLabels,
        errors.StorageFull,
    )
    | {200: {"model": ClipRecording, "description": "The recording was in the dataset already."}},
)
async def make_event_recording(
    event: EventPath,
    wanted: ClipRecordingRequest,
    request: Request,
    services: ServicesDep,
    key: KeyDep,
    response: Response,
) -> ClipRecording:
    """Put the sound of an event into a dataset with its label, for the next training.

    `Location` is the address of the recording. The same sound is stored once.
    """
    check_dataset_binding(request, wanted.dataset)
    made = await asyncio.to_thread(_make_recording, services.settings, key, event, wanted)
    response.headers["Location"] = f"/v1/datasets/{wanted.dataset}/recordings/{made.recording.id}"
    if not made.added:
        response.status_code = 200
    return ClipRecording(
        dataset=wanted.dataset,
        added=made.added,
        relabelled=made.relabelled,
        recording=RecordingSummary.model_validate(made.recording),
    )


def _page(settings: Settings, key: ApiKey, wanted: EventFilter, limit: int, cursor: int | None) -> EventPage:
    with EventStore(settings.home) as store:
        if key.is_bound:
            wanted = wanted._replace(machines=[name for name in store.machines() if key.reaches_machine(name)])
        found = store.page(wanted, limit, cursor)
    return EventPage(events=[to_summary(event) for event in found.events], next=found.next)


def _last_change(settings: Settings) -> int:
    with EventStore(settings.home) as store:
        return store.last_change()


def _encode(change: EventChange) -> str:
    values = {"number": change.number, "change": change.change, "at": change.at}
    return json.dumps(values | {"event": to_summary(change.event).model_dump()}, separators=(",", ":"))


def _details(settings: Settings, key: ApiKey, event_id: str) -> EventDetails:
    with EventStore(settings.home) as store:
        return EventDetails.of(find_event(store, key, event_id), store.changes_of(event_id))


def _review(settings: Settings, key: ApiKey, event_id: str, change: EventReviewChange) -> EventDetails:
    with EventStore(settings.home, route=route_by_file(settings.home)) as store:
        event = find_event(store, key, event_id)
        if change.reviewed is False:
            store.save(event.changed(review=None), "reviewed", only=("review",))
        else:
            review_event(store, event_id, *change.review_of(event), by=change.by or key.name)
        shown = EventDetails.of(store.get(event_id), store.changes_of(event_id))
    before, after = (None if each is None else each.verdict for each in (event.review, shown.review))
    record_change(settings.home, "event.review", event_id, before=before, after=after)
    return shown


def _make_recording(settings: Settings, key: ApiKey, event_id: str, wanted: ClipRecordingRequest) -> AddResult:
    with EventStore(settings.home, route=route_by_file(settings.home)) as store:
        find_event(store, key, event_id)
        added = make_recording(
            settings.home, store, event_id, wanted.dataset, wanted.label, wanted.fault, current_request_id()
        )
    after = {"event": event_id, "recording": added.recording.id, "added": added.added}
    record_change(settings.home, "event.recording", wanted.dataset, after=after)
    return added


def find_event(store: EventStore, key: ApiKey, event_id: str) -> Event:
    """Return an event that a key reaches.

    Raises:
        EventNotFound: there is none of this id, or the key is bound to other machines.
    """
    event = store.find(event_id) if re.fullmatch(EVENT_ID, event_id) else None
    if event is None:
        raise errors.EventNotFound(f"There is no event {shorten(event_id)!r}.")
    if not key.reaches_machine(event.machine_id):
        raise errors.EventNotFound(f"There is no event {event_id!r} that this API key can reach.")
    return event


def _file(
    settings: Settings, key: ApiKey, event_id: str, find: Callable[[FilePath, Event], FilePath]
) -> tuple[FilePath, os.stat_result]:
    """Return a file of an event, and the system's facts about it.

    Raises:
        EventNotFound, ClipNotFound
    """
    with EventStore(settings.home) as store:
        file = find(settings.home, find_event(store, key, event_id))
    try:
        return file, file.stat()
    except OSError:
        raise errors.ClipNotFound(f"The clip of the event {event_id} was deleted.") from None
