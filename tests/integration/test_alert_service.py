"""Events of a device at another signalml service: store and forward with clips, each event once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.api_keys import ApiKeyStore
from listener.alerts import sink_worker
from listener.alerts.alert_message import public_values
from listener.alerts.outbox import Counts, Outbox
from listener.config.files import sink_file
from listener.config.sink_types import ServiceSink
from listener.events.event import Event, EventClip
from listener.events.store import EventStore
from ml.errors import DeliveryFailed
from testing.servers import Serve, ServerProcess, free_port, wait_until
from tests import sounds
from tests.integration.alerting import AlertingDevice, RawServer, read_request
from tests.integration.listening import PNG

WITHIN_S = 30.0
REFUSED = b"HTTP/1.1 413 Too large\r\ncontent-length: 0\r\n\r\n"
CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(sink_worker, "LONGEST_BACKOFF_S", 0.3)


@pytest.fixture(scope="module")
def central(serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A service without a model, to which devices report."""
    return serve_for_all(tmp_path_factory.mktemp("central") / "home", wait_for="/livez", clips_min_free_bytes=0)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[AlertingDevice]:
    with AlertingDevice(tmp_path / "device") as started:
        yield started


def service(url: str, **values: Any) -> ServiceSink:
    return ServiceSink(name="central", url=url, **values)


def with_clip(device: AlertingDevice, event: Event, name: str, seconds: float) -> Event:
    """The event with a clip in the device's folder."""
    folder = device.options.clips_folder
    folder.mkdir(parents=True, exist_ok=True)
    flac = sounds.flac(sounds.fan(seconds))
    (folder / f"{name}.flac").write_bytes(flac)
    (folder / f"{name}.png").write_bytes(PNG)
    clip = EventClip(f"{name}.flac", f"{name}.png", event.began, seconds, len(flac) + len(PNG))
    return event.changed(clip=clip, missing_clip=None)


def shown(central: ServerProcess, event: Event) -> dict[str, Any]:
    """The event as the service shows it; empty if it is not known there."""
    answer = central.client.get(f"/v1/events/{event.id}")
    return dict(answer.json()) if answer.status_code == 200 else {}


def test_an_event_arrives_with_its_clip_and_its_end(central: ServerProcess, device: AlertingDevice) -> None:
    """Under the same id, with the name of the device; the clip and its spectrum can be fetched there."""
    device.use(service(central.base_url))
    began = device.begins("hall-3/fan")
    wait_until(lambda: shown(central, began).get("state") == "active", WITHIN_S)
    judged = device.changes(with_clip(device, began, "first", 1.0), "clip")
    wait_until(lambda: shown(central, began)["clip"], WITHIN_S)
    device.ends(judged)
    wait_until(lambda: shown(central, began)["state"] == "ended", WITHIN_S)
    found = shown(central, began)
    assert (found["id"], found["machine_id"], found["origin"]) == (began.id, "hall-3/fan", "press-room")
    clip = central.client.get(f"/v1/events/{began.id}/clip")
    assert clip.content == (device.options.clips_folder / "first.flac").read_bytes()
    assert central.client.get(f"/v1/events/{began.id}/spectrogram").content == PNG
    assert device.outbox.counts() == {}


def test_the_final_clip_replaces_the_first_one(central: ServerProcess, device: AlertingDevice) -> None:
    """The device writes it after the end of the event, whose time it does not change."""
    device.use(service(central.base_url))
    event = device.ends(device.changes(with_clip(device, device.begins(), "early", 0.5), "clip"))
    device.changes(with_clip(device, event, "late", 2.0), "clip")
    wait_until(lambda: (shown(central, event).get("clip") or {}).get("duration_s") == 2.0, WITHIN_S)
    assert shown(central, event)["state"] == "ended"


def test_the_central_service_sends_alerts_of_its_own(
    central: ServerProcess, device: AlertingDevice, request: pytest.FixtureRequest
) -> None:
    """An event that a device reports is an alert for the sinks of the service that keeps it."""
    sinks = sink_file(central.home)
    sinks.add({"name": "hook", "kind": "webhook", "url": "https://example.org/", "rules": {"changes": ["began"]}})
    request.addfinalizer(lambda: sinks.remove("hook"))
    device.use(service(central.base_url))
    event = device.ends(device.begins("pump"))
    wait_until(lambda: shown(central, event).get("state") == "ended", WITHIN_S)
    central.client.patch(f"/v1/events/{event.id}", json={"verdict": "faulty"}).raise_for_status()
    with EventStore(central.home) as store:
        alerts = Outbox(store).waiting("hook")
        changes = [change for change, _ in store.changes_of(event.id)]
    assert changes[-1] == "reviewed"
    assert [each.event.origin for each in alerts] == ["press-room"] * changes.count("began")


