"""Routes of sinks: where alerts are sent. They change the file; a listener that runs follows within 2 s."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response

from api.dependencies import RejectUnknownParameters, ServicesDep
from api.entry_changes import changed_values, new_values
from api.errors import BODY_ERRORS, V1_ERRORS, InvalidRequest
from api.listening import describe_listener, describe_sink, read_status
from api.problems import error_responses
from api.schemas.listening import (
    SINK_EXAMPLES,
    DeadAlert,
    DeadAlerts,
    Mute,
    Resend,
    Resent,
    ShownSink,
    SinkChange,
    SinkList,
    SinkNew,
)
from api.security import AuthFirstRoute, require_unbound
from api.settings import Settings
from listener.alerts.outbox import Alert, Counts, Outbox
from listener.config.files import sink_file
from listener.config.sink_types import SinkEntry
from listener.events.store import EventStore
from listener.live.client import ListenerClient
from ml import errors
from ml.system.audit import record_change
from ml.system.validation import shorten


async def _reject_bound_keys(request: Request) -> None:
    """Refuse keys with bindings.

    Raises:
        OutOfBinding
    """
    require_unbound(request, "a sink gets the alerts of all machines")


router = APIRouter(
    prefix="/v1/sinks",
    tags=["sinks"],
    dependencies=[RejectUnknownParameters, Depends(_reject_bound_keys)],
    route_class=AuthFirstRoute,
)
SINKS_ERRORS = (*V1_ERRORS, errors.InvalidListenerConfig, errors.EventsUnavailable)
SINK_ERRORS = (*SINKS_ERRORS, errors.EntryNotFound)
CHANGE_ERRORS = (*BODY_ERRORS, errors.StorageFull)
MAX_DEAD = 1000
SinkPath = Annotated[str, Path(description="Name of the sink.", examples=["hook"])]


@router.get("", summary="List sinks", responses=error_responses(*V1_ERRORS, errors.EventsUnavailable))
async def list_sinks(services: ServicesDep) -> SinkList:
    """List all sinks with their states: how many alerts wait, and how many were given up. Secrets are not shown."""
    return await asyncio.to_thread(_list, services.settings)


@router.post(
    "",
    summary="Add a sink",
    status_code=201,
    response_model=ShownSink,
    responses=error_responses(*SINKS_ERRORS, *CHANGE_ERRORS, errors.EntryExists),
)
async def add_sink(
    new: Annotated[SinkNew, Body(openapi_examples=SINK_EXAMPLES)], services: ServicesDep, response: Response
) -> dict[str, Any]:
    """Add a sink: a webhook, an MQTT broker, e-mail, or another service like this one. `Location` is its address.

    A listener that runs takes it up within 2 s. `POST .../test` sends it a test alert.
    """

    def add() -> dict[str, Any]:
        settings = services.settings
        file = sink_file(settings.home)
        return _describe(settings, file.add(new_values(file, new.values, settings.source_folders)))

    shown = await asyncio.to_thread(add)
    response.headers["Location"] = f"{router.prefix}/{shown['name']}"
    return shown


@router.get("/{sink}", summary="Show a sink", response_model=ShownSink, responses=error_responses(*SINK_ERRORS))
async def show_sink(sink: SinkPath, services: ServicesDep) -> dict[str, Any]:
    """Show a sink with its state. Secrets are shown as `***`."""
    return await asyncio.to_thread(lambda: _describe(services.settings, _entry(services.settings, sink)))


@router.patch(
    "/{sink}",
    summary="Change a sink",
    response_model=ShownSink,
    responses=error_responses(*SINK_ERRORS, *CHANGE_ERRORS),
)
async def change_sink(sink: SinkPath, change: SinkChange, services: ServicesDep) -> dict[str, Any]:
    """Change fields of a sink; its name and kind stay. A listener that runs follows within 2 s.

    A value that is sent back as it was shown does not change, also a hidden secret. An API key must be sent again if
    the address becomes that of another service.
    """
    return await asyncio.to_thread(_change, services.settings, sink, change.values)


@router.delete(
    "/{sink}", summary="Remove a sink", status_code=204, responses=error_responses(*SINK_ERRORS, errors.StorageFull)
)
async def remove_sink(sink: SinkPath, services: ServicesDep) -> None:
    """Remove a sink. Its alerts are not sent any more."""

    def remove() -> None:
        _entry(services.settings, sink)
        sink_file(services.settings.home).remove(sink)

    await asyncio.to_thread(remove)


@router.post(
    "/{sink}/test",
    summary="Test a sink",
    status_code=204,
    responses=error_responses(*SINK_ERRORS, errors.ListenerNotRunning, errors.ListenerError, errors.DeliveryFailed),
)
async def test_sink(sink: SinkPath, services: ServicesDep) -> None:
    """Send a test alert to a sink, and wait until it is delivered. The listener sends it."""

    def test() -> None:
        _entry(services.settings, sink)
        ListenerClient(services.settings.home).test_sink(sink)

    await asyncio.to_thread(test)
    await asyncio.to_thread(record_change, services.settings.home, "sink.test", sink)


@router.post(
    "/{sink}/mute",
    summary="Mute a sink",
    response_model=ShownSink,
    responses=error_responses(*SINK_ERRORS, *CHANGE_ERRORS),
)
async def mute_sink(sink: SinkPath, mute: Mute, services: ServicesDep) -> dict[str, Any]:
    """Send no alerts to a sink until a time; null ends it now."""
    return await asyncio.to_thread(_change, services.settings, sink, {"muted_until": mute.until})


@router.get(
    "/{sink}/dead",
    summary="List alerts that were given up",
    responses=error_responses(*SINK_ERRORS, InvalidRequest),
)
async def list_dead(
    sink: SinkPath,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=MAX_DEAD, description="Largest number of alerts.")] = 100,
) -> DeadAlerts:
    """List the alerts of a sink that could not be delivered and were given up, the oldest first."""

    def read() -> DeadAlerts:
        _entry(services.settings, sink)
        with EventStore(services.settings.home) as store:
            found = Outbox(store).dead(sink)
        return DeadAlerts(alerts=[_dead(alert) for alert in found[:limit]], total=len(found))

    return await asyncio.to_thread(read)


@router.post(
    "/{sink}/dead/resend",
    summary="Send given-up alerts again",
    responses=error_responses(*SINK_ERRORS, *CHANGE_ERRORS),
)
async def resend_dead(sink: SinkPath, resend: Resend, services: ServicesDep) -> Resent:
    """Send the alerts of a sink that were given up again: one, or all. No rule delays or drops them."""

    def send() -> Resent:
        _entry(services.settings, sink)
        with EventStore(services.settings.home, create=True) as store:
            count = Outbox(store).send_again(sink, resend.alert)
        record_change(services.settings.home, "sink.resend", sink, after={"alerts": count})
        return Resent(alerts=count)

    return await asyncio.to_thread(send)


def _list(settings: Settings) -> SinkList:
    found, status = sink_file(settings.home).read(), read_status(settings.home)
    counts = _counts(settings)
    return SinkList(
        sinks=[
            describe_sink(entry, status, counts.get(name, Counts()), settings.home)
            for name, entry in found.entries.items()
        ],
        problems=list(found.problems),
        listener=describe_listener(status),
    )


def _describe(settings: Settings, entry: SinkEntry) -> dict[str, Any]:
    counts = _counts(settings).get(entry.name, Counts())
    return describe_sink(entry, read_status(settings.home), counts, settings.home)


def _counts(settings: Settings) -> dict[str, Counts]:
    with EventStore(settings.home) as store:
        return Outbox(store).counts()


def _change(settings: Settings, name: str, sent: dict[str, Any]) -> dict[str, Any]:
    file = sink_file(settings.home)
    values = changed_values(file, _entry(settings, name), sent, settings.source_folders)
    return _describe(settings, file.replace(name, values))


def _entry(settings: Settings, name: str) -> SinkEntry:
    """Return a sink.

    Raises:
        EntryNotFound, InvalidListenerConfig
    """
    try:
        entry: SinkEntry = sink_file(settings.home).get(name)
    except errors.EntryNotFound:
        raise errors.EntryNotFound(f"There is no sink {shorten(name)!r}.") from None
    return entry


def _dead(alert: Alert) -> DeadAlert:
    return DeadAlert(
        id=alert.id,
        event=alert.event_id,
        machine_id=alert.machine_id,
        change=alert.change,
        created=datetime.fromtimestamp(alert.created, UTC).isoformat(timespec="milliseconds"),
        attempts=alert.attempts,
        error=alert.error,
    )
