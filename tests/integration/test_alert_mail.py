"""Alerts by e-mail, with a real mail server and TLS: one message for each alarm, with its clip."""

import datetime
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from listener.alerts import sink_worker
from listener.alerts.alert_message import AlertMessage
from listener.alerts.outbox import Counts
from listener.alerts.sinks import email
from listener.alerts.sinks.alert_text import subject, text
from listener.config.sink_types import EmailSink
from listener.events.event import EventClip
from listener.events.event_time import to_time
from ml.errors import DeliveryFailed
from testing.receivers import MailServer
from testing.servers import PATIENCE_S, free_port, wait_until
from tests.integration.alerting import AlertingDevice, RawServer
from tests.unit.alerts import NOON, ended, event

WITHIN_S = 10.0
RECEIVERS = ("lee@example.org", "kim@example.org")
PASSWORD = "pa55 w0rd&?"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(sink_worker, "LONGEST_BACKOFF_S", 0.3)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as started:
        yield started


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of ``localhost`` in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    return file


class TlsMailServer:
    """Mail server with TLS and a password."""

    def __init__(self, certificate: Path, *, from_the_start: bool) -> None:
        self.envelopes: list[Envelope] = []
        self.port = free_port()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        tls: dict[str, Any] = (
            {"ssl_context": context} if from_the_start else {"tls_context": context, "require_starttls": True}
        )
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, ready_timeout=PATIENCE_S, auth_required=not from_the_start,
            auth_require_tls=not from_the_start, authenticator=self._authenticate, **tls,
        )  # fmt: skip

    def __enter__(self) -> "TlsMailServer":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - of aiosmtpd
        self.envelopes.append(envelope)
        return "250 OK"

    def _authenticate(self, *arguments: Any) -> AuthResult:
        data = arguments[-1]
        return AuthResult(success=(data.login, data.password) == (b"ana", PASSWORD.encode()), handled=False)


def mail(url: str, **values: Any) -> EmailSink:
    facts: dict[str, Any] = {
        "sender": "fan@example.org",
        "to": ("lee@example.org", "kim@example.org"),
        "without_tls": True,
    }
    return EmailSink(name="mail", server=url, **(facts | values))


def body_of(message: EmailMessage) -> str:
    part = message.get_body()
    assert part is not None
    return str(part.get_content())


def test_an_alarm_is_one_message_in_plain_words(server: MailServer, tmp_path: Path) -> None:
    """Machine, since when, score, threshold and reasons. Its end is no message, unless the rules ask for it."""
    with AlertingDevice(tmp_path, mail(server.url)) as device:
        reason = {"low_hz": 413.0, "high_hz": 851.0, "db": 6.2}
        began = device.begins("hall-3/fan", score=0.93, reasons=(reason,))
        device.wait_delivered("mail")
        device.ends(device.changes(began.changed(score=0.97), "worsened"))
        assert device.outbox.counts() == {}
    (message,) = server.messages
    assert message["to"] == "lee@example.org, kim@example.org"
    assert message["subject"] == "hall-3/fan sounds abnormal"
    assert message["message-id"] == f"<{began.id}-1@example.org>"
    body = body_of(message)
    for each in ("hall-3/fan sounds abnormal since", "0.93 (threshold 0.50)", "413 to 851 Hz: +6.2 dB", "press-room"):
        assert each in body


def test_all_messages_of_an_event_are_one_conversation(server: MailServer, tmp_path: Path) -> None:
    """They refer to the event, and each has an id of its own."""
    rules = {"changes": ("began", "ended")}
    with AlertingDevice(tmp_path, mail(server.url, rules=rules)) as device:
        device.ends(device.begins())
        device.wait_delivered("mail", 2)
    assert [each["subject"] for each in server.messages] == ["fan-3 sounds abnormal", "fan-3 sounds normal again"]
    assert len({each["references"] for each in server.messages}) == 1
    assert len({each["message-id"] for each in server.messages}) == 2


@pytest.mark.parametrize(("size", "attached"), [(1000, True), (6 * 2**20, False)])
def test_a_clip_is_attached_if_it_is_small_enough(
    size: int, attached: bool, server: MailServer, tmp_path: Path
) -> None:
    """A large one is left out; the message is sent."""
    with AlertingDevice(tmp_path, mail(server.url)) as device:
        device.options.clips_folder.mkdir(parents=True)
        (device.options.clips_folder / "1.flac").write_bytes(b"f" * size)
        clip = EventClip("1.flac", None, to_time(NOON), 10.0, size)
        began = device.begins(clip=clip, missing_clip=None)
        device.wait_delivered("mail")
    attachments = list(server.messages[0].iter_attachments())
    assert [each.get_filename() for each in attachments] == ([f"{began.id}.flac"] if attached else [])
    assert [each.get_content_type() for each in attachments] == (["audio/flac"] if attached else [])


def test_nothing_is_lost_while_the_server_is_away_and_refuses(server: MailServer, tmp_path: Path) -> None:
    """A temporary refusal is repeated with the same Message-ID, so doubles are recognised."""
    server.stop()
    with AlertingDevice(tmp_path, mail(server.url)) as device:
        for number in range(4):
            device.begins(f"fan-{number}")
        assert "cannot be reached" in device.wait_failed("mail")
        server.answer = "451 later"
        server.start()
        wait_until(lambda: server.refusals >= 2, WITHIN_S)
        server.answer = "250 OK"
        device.wait_delivered("mail", 4)
    assert len({each["message-id"] for each in server.messages}) == 4


