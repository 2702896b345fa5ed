"""Sound, schedules and connections over a real MQTT broker."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from listener.capture import mqtt
from listener.capture.mqtt import MqttReader
from listener.config.source_types import MqttSource, Schedule
from listener.mqtt_client import MqttConnection, MqttMessage, make_client_id
from listener.sound import SoundBlock, SourceState
from listener.sources.schedule import RunningSchedule
from ml.errors import DeliveryFailed
from testing.listening import Mosquitto
from testing.servers import wait_until
from tests.complete import require_program

RATE_HZ = 8000
CHUNK_S = 0.1
TOPIC = "hall/audio"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker with a user."""
    require_program("mosquitto")
    with Mosquitto(tmp_path, user="fan") as running:
        yield running


@pytest.fixture
def device(broker: Mosquitto) -> Iterator[MqttConnection]:
    """A client that sends."""
    connection = MqttConnection(broker.url, make_client_id("device")).start()
    assert connection.wait_connected(10)
    yield connection
    connection.stop()


class Receiver:
    """Receiver that keeps what it got."""

    def __init__(self) -> None:
        self.items: list[SoundBlock | tuple[float, str]] = []
        self.states: list[tuple[SourceState, str]] = []
        self.refused: list[str] = []

    def receive(self, block: SoundBlock) -> None:
        self.items.append(block)

    def report_gap(self, seconds: float, cause: str) -> None:
        self.items.append((seconds, cause))

    def judge_recording(self, *values: Any) -> None:
        raise AssertionError(f"a topic has no recordings, such as {values}")

    def refuse_recording(self, name: str, cause: str) -> None:
        assert name == TOPIC
        self.refused.append(cause)

    def report_state(self, state: SourceState, cause: str = "") -> None:
        self.states.append((state, cause))

    @property
    def state(self) -> SourceState:
        """State now."""
        return self.states[-1][0]

    @property
    def samples(self) -> np.ndarray:
        """All samples so far."""
        blocks = [item.samples for item in self.items if isinstance(item, SoundBlock)]
        return np.concatenate(blocks) if blocks else np.zeros((0, 1))

    @property
    def gaps(self) -> list[tuple[float, str]]:
        """All gaps so far."""
        return [item for item in self.items if isinstance(item, tuple)]


@contextmanager
def reading(url: str) -> Iterator[Receiver]:
    """Run a reader; it must stop within two seconds."""
    receiver = Receiver()
    values = {"name": "hall", "machine_id": "fan-3", "url": url, "topic": TOPIC, "sample_rate_hz": RATE_HZ}
    reader = MqttReader(MqttSource.model_validate(values))
    thread = threading.Thread(target=reader.run, args=(receiver,))
    thread.start()
    try:
        yield receiver
    finally:
        began = time.monotonic()
        reader.stop()
        thread.join(5)
        assert time.monotonic() - began < 2
        assert "test" not in str(receiver.states)  # the password


def chunk(number: int) -> bytes:
    """A tenth of a second whose samples depend on the number."""
    samples = np.random.default_rng(number).integers(-2000, 2000, int(CHUNK_S * RATE_HZ))
    return samples.astype("<i2").tobytes()


def play(device: MqttConnection, numbers: range) -> None:
    """Send chunks in real time."""
    began = time.monotonic()
    for count, number in enumerate(numbers, 1):
        device.publish(TOPIC, chunk(number), qos=0, wait_s=None)
        time.sleep(max(0.0, began + count * CHUNK_S - time.monotonic()))


def sound_of(numbers: range) -> np.ndarray:
    """Samples of chunks."""
    return np.frombuffer(b"".join(map(chunk, numbers)), "<i2")[:, None] / np.float32(2**15)