def test_an_event_of_another_device_is_refused_for_good(device: AlertingDevice) -> None:
    """Another attempt would get the same answer."""

    def behave(connection: Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n")

    with RawServer(behave) as server:
        device.use(service(server.url))
        device.begins()
        wait_until(lambda: device.outbox.counts() == {"central": Counts(dead=1)}, WITHIN_S)


def test_the_values_of_an_alert_are_those_of_the_api(central: ServerProcess, device: AlertingDevice) -> None:
    """A receiver of a webhook reads the same fields as a client of the API."""
    device.use(service(central.base_url))
    event = device.changes(with_clip(device, device.begins(), "same", 1.0), "clip")
    wait_until(lambda: shown(central, event).get("clip"), WITHIN_S)
    found = shown(central, event)
    del found["changes"]
    assert set(public_values(event)) == set(found)
    assert set(public_values(event)["clip"]) == set(found["clip"])


def test_what_happens_while_the_service_is_away_arrives_later(central: ServerProcess, device: AlertingDevice) -> None:
    """Of several changes of an event, only the newest state is sent; each event is there once, with its clip."""
    device.use(service(f"http://127.0.0.1:{free_port()}"))
    events = [device.begins(f"fan-{number}") for number in range(5)]
    for event in events:
        device.ends(device.changes(with_clip(device, event, event.id, 0.5), "clip"))
    assert "cannot be reached" in device.wait_failed("central")
    received: list[bytes] = []
    with RawServer(lambda connection: _fail(connection, received)) as broken:
        device.use(service(broken.url))
        wait_until(lambda: len(received) >= 3, WITHIN_S)
    assert device.outbox.counts()["central"].dead == 0
    device.use(service(central.base_url))
    wait_until(lambda: device.outbox.counts() == {}, WITHIN_S)
    found = [shown(central, each) for each in events]
    assert {each["state"] for each in found} == {"ended"}
    assert all(each["clip"] for each in found)
    assert all(len(each["changes"]) <= 2 for each in found)


def _fail(connection: Any, received: list[bytes]) -> None:
    received.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")


def test_a_clip_is_sent_once_for_each_version(device: AlertingDevice) -> None:
    """Progress of the event does not send it again."""
    received: list[bytes] = []

    def behave(connection: Any) -> None:
        received.append(read_request(connection))
        connection.sendall(CREATED)

    with RawServer(behave) as server:
        device.use(service(server.url))
        began = device.begins()
        device.wait_delivered("central")
        event = device.changes(with_clip(device, began, "short", 0.5), "clip")
        device.wait_delivered("central", 2)
        for number in range(3):
            device.changes(event.changed(clips=number), "updated")
            device.wait_delivered("central", 3 + number)
        device.changes(with_clip(device, event, "long", 1.0), "clip")
        device.wait_delivered("central", 6)
    assert [b"fLaC" in each for each in received] == [False, True, False, False, False, True]


def test_an_event_arrives_without_a_clip_that_is_refused(device: AlertingDevice) -> None:
    """A clip that is too large for the service does not cost the event."""
    received: list[bytes] = []

    def behave(connection: Any) -> None:
        received.append(read_request(connection))
        connection.sendall(REFUSED if b"fLaC" in received[-1] else CREATED)

    with RawServer(behave) as server:
        device.use(service(server.url))
        device.changes(with_clip(device, device.begins(), "large", 0.5), "clip")
        wait_until(lambda: device.outbox.counts() == {}, WITHIN_S)
        assert device.status("central").dead == 0
    assert device.outbox.counts() == {}


def test_an_api_key_is_needed_and_never_shown(
    device: AlertingDevice, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The alert waits until the key is right: a person mends it. A test alert names what is wrong."""
    home = device.options.home.parent / "guarded"
    secret = ApiKeyStore(home).create("hall", "predict")
    server = serve(home, wait_for="/livez", require_api_key=True)
    wrong = "sml_wrong0000000000000000000000"
    device.use(service(server.base_url, api_key=wrong))
    event = device.begins()
    assert "401" in device.wait_failed("central")
    with pytest.raises(DeliveryFailed, match="401 Unauthorized, api_key_missing"):
        device.delivery.test("central")
    assert device.outbox.counts() == {"central": Counts(waiting=1)}
    device.use(service(server.base_url, api_key=secret))
    device.delivery.test("central")
    device.wait_delivered("central")
    assert device.store.get(event.id) == event
    text = f"{caplog.text} {device.delivery.statuses()} {server.log()}"
    assert wrong not in text
    assert secret not in text


def test_two_devices_that_report_at_once_double_nothing(central: ServerProcess, tmp_path: Path) -> None:
    """Each has its own events."""
    before = len(central.client.get("/v1/events", params={"limit": 500}).json()["events"])

    def report(number: int) -> None:
        with AlertingDevice(tmp_path / str(number), service(central.base_url)) as device:
            for each in range(10):
                device.ends(device.begins(f"fan-{each}"))
            wait_until(lambda: device.outbox.counts() == {}, WITHIN_S)

    threads = [threading.Thread(target=report, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(central.client.get("/v1/events", params={"limit": 500}).json()["events"]) == before + 20
