"""Receivers of alerts, as real servers on free ports: webhooks, e-mail and MQTT. They keep what they received."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from testing.servers import PATIENCE_S, free_port

ID_HEADER = "webhook-id"


class Received(NamedTuple):
    """One request to a webhook receiver, of any attempt.

    Attributes:
        at: time, in seconds since 1970.
        headers: headers, with names in lower case.
        body: the body.
        status: status of the answer.
    """

    at: float
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        """Id of the alert, which all its attempts share."""
        return self.headers.get(ID_HEADER, "")

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class WebhookReceiver:
    """HTTP server that keeps each request.

    Attributes:
        url: its address.
        received: all requests, also those that got an error.
        status: status of each answer; a function of the number of the request, from 0, if they differ.
        delay_s: time before each answer, in seconds.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.status: int | Callable[[int], int] = 204
        self.delay_s = 0.0
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/alerts"
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it; it has the same address after each :meth:`stop`."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                time.sleep(receiver.delay_s)
                status = receiver._keep({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="webhook", daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    @property
    def accepted(self) -> dict[str, Received]:
        """First accepted request of each alert, by its id: what a receiver that keeps ids has."""
        with self._lock:
            return {each.id: each for each in reversed(self.received) if each.status < 300}

    @property
    def counts(self) -> Counter[str]:
        """Number of accepted requests of each alert, by its id."""
        with self._lock:
            return Counter(each.id for each in self.received if each.status < 300)

    def _keep(self, headers: dict[str, str], body: bytes) -> int:
        with self._lock:
            status = self.status if isinstance(self.status, int) else self.status(len(self.received))
            self.received.append(Received(time.time(), headers, body, status))
        return status


class MailServer:
    """SMTP server without TLS that keeps each message.

    Attributes:
        url: its address, ``smtp://``.
        messages: accepted messages.
        refusals: number of refused messages.
        answer: its answer to a message, such as ``451 later``.
        delay_s: time before each answer, in seconds.
    """

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.refusals = 0
        self.answer = "250 OK"
        self.delay_s = 0.0
        self._port = free_port()
        self.url = f"smtp://127.0.0.1:{self._port}"
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it; it has the same address after each :meth:`stop`."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port, ready_timeout=PATIENCE_S)
        self._controller.start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._controller is not None:
            self._controller.stop()
        self._controller = None

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - of aiosmtpd
        """Take a message."""
        await asyncio.sleep(self.delay_s)
        if self.answer.startswith("2"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.messages.append(message_from_bytes(content, policy=policy.default))  # type: ignore[arg-type]
        else:
            self.refusals += 1
        return self.answer


class MqttMessage(NamedTuple):
    """One message from a broker."""

    topic: str
    payload: bytes
    retained: bool

    def json(self) -> Any:
        """The payload."""
        return json.loads(self.payload)


class MqttSubscriber:
    """Client that keeps all messages of some topics, also those that arrive after the broker has been away.

    Args:
        port: port of the broker on this computer.
        topic: filter of topics.
        user, password: its access; None without.
    """

    def __init__(self, port: int, topic: str = "#", user: str | None = None, password: str | None = None) -> None:
        self.messages: list[MqttMessage] = []
        self._port, self._topic = port, topic
        self._subscribed = threading.Event()
        # A session that the broker keeps: nothing is lost while the connection is broken.
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=f"test-{free_port()}", clean_session=False
        )
        if user is not None:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._keep

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, topic: str) -> list[MqttMessage]:
        """Return the messages so far whose topic matches a filter."""
        return [message for message in list(self.messages) if paho.topic_matches_sub(topic, message.topic)]

    def publish(self, topic: str, payload: bytes | str, retain: bool = False) -> None:
        """Send a message, and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message without waiting, as small devices do."""
        self._client.publish(topic, payload)

    def _keep(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.messages.append(MqttMessage(message.topic, message.payload, message.retain))