def test_chunks_become_sound_without_gaps_and_a_pause_is_a_gap(
    broker: Mosquitto, device: MqttConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time of arrival, and a state for the pause."""
    monkeypatch.setattr(mqtt, "PAUSE_S", 1.0)
    monkeypatch.setattr(mqtt, "START_S", 0.5)
    with reading(broker.url) as receiver:
        wait_until(lambda: receiver.state == "no_data", 10)
        assert receiver.states[-1][1] == f"there is no chunk on the topic {TOPIC!r} yet"
        began = time.time()
        play(device, range(15))
        wait_until(lambda: len(receiver.samples) == 15 * RATE_HZ // 10, 10)
        np.testing.assert_array_equal(receiver.samples, sound_of(range(15)))
        first = receiver.items[0]
        assert isinstance(first, SoundBlock)
        assert first.at == pytest.approx(began - CHUNK_S, abs=0.3)
        assert receiver.state == "listening"
        wait_until(lambda: receiver.state == "stalled", 10)
        time.sleep(1)
        play(device, range(20, 25))
        wait_until(lambda: receiver.state == "listening", 10)
        wait_until(lambda: len(receiver.samples) == 20 * RATE_HZ // 10, 10)
        (gap_s, cause), *more = receiver.gaps
        assert more == []
        assert 2.0 < gap_s < 6
        assert cause == "no chunk arrived for 1 s"
        last = receiver.items[-1]
        assert isinstance(last, SoundBlock)
        assert last.ends_at == pytest.approx(time.time(), abs=0.8)


def test_missing_chunks_are_a_gap_and_delayed_ones_are_not(broker: Mosquitto, device: MqttConnection) -> None:
    """A device that skips half a second, and a network that holds up half a second."""
    with reading(broker.url) as receiver:
        wait_until(lambda: broker_accepts(receiver), 10)
        play(device, range(5))
        time.sleep(0.5)
        for number in range(5, 10):
            device.publish(TOPIC, chunk(number), qos=0, wait_s=None)
        play(device, range(10, 15))
        wait_until(lambda: len(receiver.samples) == 15 * RATE_HZ // 10, 10)
        assert receiver.gaps == []
        time.sleep(0.6)
        play(device, range(20, 40))
        wait_until(lambda: len(receiver.samples) == 35 * RATE_HZ // 10, 10)
        ((gap_s, cause),) = receiver.gaps
        assert gap_s == pytest.approx(0.6, abs=0.2)
        assert cause.startswith("samples are missing")
        assert receiver.items.index(receiver.gaps[0]) == 15


def broker_accepts(receiver: Receiver) -> bool:
    """Whether the reader is connected: it reports nothing else while it waits for the first chunk."""
    time.sleep(0.5)
    return receiver.state in ("starting", "no_data")


def test_what_is_no_sound_is_refused_and_counted(
    broker: Mosquitto, device: MqttConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, half a sample, far too much, and an old chunk that the broker kept; the next sound is heeded."""
    monkeypatch.setattr(mqtt, "PAUSE_S", 1.0)
    device.publish(TOPIC, chunk(0), retain=True)
    with reading(broker.url) as receiver:
        wait_until(lambda: receiver.refused, 10)
        for payload in (b'{"temperature": 21.5}', chunk(0)[:-1], bytes(2 * 60 * RATE_HZ + 2)):
            device.publish(TOPIC, payload)
        wait_until(lambda: len(receiver.refused) == 4, 10)
        assert [cause.split(";")[0] for cause in receiver.refused] == [
            "The chunk was retained by the broker, so that its time is not known",
            "The chunk is text",
            "The chunk has 1599 bytes",
            "The chunk has 960002 bytes",
        ]
        for _ in range(8):
            device.publish(TOPIC, b"no sound at all")
            time.sleep(0.2)
        wait_until(lambda: receiver.state == "failed", 10)
        assert receiver.states[-1][1] == "The chunk is text; raw samples or a WAV file were expected"
        play(device, range(3))
        wait_until(lambda: receiver.state == "listening", 10)
        np.testing.assert_array_equal(receiver.samples, sound_of(range(3)))


def test_a_broker_that_is_away_is_named_and_heals(broker: Mosquitto) -> None:
    """Away at the start, killed later, and there again."""
    broker.kill()
    with reading(broker.url) as receiver:
        wait_until(lambda: receiver.state == "failed", 10)
        assert receiver.states[-1][1] == "the connection to the broker failed: Connection refused"
        broker.start()
        sender = MqttConnection(broker.url, make_client_id("device")).start()
        try:
            wait_until(lambda: sender.is_connected and receiver_gets(sender, receiver), 15)
            broker.kill()
            wait_until(lambda: receiver.state == "failed", 10)
            assert "the broker closed the connection" in receiver.states[-1][1] or "refused" in receiver.states[-1][1]
            broker.start()
            wait_until(lambda: sender.is_connected and receiver_gets(sender, receiver), 15)
            assert len(receiver.gaps) == 1
            assert receiver.gaps[0][1].startswith("the connection to the broker failed")
        finally:
            sender.stop()


def receiver_gets(sender: MqttConnection, receiver: Receiver) -> bool:
    """Whether a chunk reaches the receiver."""
    try:
        play(sender, range(2))
    except DeliveryFailed:
        return False
    return receiver.state == "listening"


def test_a_wrong_password_is_named_and_not_shown(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    """By the broker's reason."""
    with reading(broker.url.replace("test@", "hunter2@")) as receiver:
        wait_until(lambda: receiver.state == "failed", 10)
        assert "Not authorized" in receiver.states[-1][1]
    assert "hunter2" not in caplog.text + str(receiver.states)
    assert "***@" in caplog.text


def test_a_topic_decides_whether_the_machine_runs(broker: Mosquitto, device: MqttConnection) -> None:
    """Not known before the first message; the last state holds while the broker is away."""
    values = {"broker": broker.url, "topic": "fan/state", "running": ["ON", "2"]}
    schedule = RunningSchedule(Schedule.model_validate(values))
    try:
        wait_until(lambda: not schedule.is_running(0.0, None) and "connected" not in schedule.reason, 10)
        assert schedule.reason == "the topic 'fan/state' has not stated yet that it runs"
        device.publish("fan/state", "on", retain=True)
        wait_until(lambda: schedule.is_running(0.0, None), 10)
        assert not schedule.is_running(0.0, None, lasting_s=60)
        assert schedule.reason.endswith("60 s were expected")
        device.publish("fan/state", "off\n", retain=True)
        wait_until(lambda: not schedule.is_running(0.0, None), 10)
        assert schedule.reason == "the topic 'fan/state' states 'off'"
        device.publish("fan/state", "2", retain=True)
        wait_until(lambda: schedule.is_running(0.0, None), 10)
        broker.kill()
        time.sleep(0.5)
        assert schedule.is_running(0.0, None)
        broker.start()
    finally:
        schedule.stop()
    later = RunningSchedule(Schedule.model_validate(values))
    try:  # the broker kept the state only if it was stopped in order; the device states it again in any case
        assert device.wait_connected(15)
        device.publish("fan/state", "2", retain=True)
        wait_until(lambda: later.is_running(0.0, None), 10)
        device.publish("fan/state", "", retain=True)
        wait_until(lambda: not later.is_running(0.0, None), 10)
    finally:
        later.stop()


def test_a_retained_state_is_known_at_once_and_is_older_than_any_clip(
    broker: Mosquitto, device: MqttConnection
) -> None:
    """A listener that starts while the machine runs judges its first clip."""
    device.publish("fan/state", "running", retain=True)
    schedule = RunningSchedule(Schedule(broker=broker.url, topic="fan/state"))
    try:
        wait_until(lambda: schedule.is_running(0.0, None, lasting_s=60), 10)
    finally:
        schedule.stop()


def test_messages_are_acknowledged_and_the_will_is_sent(broker: Mosquitto, device: MqttConnection) -> None:
    """A sender knows that its message arrived; of a sender that is gone, others learn."""
    got: list[MqttMessage] = []
    watching = MqttConnection(broker.url, make_client_id("watch"), topics=("state/#",), on_message=got.append).start()
    will = MqttMessage("state/hall", b"offline", retained=True)
    dying = MqttConnection(broker.url, make_client_id("hall"), will=will).start()
    try:
        assert watching.wait_connected(10)
        assert dying.wait_connected(10)
        dying.publish("state/hall", "online", retain=True)
        wait_until(lambda: [each.payload for each in got] == [b"online"], 10)
        dying._client.socket().shutdown(2)  # type: ignore[union-attr]  # as a cable that is pulled
        wait_until(lambda: [each.payload for each in got] == [b"online", b"offline"], 10)
    finally:
        watching.stop()
        dying.stop()
    with pytest.raises(DeliveryFailed, match=r"The broker mqtt://\*\*\*@127.0.0.1:\d+ is away"):
        watching.publish("state/hall", "online")


def test_a_session_that_is_kept_loses_no_message(broker: Mosquitto, device: MqttConnection) -> None:
    """With a fixed id, messages of QoS 1 wait at the broker while the client is away."""
    got: list[bytes] = []
    for expected in ([b"1"], [b"1", b"2"]):
        client = MqttConnection(
            broker.url, make_client_id("kept"), topics=("alerts",), keep_session=True,
            on_message=lambda message: got.append(message.payload),
        ).start()  # fmt: skip
        assert client.wait_connected(10)
        time.sleep(0.2)
        if not got:
            device.publish("alerts", "1")
        wait_until(lambda expected=expected: got == expected, 10)
        client.stop()
        if len(got) == 1:
            device.publish("alerts", "2")


def test_many_connections_leave_nothing_behind(broker: Mosquitto) -> None:
    """No thread and no descriptor, also of a broker that is away."""
    process = psutil.Process()

    def connect(url: str) -> None:
        client = MqttConnection(url, make_client_id("many")).start()
        client.wait_connected(0.2)
        client.stop()

    connect(broker.url)
    before = process.num_fds(), threading.active_count()
    for _ in range(20):
        connect(broker.url)
        connect("mqtt://127.0.0.1:1")
    assert process.num_fds() <= before[0]
    wait_until(lambda: threading.active_count() <= before[1], 5)