class DelayingMailServer:
    """Mail server that delays one receiver once, as a server does that does not know the sender (greylisting)."""

    def __init__(self) -> None:
        self.receivers: list[list[str]] = []
        self.delayed = 0
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=PATIENCE_S)

    def __enter__(self) -> "DelayingMailServer":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - of aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address == RECEIVERS[1] and self.delayed == 0:
            self.delayed += 1
            return "450 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - of aiosmtpd
        self.receivers.append(list(envelope.rcpt_tos))
        return "250 OK"


def test_a_receiver_that_is_refused_for_now_gets_the_message_later(tmp_path: Path) -> None:
    """The other one gets it once."""
    with (
        DelayingMailServer() as delaying,
        AlertingDevice(tmp_path, mail(f"smtp://127.0.0.1:{delaying.port}")) as device,
    ):
        device.begins()
        device.wait_delivered("mail")
        assert device.outbox.counts() == {}
    assert delaying.receivers == [[RECEIVERS[0]], [RECEIVERS[1]]]


def test_a_refusal_for_good_goes_to_the_dead_alerts(server: MailServer, tmp_path: Path) -> None:
    """A message that the server will never take is not sent to it for days."""
    server.answer = "554 no"
    with AlertingDevice(tmp_path, mail(server.url)) as device:
        device.begins()
        wait_until(lambda: device.outbox.counts() == {"mail": Counts(dead=1)}, WITHIN_S)
    assert server.refusals == 1


@pytest.mark.parametrize("from_the_start", [False, True])
def test_messages_are_sent_with_tls_and_a_password(
    from_the_start: bool, certificate: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """STARTTLS, or TLS from the start. Another authority, and a wrong password, are refused with a reason."""
    caplog.set_level(logging.DEBUG, "signalml")
    scheme = "smtps" if from_the_start else "smtp"
    with TlsMailServer(certificate, from_the_start=from_the_start) as server, AlertingDevice(tmp_path) as device:
        url = f"{scheme}://ana:pa55%20w0rd&%3F@localhost:{server.port}"
        trusted: dict[str, Any] = {"without_tls": False, "ca_file": str(certificate)}
        device.use(mail(url, without_tls=False))
        device.begins()
        assert "certificate of the mail server cannot be trusted" in device.wait_failed("mail")
        device.use(mail(url.replace("pa55", "pa66"), **trusted))
        wait_until(lambda: "user or the password" in (device.status("mail").last_error or ""), WITHIN_S)
        device.use(mail(url, **trusted))
        device.wait_delivered("mail")
        device.use(mail(url.replace("pa55", "p%C3%A4ss"), **trusted))
        with pytest.raises(DeliveryFailed, match="not ASCII"):
            device.delivery.test("mail")
    assert server.envelopes[0].rcpt_tos == ["lee@example.org", "kim@example.org"]
    assert not [each for each in (PASSWORD, "pa55", "pa66", "w0rd&") if each in caplog.text]


def test_a_server_without_tls_gets_no_message(server: MailServer, tmp_path: Path) -> None:
    """Unless the sink allows it."""
    with AlertingDevice(tmp_path, mail(server.url, without_tls=False)) as device:
        device.begins()
        assert "does not support" in device.wait_failed("mail")
        with pytest.raises(DeliveryFailed, match="does not support"):
            device.delivery.test("mail")
    assert server.messages == []


def test_a_ca_file_that_is_missing_is_named(server: MailServer, tmp_path: Path) -> None:
    """As the reason of the failure."""
    sink = mail(server.url, ca_file=str(tmp_path / "none.pem"))
    with AlertingDevice(tmp_path, sink) as device, pytest.raises(DeliveryFailed, match="ca_file"):
        device.delivery.test("mail")


def test_a_server_that_sends_slowly_ends_with_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte of the greeting now and then."""
    monkeypatch.setattr(email, "DEADLINE_S", 0.5)

    def behave(connection: Any) -> None:
        while True:
            connection.sendall(b"2")
            time.sleep(0.05)

    with RawServer(behave) as server, AlertingDevice(tmp_path, mail(f"smtp://127.0.0.1:{server.port}")) as device:
        device.begins()
        assert device.wait_failed("mail", 10.0)


@pytest.mark.parametrize(
    "write", [lambda message: subject(message), lambda message: text(message, "hall\r\nBcc: x@y.org")]
)
def test_no_text_of_an_event_can_add_a_header(write: Callable[[AlertMessage], str]) -> None:
    """Line ends and control characters in names and labels become visible escapes."""
    hostile = "x\r\nBcc: all@example.org\r\n\r\n\x1b[2J"
    facts = ended(event("fan", NOON), NOON + 5, label=hostile, source=hostile, cause=hostile, version=hostile)
    facts = facts.changed(machine_id=hostile)
    for kind in ("event.began", "event.ended", "event.interrupted", "event.worsened"):
        written = write(AlertMessage("1", kind, to_time(NOON), event=facts, current=facts))
        assert "\r" not in written
        assert "\x1b" not in written
        assert not [line for line in written.splitlines() if line.startswith("Bcc")]
