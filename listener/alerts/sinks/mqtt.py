"""MQTT: alerts as messages, and the state of each machine as retained messages.

Topics, below the first part that the sink names:

- ``events/<machine>``: alerts, the same JSON as a webhook; ``digest`` and ``test``. QoS 1, not retained.
- ``machines/<machine>/state`` and ``machines/<machine>/availability``: retained.
- ``status/<client>``: ``online`` or ``offline``, retained; the broker sends ``offline`` if the listener disappears.
"""

import secrets
import time
from collections.abc import Callable, Sequence

from listener.alerts.alert_message import AlertMessage
from listener.alerts.outbox import Outbox
from listener.alerts.sinks.home_assistant import discovery, discovery_topic
from listener.alerts.sinks.machine_states import OFFLINE, ONLINE, availability, by_machine, machine_state
from listener.alerts.sinks.sender import Sender
from listener.config.sink_types import MqttSink
from listener.events.event import Event
from listener.events.store import EventFilter, EventStore
from listener.mqtt_client import MqttConnection, MqttMessage
from listener.status import SourceStatus

CLIENT_ID, RETAINED = "client_id", "retained"  # facts of the sink
CONNECTED_WITHIN_S = 2.0
ACKNOWLEDGED_WITHIN_S = 10.0
MOST_AT_ONCE = 100  # retained messages between two looks at the alerts
STOP_WITHIN_S = 2.0
TAKE_BACK_AFTER_S = 5.0


