"""Connection to an MQTT broker, for sources, schedules and sinks.

It stays open by itself: a thread connects, and connects again after each loss, with growing pauses. The subscriptions
are renewed at each connection. User and password come from the address and are in no message and no log line.
"""

import hashlib
import logging
import random
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from listener.config.entry import hide_credentials
from ml.errors import DeliveryFailed, MissingExtra

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger("signalml.listener")
PORT, TLS_PORT = 1883, 8883
CONNECT_TIMEOUT_S = 5.0
# A broker that no longer answers is noticed after one to two of these times.
KEEPALIVE_S = 8
# Pauses between attempts. Each is random in its upper half: several devices must not return at the same moment.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
STEADY_S = 30.0  # a connection that lasted as long was good: the next pause is the first one again
STOP_WITHIN_S = 1.5
# Messages that may wait for an acknowledgement, and messages behind them.
MOST_IN_FLIGHT, MOST_QUEUED = 20, 200
CLIENT_ID_LENGTH = 23  # MQTT 3.1.1: the longest one that every broker must accept
QUEUE_IS_FULL = 15  # MQTT_ERR_QUEUE_SIZE of paho
REFUSED = 0x80  # reason codes from here on are errors


class Broker(NamedTuple):
    """Address of a broker.

    Attributes:
        host: name or IP address.
        port: port.
        tls: whether the connection is encrypted; the certificate is checked by the authorities of this computer.
        user, password: credentials; None without.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the address of a broker, which :func:`listener.config.entry.check_url` accepted.

        Example:
            >>> Broker.parse("mqtts://fan%40hall:a%3Ab@broker")
            Broker(host='broker', port=8883, tls=True, user='fan@hall', password='a:b')
        """
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        return cls(
            host=parts.hostname or "",
            port=parts.port or (TLS_PORT if tls else PORT),
            tls=tls,
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


class MqttMessage(NamedTuple):
    """Message of a topic.

    Attributes:
        topic: its topic.
        payload: its content.
        retained: whether the broker kept it from before the subscription; of a will, whether the broker keeps it.
    """

    topic: str
    payload: bytes
    retained: bool = False


def make_client_id(*parts: str) -> str:
    """Return a client id that is always the same for these names, and that every broker accepts.

    Example:
        >>> make_client_id("hall-3", "broker") == make_client_id("hall-3", "broker"), len(make_client_id("hall-3"))
        (True, 23)
    """
    start = "signalml-"
    return start + hashlib.sha256("\0".join(parts).encode()).hexdigest()[: CLIENT_ID_LENGTH - len(start)]


class MqttConnection:
    """Connection that heals. All methods are safe from any thread.

    The three functions are called by the connection's thread; they must return at once, and not wait in
    :meth:`publish`.

    Args:
        url: address of the broker, ``mqtt://`` or ``mqtts://``.
        client_id: id of this client. Two clients with one id close each other's connections.
        topics: topics to subscribe to.
        keep_session: whether the broker keeps subscriptions and messages of QoS 1 while this client is away.
        will: message that the broker sends if this client disappears.
        on_message: called for each message.
        on_connected: called after each connection, when the broker has accepted it.
        on_lost: called with the cause after each failed attempt, each loss and each refused subscription.

    Raises:
        MissingExtra: paho-mqtt is not installed.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        topics: tuple[str, ...] = (),
        keep_session: bool = False,
        will: MqttMessage | None = None,
        on_message: Callable[[MqttMessage], None] = lambda _: None,
        on_connected: Callable[[], None] = lambda: None,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.shown_url = hide_credentials(url)
        self.cause = "it is not connected yet"
        self._broker = Broker.parse(url)
        self._topics = topics
        self._on_message, self._on_connected, self._on_lost = on_message, on_connected, on_lost
        self._connected, self._stopping = threading.Event(), threading.Event()
        self._client = _make_client(self._broker, client_id, keep_session, will)
        self._client.on_connect = self._connection_answered
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._subscription_answered
        self._client.on_message = self._message_arrived
        # A daemon: a name server or a handshake that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{client_id}", daemon=True)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection, and it was not lost since."""
        return self._connected.is_set()

    def start(self) -> Self:
        """Start to connect, and return at once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the connection, within two seconds."""
        self._stopping.set()
        self._client.disconnect()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(STOP_WITHIN_S)

    def wait_connected(self, within_s: float) -> bool:
        """Wait for the connection; returns whether it is there."""
        return self._connected.wait(within_s)

    def publish(
        self, topic: str, payload: bytes | str, *, qos: int = 1, retain: bool = False, wait_s: float | None = 10.0
    ) -> None:
        """Send a message.

        A message of QoS 1 that was sent and not acknowledged is sent again at the next connection, also after an error
        of this method: a receiver can get it twice.

        Args:
            topic: its topic.
            payload: its content.
            qos: 0 or 1.
            retain: whether the broker keeps it for later subscribers.
            wait_s: seconds to wait for the broker's acknowledgement; None does not wait.

        Raises:
            DeliveryFailed: there is no connection, too many messages wait, or no acknowledgement came.
        """
        if not self.is_connected:
            raise DeliveryFailed(f"The broker {self.shown_url} is away: {self.cause}.")
        try:
            sent = self._client.publish(topic, payload, qos, retain)
            if wait_s is not None:
                sent.wait_for_publish(wait_s)
            elif sent.rc == QUEUE_IS_FULL:
                raise ValueError("too many messages wait")
            delivered = wait_s is None or sent.is_published()
        except (ValueError, RuntimeError) as error:  # too many messages wait; or the topic or the size is not allowed
            raise DeliveryFailed(f"The broker {self.shown_url} cannot be sent this message: {error}.") from error
        if not delivered:
            raise DeliveryFailed(f"The broker {self.shown_url} did not acknowledge a message within {wait_s:g} s.")

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
                if self._stopping.is_set():  # it was stopped during the attempt
                    self._client.disconnect()
                self._client.loop_forever()
            except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
                self._lost(_reason(error))
            except Exception:  # a bug must not end the thread: the connection would never return
                logger.exception("unexpected error in a connection to an MQTT broker")
                self._lost("unexpected error")
            if time.monotonic() - began > STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._stopping.wait(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _lost(self, cause: str) -> None:
        self._connected.clear()
        if self._stopping.is_set():
            return
        if cause != self.cause:
            logger.warning("the connection to %s failed: %s", self.shown_url, cause)
        self.cause = cause
        self._on_lost(cause)

    def _connection_answered(self, client: "Client", _: Any, _flags: Any, reason: "ReasonCode", *_rest: Any) -> None:
        if reason.is_failure:
            self._lost(f"the broker refused the connection: {reason}")
            return
        logger.info("connected to %s", self.shown_url)
        self.cause = ""
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        self._connected.set()
        self._on_connected()

    def _disconnected(self, _client: "Client", _: Any, _flags: Any, reason: "ReasonCode", *_rest: Any) -> None:
        if self._connected.is_set():
            closed = reason.getName() == "Unspecified error"  # paho's name for an end without a reason
            self._lost("the broker closed the connection" if closed else f"the connection ended: {reason}")

    def _subscription_answered(
        self, _client: "Client", _: Any, _mid: int, reasons: "list[ReasonCode]", *_rest: Any
    ) -> None:
        refused = [topic for topic, reason in zip(self._topics, reasons, strict=False) if reason.value >= REFUSED]
        if refused and not self._stopping.is_set():
            self._on_lost(f"the broker refused the subscription to {refused[0]!r}")

    def _message_arrived(self, _client: "Client", _: Any, message: Any) -> None:
        self._on_message(MqttMessage(message.topic, message.payload, message.retain))


def _make_client(broker: Broker, client_id: str, keep_session: bool, will: MqttMessage | None) -> "Client":
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise MissingExtra("MQTT", "live") from error
    client = Client(CallbackAPIVersion.VERSION2, client_id, clean_session=not keep_session, reconnect_on_failure=False)
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(MOST_IN_FLIGHT)
    client.max_queued_messages_set(MOST_QUEUED)
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if broker.tls:
        client.tls_set_context(ssl.create_default_context())
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=will.retained)
    return client


def _reason(error: Exception) -> str:
    """Return why a connection failed, as the system states it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate cannot be trusted: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
