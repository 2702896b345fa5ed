"""Webhooks, with real receivers: what arrives, and what happens if the receiver is away, slow, wrong or hostile."""

import base64
import hashlib
import hmac
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.alerts import sink_worker
from listener.alerts.outbox import Counts, Outbox
from listener.alerts.sinks import http_request
from listener.config.sink_types import WebhookSink
from ml.errors import DeliveryFailed, EntryNotFound, StorageFull
from testing.receivers import WebhookReceiver
from testing.servers import wait_until
from tests.integration.alerting import AlertingDevice, RawServer, drip, read_request

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
PASSWORD, TOKEN = "pa55-w0rd", "t0ken-of-the-address"
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(sink_worker, "LONGEST_BACKOFF_S", 0.3)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as started:
        yield started


def hook(url: str, name: str = "hook", **values: Any) -> WebhookSink:
    facts: dict[str, Any] = {"allow_private": True, "secret": SECRET, "timeout_s": 1.0, "rules": {"digest_above": 1000}}
    return WebhookSink(name=name, url=url, **(facts | values))


def test_an_alert_is_signed_as_standard_webhooks(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """The receiver checks the signature with the key, and reads id, type, time and the event."""
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        began = device.begins("hall-3/fan", reasons=({"low_hz": 413.0, "high_hz": 851.0},))
        device.wait_delivered("hook")
    (request,) = receiver.received
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert request.headers["content-type"] == "application/json"
    body = request.json()
    assert set(body) == {"id", "type", "timestamp", "data"}
    assert (body["id"], body["type"]) == (request.id, "event.began") == (f"{began.id}-1", "event.began")
    assert (body["data"]["id"], body["data"]["machine_id"], body["data"]["state"]) == (began.id, "hall-3/fan", "active")


def test_without_a_secret_there_is_no_signature(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """Id and time are there."""
    with AlertingDevice(tmp_path, hook(receiver.url, secret=None)) as device:
        device.begins()
        device.wait_delivered("hook")
    assert {"webhook-id", "webhook-timestamp"} <= set(receiver.received[0].headers)
    assert "webhook-signature" not in receiver.received[0].headers


def test_alerts_arrive_at_once(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """Not at the next look at the outbox, which can be half a second later."""
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        device.wait_ready("hook")
        began = time.monotonic()
        for number in range(5):
            device.begins(f"fan-{number}")
            device.wait_delivered("hook", number + 1)
        assert time.monotonic() - began < 5 * sink_worker.POLL_S


def test_nothing_is_lost_while_the_receiver_is_away_wrong_and_slow(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """It is stopped, answers with errors, and is too slow. Later each alert is there, in the order of its machine."""
    receiver.stop()
    with AlertingDevice(tmp_path, hook(receiver.url, timeout_s=1.0)) as device:
        for number in range(6):
            device.ends(device.begins(f"fan-{number % 2}"))
        assert "cannot be reached" in device.wait_failed("hook")
        receiver.status = lambda number: (500, 503, 429, 404, 302, 204)[number % 6]
        receiver.start()
        device.wait_delivered("hook", 3)
        receiver.delay_s, receiver.status = 1.5, 204
        wait_until(lambda: "did not answer" in (device.status("hook").last_error or ""), 30)
        receiver.delay_s = 0.0
        wait_until(lambda: device.status("hook").waiting == 0, 60)
    assert len(receiver.accepted) == 12
    for machine in ("fan-0", "fan-1"):
        arrived = sorted(receiver.accepted.values(), key=lambda each: each.at)
        types = [each.json()["type"] for each in arrived if each.json()["data"]["machine_id"] == machine]
        assert types == ["event.began", "event.ended"] * 3


def test_an_attempt_that_is_repeated_has_the_same_id_and_body(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """So the receiver recognises it, also after a restart of the listener."""
    receiver.status = 500
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        device.begins()
        wait_until(lambda: len(receiver.received) >= 2, 30)
    receiver.status = 204
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        wait_until(lambda: device.status("hook").waiting == 0, 30)
    assert len({(each.id, each.body) for each in receiver.received}) == 1


def test_a_refusal_for_good_goes_to_the_dead_alerts(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """And holds up no other alert. A person sends it again."""
    receiver.status = lambda number: 413 if number == 0 else 204
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        first = device.begins()
        device.begins("fan-4")
        device.wait_delivered("hook")
        assert device.outbox.counts() == {"hook": Counts(dead=1)}
        assert "413" in device.outbox.dead("hook")[0].error
        device.outbox.send_again("hook")
        device.wait_delivered("hook", 2)
    assert receiver.received[-1].json()["data"]["id"] == first.id


def test_an_alert_is_given_up_after_its_age(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """Not at the first attempts: after days without power, the network can be there later than the listener."""
    receiver.status = 500
    with AlertingDevice(tmp_path) as device:
        sink = hook(receiver.url, rules={"give_up_h": 1.0})
        device.use(sink)
        device.begins()
        with device.store.transaction() as db:
            db.execute("UPDATE alerts SET created = created - 7200")
        wait_until(lambda: device.status("hook").dead == 1, 30)
    assert len(receiver.received) >= sink_worker.LEAST_ATTEMPTS


def test_the_time_in_retry_after_is_waited_for(tmp_path: Path) -> None:
    """No attempt comes before."""
    times = []

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        times.append(time.monotonic())
        busy = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
        connection.sendall(OK if len(times) > 1 else busy)

    with RawServer(behave) as server, AlertingDevice(tmp_path, hook(server.url)) as device:
        device.begins()
        device.wait_delivered("hook")
    assert times[1] - times[0] >= 1.0


def test_redirects_are_not_followed(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """They could lead into the private network."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(f"HTTP/1.1 307 Moved\r\nlocation: {receiver.url}\r\ncontent-length: 0\r\n\r\n".encode())

    with RawServer(behave) as server, AlertingDevice(tmp_path, hook(server.url)) as device:
        device.begins()
        assert "Redirects are not followed" in device.wait_failed("hook")
    assert receiver.received == []


def _close_at_once(_: socket.socket) -> None:
    """Accept and close."""


def _close_after_half(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 204 No")


def _drip_headers(connection: socket.socket) -> None:
    read_request(connection)
    drip(connection, b"HTTP/1.1 204 No Content\r\n" + b"x: y\r\n" * 1000)


def _send_headers_without_end(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 204 No Content\r\n")
    while True:
        connection.sendall(b"x: y\r\n" * 1000)


def _continue_for_ever(connection: socket.socket) -> None:
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _send_nonsense(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"\x00\xff" * 5000)


@pytest.mark.parametrize(
    "behave",
    [
        _close_at_once,
        _close_after_half,
        _drip_headers,
        _send_headers_without_end,
        _continue_for_ever,
        _send_nonsense,
        read_request,
    ],
)
def test_a_hostile_receiver_costs_at_most_the_time_limit(
    behave: Callable[[socket.socket], Any], tmp_path: Path
) -> None:
    """Each attempt ends within the time limit, with a reason."""
    with RawServer(behave) as server:
        request = http_request.HttpRequest(server.url, 1.0, allow_private=True)
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match=r"The receiver (closed|did not answer)"):
            request.send("POST", b"{}", {}, "The receiver")
        assert time.monotonic() - began < 2.0


def test_an_endless_answer_is_not_read_to_its_end(tmp_path: Path) -> None:
    """The beginning is enough."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with RawServer(behave) as server:
        answer = http_request.HttpRequest(server.url, 5.0, allow_private=True).send("POST", b"{}", {}, "The receiver")
    assert (answer.status, len(answer.body)) == (200, http_request.MAX_BODY)


def test_a_sink_that_hangs_holds_up_neither_others_nor_the_end(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """Events, the other sink and the end of the listener go on."""
    with RawServer(lambda _: time.sleep(60)) as server:
        device = AlertingDevice(tmp_path, hook(server.url, "slow", timeout_s=60), hook(receiver.url))
        began = time.monotonic()
        for number in range(10):
            device.begins(f"fan-{number}")
        assert time.monotonic() - began < 2.0
        device.wait_delivered("hook", 10)
        wait_until(lambda: server.connections, 30)
        began = time.monotonic()
        device.delivery.stop()
        assert time.monotonic() - began < 5.0
        assert device.status_counts() == {"slow": Counts(waiting=10)}
        device.store.close()


def test_a_full_disk_does_not_send_an_alert_again_and_again(
    receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was delivered cannot be written: only this is repeated, until there is room."""
    failures = [StorageFull("The disk is full.")] * 5
    drop = Outbox.drop

    def drop_later(self: Outbox, *arguments: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        drop(self, *arguments, **options)

    monkeypatch.setattr(Outbox, "drop", drop_later)
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        device.begins()
        wait_until(lambda: device.outbox.counts() == {}, 30)
        device.begins()
        device.wait_delivered("hook", 2)
    assert not failures
    assert len(receiver.received) == 2


# Private addresses


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/"])
def test_a_private_address_is_refused(url: str, receiver: WebhookReceiver, tmp_path: Path) -> None:
    """Unless it is allowed. The alert waits, so it arrives when it is allowed."""
    port = int(receiver.url.split(":")[2].split("/")[0])
    sink = hook(url.format(port=port), allow_private=False)
    with AlertingDevice(tmp_path, sink) as device:
        device.begins()
        assert "allow_private" in device.wait_failed("hook")
        assert receiver.received == []
        device.use(hook(receiver.url))
        device.wait_delivered("hook")


def test_a_name_server_that_changes_its_answer_changes_nothing(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is resolved once, and the connection is made to the address that was checked."""
    answers = ["93.184.216.34", "127.0.0.1"]
    targets = []

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        targets.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    request = http_request.HttpRequest("http://rebinding.example.org/", 1.0, allow_private=False)
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        request.send("POST", b"{}", {}, "The receiver")
    assert targets == ["93.184.216.34"]


# Test alerts, and secrets


def test_a_test_alert_arrives_now_or_the_reason_is_given(receiver: WebhookReceiver, tmp_path: Path) -> None:
    """It is no event, and leaves nothing in the outbox."""
    with AlertingDevice(tmp_path, hook(receiver.url)) as device:
        device.delivery.test("hook")
        assert receiver.received[0].json()["type"] == "test"
        receiver.status = 401
        with pytest.raises(DeliveryFailed, match="401 Unauthorized"):
            device.delivery.test("hook")
        receiver.status = 204
        device.use(hook(receiver.url, timeout_s=2.0))
        device.delivery.test("hook")
        with pytest.raises(EntryNotFound):
            device.delivery.test("other")
        assert device.outbox.counts() == {}


def test_no_secret_is_in_any_output(
    receiver: WebhookReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in logs, states and messages, nor in the traceback of an unexpected error."""
    caplog.set_level(logging.DEBUG)
    url = receiver.url.replace("http://", f"http://ana:{PASSWORD}@") + f"?token={TOKEN}"
    receiver.status = 500
    with AlertingDevice(tmp_path, hook(url)) as device:
        device.begins()
        shown = [device.wait_failed("hook")]
        with pytest.raises(DeliveryFailed) as raised:
            device.delivery.test("hook")
        shown.append(str(raised.getrepr(showlocals=False)))
        shown += [str(device.delivery.statuses()), device.outbox.waiting("hook")[0].error]
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(http_request.HttpRequest, "send", _fail_with_everything)
            wait_until(lambda: "ZeroDivisionError" in (device.status("hook").last_error or ""), 30)
    output = capfd.readouterr()
    everything = "\n".join([*shown, caplog.text, output.out, output.err])
    assert "ZeroDivisionError" in everything
    pair = base64.b64encode(f"ana:{PASSWORD}".encode()).decode()
    assert [each for each in (PASSWORD, TOKEN, SECRET, SECRET.removeprefix("whsec_"), pair) if each in everything] == []
    assert receiver.received[0].headers["authorization"] == f"Basic {pair}"


def _fail_with_everything(self: Any, *request: Any, **_: Any) -> None:
    raise ZeroDivisionError(f"{request} {self._parts} {self._authorization()} {SECRET}")


def test_a_digest_has_its_own_type(receiver: WebhookReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request in place of many, with one id over its attempts."""
    monkeypatch.setattr("listener.alerts.rules.WINDOW_S", 1.0)
    receiver.status = lambda number: 500 if number == 2 else 204
    with AlertingDevice(tmp_path, hook(receiver.url, rules={"digest_above": 2})) as device:
        for number in range(30):
            device.begins(f"fan-{number}", score=0.5 + number / 100)
        device.wait_delivered("hook", 3)
    digests = [each for each in receiver.received if each.json()["type"] == "events.digest"]
    assert len({each.id for each in digests}) == 1
    data = digests[-1].json()["data"]
    assert (data["alerts"], data["machines"], data["reason"], data["worst"][0]["machine_id"]) == (
        28,
        28,
        "storm",
        "fan-29",
    )
    assert json.loads(digests[-1].body)["id"].startswith("digest-")
