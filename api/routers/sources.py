"""Routes of sources: what the listener records. They change the file; a listener that runs follows within 2 s."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.api_keys import ApiKey
from api.dependencies import RejectUnknownParameters, ServicesDep
from api.entry_changes import changed_values, new_values
from api.errors import BODY_ERRORS, V1_ERRORS, Busy, InvalidRequest
from api.event_streams import EVENT_STREAM, NO_CACHE, encode_events, stream_answer
from api.listening import describe_listener, describe_source, read_status
from api.problems import error_responses
from api.schemas.listening import SOURCE_EXAMPLES, ShownSource, SourceChange, SourceList, SourceNew
from api.security import AuthFirstRoute, KeyDep, check_machine_binding, require_unbound, until_revoked
from api.settings import Settings
from listener.config.files import source_file
from listener.config.source_types import SourceEntry
from listener.live.client import ListenerClient
from ml import errors
from ml.system.validation import shorten

router = APIRouter(
    prefix="/v1/sources", tags=["sources"], dependencies=[RejectUnknownParameters], route_class=AuthFirstRoute
)
SOURCES_ERRORS = (*V1_ERRORS, errors.InvalidListenerConfig)
SOURCE_ERRORS = (*SOURCES_ERRORS, errors.EntryNotFound)
CHANGE_ERRORS = (*BODY_ERRORS, errors.StorageFull)
LIVE_ERRORS = (*SOURCE_ERRORS, errors.ListenerNotRunning, errors.ListenerError)
LONGEST_SOUND_S = 60
FLAC = {"audio/flac": {"schema": {"type": "string", "format": "binary"}, "example": "fLaC..."}}
LIVE = stream_answer(
    "Values `level` ten times a second: time, state, level in dBFS, score, threshold, verdict, state of the machine, "
    "event, and a column of the mel spectrum in dB, from low to high frequencies. `end` is the last one. They have no "
    "ids: a client that connects again gets the present values.",
    'event: level\ndata: {"at":"2026-11-22T21:46:09.123+00:00","state":"listening","level_dbfs":-41.2,"score":0.21,'
    '"threshold":0.5,"verdict":"normal","machine_state":"normal","event":null,"mel":[-62,-58,-49]}\n\n',
)
SourcePath = Annotated[
    str,
    Path(description="Name of the source.", examples=["hall-3"]),
]


@router.get("", summary="List sources", responses=error_responses(*V1_ERRORS))
async def list_sources(services: ServicesDep, key: KeyDep) -> SourceList:
    """List all sources with their states: what each records, whether sound arrives, and the last verdict.

    A key that is bound to machines gets sources of these only. Without a listener, the state is `not_listening`.
    """
    return await asyncio.to_thread(_list, services.settings, key)


@router.post(
    "",
    summary="Add a source",
    status_code=201,
    response_model=ShownSource,
    responses=error_responses(*SOURCES_ERRORS, *CHANGE_ERRORS, errors.EntryExists),
)
async def add_source(
    new: Annotated[SourceNew, Body(openapi_examples=SOURCE_EXAMPLES)],
    request: Request,
    services: ServicesDep,
    response: Response,
) -> dict[str, Any]:
    """Add a source. `Location` is its address. A listener that runs takes it up within 2 s.

    A folder or a named pipe must lie in the home, or in a folder of the setting `SIGNALML_LISTEN_FOLDERS`; a relative
    path is in the home.
    """

    def add() -> dict[str, Any]:
        settings = services.settings
        file = source_file(settings.home)
        values = new_values(file, new.values, settings.source_folders)
        _check_binding(request, values)
        return _describe(settings, file.add(values))

    shown = await asyncio.to_thread(add)
    response.headers["Location"] = f"{router.prefix}/{shown['name']}"
    return shown


@router.get("/{source}", summary="Show a source", response_model=ShownSource, responses=error_responses(*SOURCE_ERRORS))
async def show_source(source: SourcePath, services: ServicesDep, key: KeyDep) -> dict[str, Any]:
    """Show a source with its state. Passwords are shown as `***`."""
    return await asyncio.to_thread(lambda: _describe(services.settings, _entry(services.settings, key, source)))


@router.patch(
    "/{source}",
    summary="Change a source",
    response_model=ShownSource,
    responses=error_responses(*SOURCE_ERRORS, *CHANGE_ERRORS),
)
async def change_source(
    source: SourcePath, change: SourceChange, request: Request, services: ServicesDep, key: KeyDep
) -> dict[str, Any]:
    """Change fields of a source; its name and kind stay. A listener that runs follows within 2 s.

    A value that is sent back as it was shown does not change, also one with a hidden password.
    """

    def write() -> dict[str, Any]:
        settings = services.settings
        file, entry = source_file(settings.home), _entry(settings, key, source)
        values = changed_values(file, entry, change.values, settings.source_folders)
        _check_binding(request, values)
        return _describe(settings, file.replace(source, values))

    return await asyncio.to_thread(write)


@router.delete(
    "/{source}",
    summary="Remove a source",
    status_code=204,
    responses=error_responses(*SOURCE_ERRORS, errors.StorageFull),
)
async def remove_source(source: SourcePath, services: ServicesDep, key: KeyDep) -> None:
    """Remove a source. Its active event is closed as `interrupted`; its events and recordings stay."""

    def remove() -> None:
        _entry(services.settings, key, source)
        source_file(services.settings.home).remove(source)

    await asyncio.to_thread(remove)


@router.get(
    "/{source}/live",
    summary="Watch a source",
    response_class=StreamingResponse,
    responses=error_responses(*LIVE_ERRORS, Busy) | LIVE,
)
async def watch_source(source: SourcePath, request: Request, services: ServicesDep, key: KeyDep) -> Response:
    """Watch level, score and spectrum of a source as server-sent events, ten times a second.

    A client that is slow misses values. The stream ends when the source or the listener ends, when the key expires or
    is revoked, and with the session of a browser.
    """
    await asyncio.to_thread(_entry, services.settings, key, source)
    values = await services.live_feed.watch(source)
    allowed = until_revoked(values, services, request)
    return StreamingResponse(encode_events(allowed), media_type=EVENT_STREAM, headers=NO_CACHE)


@router.get(
    "/{source}/sound",
    summary="Get the last sound of a source",
    response_class=Response,
    responses=error_responses(*LIVE_ERRORS, InvalidRequest, errors.ClipNotFound) | {200: {"content": FLAC}},
)
async def get_sound(
    source: SourcePath,
    services: ServicesDep,
    key: KeyDep,
    seconds: Annotated[
        float, Query(gt=0, le=LONGEST_SOUND_S, description="Length in seconds; less if there is less sound.")
    ] = 10.0,
) -> Response:
    """Get the last seconds of sound of a source as FLAC."""

    def read() -> bytes:
        _entry(services.settings, key, source)
        return ListenerClient(services.settings.home).sound(source, seconds)

    headers = {"Content-Disposition": f'inline; filename="{source}.flac"', "X-Content-Type-Options": "nosniff"}
    return Response(await asyncio.to_thread(read), media_type="audio/flac", headers=headers | NO_CACHE)


def _list(settings: Settings, key: ApiKey) -> SourceList:
    found, status = source_file(settings.home).read(), read_status(settings.home)
    entries = [entry for entry in found.entries.values() if key.reaches_machine(entry.machine_id)]
    problems = [] if key.is_bound else list(found.problems)
    return SourceList(
        sources=[describe_source(entry, status, settings.home) for entry in entries],
        problems=problems,
        listener=describe_listener(status),
    )


def _describe(settings: Settings, entry: SourceEntry) -> dict[str, Any]:
    return describe_source(entry, read_status(settings.home), settings.home)


def _entry(settings: Settings, key: ApiKey, name: str) -> SourceEntry:
    """Return a source that a key reaches.

    Raises:
        EntryNotFound: there is none of this name, or the key is bound to other machines.
    """
    try:
        entry: SourceEntry = source_file(settings.home).get(name)
    except errors.EntryNotFound:
        raise errors.EntryNotFound(f"There is no source {shorten(name)!r}.") from None
    if not key.reaches_machine(entry.machine_id):
        raise errors.EntryNotFound(f"There is no source {name!r} that this API key can reach.")
    return entry


def _check_binding(request: Request, values: Mapping[str, Any]) -> None:
    """Refuse a machine that the key does not reach, and places that can hold the sound of any machine.

    Raises:
        OutOfBinding
    """
    check_machine_binding(request, str(values.get("machine_id", "")))
    if values.get("kind") in ("folder", "pipe"):
        require_unbound(request, "a folder or a named pipe can hold the sound of any machine")