class MqttSender(Sender):
    """Sender of an MQTT sink.

    Retained messages are brought to what they should be: after each connection, and after each start of Home Assistant,
    all of them are sent again. Their topics are remembered in the file of the events, so that those of a machine that
    was removed meanwhile are taken back.

    Args:
        sink: the sink.
        store: the events.
        outbox: what the sink remembers.
        on_return: called after each connection.

    Raises:
        MissingExtra: paho-mqtt is not installed.
    """

    def __init__(self, sink: MqttSink, store: EventStore, outbox: Outbox, on_return: Callable[[], None]) -> None:
        self._sink, self._store, self._outbox, self._on_return = sink, store, outbox, on_return
        self._statuses: Sequence[SourceStatus] | None = None
        self._present: dict[str, bytes] = {}  # retained messages that the broker has acknowledged
        self._known: set[str] = set(outbox.fact(sink.name, RETAINED) or ())
        self._absent_since: dict[str, float] = {}
        self._last_events: dict[str, tuple[str | None, Event | None]] = {}
        client_id = self._client_id()
        self._status_topic = f"{sink.topic}/status/{client_id}"
        self._birth_topic = f"{sink.discovery_topic}/status"
        self._connection = MqttConnection(
            sink.url,
            client_id,
            topics=(self._birth_topic,) if sink.home_assistant else (),
            will=MqttMessage(self._status_topic, OFFLINE, True),
            on_message=self._message_arrived,
            on_connected=self._connected,
        )

    def start(self) -> None:
        """Begin to connect."""
        self._connection.start()

    def deliver(self, message: AlertMessage) -> None:
        """Publish a message, and wait for the broker's acknowledgement."""
        self._connection.wait_connected(CONNECTED_WITHIN_S)  # a sink that was added just now is not connected yet
        self._connection.publish(self._topic(message), message.to_json(), wait_s=ACKNOWLEDGED_WITHIN_S)

    def publish_states(self, statuses: Sequence[SourceStatus]) -> None:
        """Take the states of the sources; :meth:`tick` sends them."""
        self._statuses = statuses

    def tick(self) -> None:
        """Bring the retained messages to what they should be."""
        if not self._connection.is_connected or self._statuses is None:
            return
        wanted = self._wanted(self._statuses)
        gone = self._gone(self._known - wanted.keys())
        messages = {**wanted, **dict.fromkeys(gone, b"")}
        due = [(topic, payload) for topic, payload in sorted(messages.items()) if self._present.get(topic) != payload]
        self._publish_retained(due[:MOST_AT_ONCE])

    def stop(self, removed: bool = False) -> None:
        """Publish that the listener is away, and disconnect. A sink that was removed takes everything back."""
        try:
            if removed and self._connection.wait_connected(STOP_WITHIN_S):
                self._publish_retained([(topic, b"") for topic in sorted(self._known)])
            if self._connection.is_connected:
                self._connection.publish(self._status_topic, b"" if removed else OFFLINE, retain=True, wait_s=1.0)
        finally:
            self._connection.stop()

    def _publish_retained(self, messages: list[tuple[str, bytes]]) -> None:
        """Publish retained messages, the empty ones to delete a topic."""
        if not messages:
            return
        present = self._present  # a new connection puts an empty one in its place
        self._remember(self._known | {topic for topic, payload in messages if payload})
        for number, (topic, payload) in enumerate(messages, 1):
            wait_s = ACKNOWLEDGED_WITHIN_S if number % MOST_AT_ONCE == 0 or number == len(messages) else None
            self._connection.publish(topic, payload, retain=True, wait_s=wait_s)
        # The broker acknowledges in order, so an acknowledgement is for all messages before it.
        present.update(messages)
        gone = {topic for topic, payload in messages if not payload}
        self._remember(self._known - gone)

    def _gone(self, absent: set[str]) -> list[str]:
        """Return topics to take back: a source that is only changed, or starts, is absent for a moment."""
        now = time.monotonic()
        self._absent_since = {topic: self._absent_since.get(topic, now) for topic in absent}
        return [topic for topic, since in self._absent_since.items() if now - since >= TAKE_BACK_AFTER_S]

    def _remember(self, topics: set[str]) -> None:
        if topics != self._known:
            self._outbox.remember(self._sink.name, {RETAINED: sorted(topics)})
            self._known = topics

    def _wanted(self, statuses: Sequence[SourceStatus]) -> dict[str, bytes]:
        """Return all retained messages as they should be."""
        wanted = {}
        for machine_id, sources in by_machine(statuses).items():
            base = f"{self._sink.topic}/machines/{machine_id}"
            wanted[f"{base}/availability"] = availability(sources)
            wanted[f"{base}/state"] = machine_state(sources, self._last_event(machine_id, sources))
            if self._sink.home_assistant:
                topic = discovery_topic(self._sink.discovery_topic, machine_id)
                topics = [self._status_topic, f"{base}/availability"]
                wanted[topic] = discovery(machine_id, f"{base}/state", topics)
        return wanted

    def _last_event(self, machine_id: str, sources: list[SourceStatus]) -> Event | None:
        """Return the last event of a machine; the file is read again when another event or verdict is there."""
        mark = "/".join(f"{each.event} {each.judged_at}" for each in sources)
        if machine_id not in self._last_events or self._last_events[machine_id][0] != mark:
            page = self._store.page(EventFilter(machine_id=machine_id), most=1).events
            self._last_events[machine_id] = mark, page[0] if page else None
        return self._last_events[machine_id][1]

    def _topic(self, message: AlertMessage) -> str:
        if message.event is not None:
            return f"{self._sink.topic}/events/{message.event.machine_id}"
        return f"{self._sink.topic}/{'test' if message.digest is None else 'digest'}"

    def _client_id(self) -> str:
        """Return the client id, which never changes in this home."""
        found = self._outbox.fact(self._sink.name, CLIENT_ID)
        if found is None:
            found = f"signalml-{secrets.token_hex(4)}"
            self._outbox.remember(self._sink.name, {CLIENT_ID: found})
        return str(found)

    # Called by the connection's thread, which must not wait.

    def _connected(self) -> None:
        self._present = {}
        self._connection.publish(self._status_topic, ONLINE, retain=True, wait_s=None)
        self._on_return()

    def _message_arrived(self, message: MqttMessage) -> None:
        if message.topic == self._birth_topic and message.payload == ONLINE:
            self._present = {}
