"""Alerts and states by MQTT, with a real broker: acknowledgements, a will, and the discovery of Home Assistant."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.alerts import sink_worker
from listener.alerts.sinks import mqtt
from listener.config.sink_types import MqttSink
from listener.status import SourceStatus
from ml.errors import DeliveryFailed
from ml.system.clock import timestamp
from testing.listening import Mosquitto
from testing.receivers import MqttSubscriber
from testing.servers import environment, wait_until
from tests.complete import require_program
from tests.integration.alerting import AlertingDevice

WITHIN_S = 30.0
DISCOVERY = "homeassistant/device/+/config"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(mqtt, "TAKE_BACK_AFTER_S", 0.5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    require_program("mosquitto")
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
def watcher(broker: Mosquitto) -> Iterator[MqttSubscriber]:
    with MqttSubscriber(broker.port) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def sink(broker: Mosquitto, **values: Any) -> MqttSink:
    return MqttSink(name="mqtt", url=broker.url, **values)


def status(machine_id: str = "fan/3", **values: Any) -> SourceStatus:
    facts = {"state": "listening", "machine_state": "normal", "score": 0.2, "judged_at": timestamp()}
    return SourceStatus("hall", "device", machine_id, **(facts | values))


def retained(broker: Mosquitto) -> dict[str, bytes]:
    """What the broker keeps, as a new client gets it."""
    with MqttSubscriber(broker.port) as client:
        client.publish("test/end", b"", retain=False)
        wait_until(lambda: client.of("test/end"), WITHIN_S)
        return {each.topic: each.payload for each in client.messages if each.retained}


def test_an_alert_is_one_message_that_is_not_retained(broker: Mosquitto, watcher: MqttSubscriber, home: Path) -> None:
    """The JSON of a webhook, below the topic of events and the machine."""
    with AlertingDevice(home, sink(broker)) as device:
        began = device.begins("fan/3")
        device.wait_delivered("mqtt")
        device.ends(began)
        device.wait_delivered("mqtt", 2)
        device.delivery.test("mqtt")
        wait_until(lambda: watcher.of("signalml/test"), WITHIN_S)
    messages = watcher.of("signalml/events/fan/3")
    assert [each.json()["type"] for each in messages] == ["event.began", "event.ended"]
    assert messages[0].json()["data"]["id"] == began.id
    assert [topic for topic in retained(broker) if "events" in topic or "test" in topic] == []


def test_a_sink_that_was_added_just_now_can_be_tested(broker: Mosquitto, home: Path) -> None:
    """The test waits for the connection, and no alert fails at the start."""
    with AlertingDevice(home, sink(broker)) as device:
        device.delivery.test("mqtt")
        device.begins()
        device.wait_delivered("mqtt")
        assert not device.status("mqtt").last_error


def test_nothing_is_lost_while_the_broker_is_away(broker: Mosquitto, watcher: MqttSubscriber, home: Path) -> None:
    """The alerts arrive at its return, at once, each with one id."""
    with AlertingDevice(home, sink(broker)) as device:
        device.begins("fan-0")
        device.wait_delivered("mqtt")
        broker.stop()
        for number in range(1, 8):
            device.begins(f"fan-{number}")
        assert "is away" in device.wait_failed("mqtt")
        broker.start()
        device.wait_delivered("mqtt", 8)
        wait_until(lambda: len(watcher.of("signalml/events/#")) >= 8, WITHIN_S)
    ids = {each.json()["id"] for each in watcher.of("signalml/events/#")}
    assert len(ids) == 8


def test_a_broker_that_stops_answering_holds_up_nothing(broker: Mosquitto, home: Path) -> None:
    """An alert counts as delivered only when the broker has acknowledged it."""
    with AlertingDevice(home, sink(broker)) as device:
        device.begins()
        device.wait_delivered("mqtt")
        broker.pause()
        device.begins("fan-4")
        assert device.status("mqtt").delivered == 1
        broker.resume()
        device.wait_delivered("mqtt", 2)


def test_the_broker_reports_a_killed_listener(
    broker: Mosquitto, watcher: MqttSubscriber, home: Path, tmp_path: Path
) -> None:
    """By the will: offline, retained. The client id stays the same after a restart."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom listener.config.sink_types import MqttSink\n"
        "from tests.integration.alerting import AlertingDevice\n"
        "AlertingDevice(Path(sys.argv[1]), MqttSink(name='mqtt', url=sys.argv[2]))\ntime.sleep(600)\n"
    )
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(home), broker.url], env=environment(), cwd=tmp_path
        )
        wait_until(lambda: watcher.of("signalml/status/+")[-1:] and watcher.messages[-1].payload == b"online", 60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: watcher.of("signalml/status/+")[-1].payload == b"offline", 60)
    assert len({each.topic for each in watcher.of("signalml/status/+")}) == 1
    (kept,) = (payload for topic, payload in retained(broker).items() if topic.startswith("signalml/status"))
    assert kept == b"offline"


def test_each_machine_is_a_device_of_home_assistant(broker: Mosquitto, home: Path) -> None:
    """One retained message with all entities; its topics and templates fit the state."""
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        began = device.begins("fan/3")
        device.delivery.publish_state([status("fan/3", machine_state="alarm", score=0.9, event=began.id)])
        wait_until(lambda: len(retained(broker)) == 4, WITHIN_S)
        found = retained(broker)
    (topic,) = (each for each in found if each.startswith("homeassistant/"))
    config = json.loads(found[topic])
    assert set(config["components"]) == {"state", "score", "alarm", "last_event"}
    assert {each["platform"] for each in config["components"].values()} == {"sensor", "binary_sensor"}
    assert len({each["unique_id"] for each in config["components"].values()}) == 4
    assert config["device"]["name"] == "fan/3"
    assert config["origin"]["name"] == "signalml"
    assert {found[each["topic"]] for each in config["availability"]} <= {b"online"}
    state = json.loads(found[config["state_topic"]])
    assert (state["state"], state["alarm"], state["score"]) == ("alarm", True, 0.9)
    assert state["last_event"]["id"] == began.id
    assert state["state"] in config["components"]["state"]["options"]


def test_a_machine_is_taken_back_when_it_is_removed(broker: Mosquitto, home: Path) -> None:
    """Also one that was removed while the listener did not run."""
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        device.delivery.publish_state([status("fan/3"), status("pump"), status("mixer")])
        wait_until(lambda: len(retained(broker)) == 10, WITHIN_S)
        device.delivery.publish_state([status("fan/3"), status("pump")])
        wait_until(lambda: len(retained(broker)) == 7, WITHIN_S)
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        device.delivery.publish_state([status("pump")])
        wait_until(lambda: len(retained(broker)) == 4, WITHIN_S)
        assert not [topic for topic in retained(broker) if "fan" in topic or "mixer" in topic]


def test_everything_is_taken_back_when_the_sink_is_removed(broker: Mosquitto, home: Path) -> None:
    """Also its own status. When the listener only stops, everything stays."""
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        device.delivery.publish_state([status()])
        wait_until(lambda: len(retained(broker)) == 4, WITHIN_S)
    assert len(retained(broker)) == 4
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        device.delivery.publish_state([status()])
        wait_until(lambda: b"online" in retained(broker).values(), WITHIN_S)
        device.use()
        wait_until(lambda: retained(broker) == {}, WITHIN_S)


def test_machines_are_announced_again_when_home_assistant_is_born(
    broker: Mosquitto, watcher: MqttSubscriber, home: Path
) -> None:
    """And at each connection to the broker."""
    with AlertingDevice(home, sink(broker, home_assistant=True)) as device:
        device.delivery.publish_state([status()])
        wait_until(lambda: len(watcher.of(DISCOVERY)) == 1, WITHIN_S)
        watcher.publish("homeassistant/status", "online")
        wait_until(lambda: len(watcher.of(DISCOVERY)) == 2, WITHIN_S)
        broker.stop()
        broker.start()
        wait_until(lambda: len(watcher.of(DISCOVERY)) >= 3, WITHIN_S)
    assert len({each.payload for each in watcher.of(DISCOVERY)}) == 1


def test_a_state_is_sent_only_when_it_changes(broker: Mosquitto, watcher: MqttSubscriber, home: Path) -> None:
    """The level changes ten times a second, and is not in it. A lost source makes the machine unavailable."""
    with AlertingDevice(home, sink(broker)) as device:
        first = status()
        for level in range(5):
            first.level_dbfs = -float(level)
            device.delivery.publish_state([first])
            wait_until(lambda: watcher.of("signalml/machines/fan/3/state"), WITHIN_S)
        device.delivery.publish_state([status(state="stalled", judged_at=first.judged_at)])
        wait_until(lambda: len(watcher.of("signalml/machines/fan/3/availability")) == 2, WITHIN_S)
    assert [each.payload for each in watcher.of("signalml/machines/fan/3/availability")] == [b"online", b"offline"]
    assert len(watcher.of("signalml/machines/fan/3/state")) == 2


def test_a_password_is_in_no_message(tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong one is refused by the broker, and named as the reason."""
    require_program("mosquitto")
    with Mosquitto(tmp_path, user="ana") as broker, AlertingDevice(home) as device:
        device.use(MqttSink(name="mqtt", url=broker.url.replace("test@", "wr0ng-w0rd@")))
        device.begins()
        wait_until(lambda: "refused" in device.wait_failed("mqtt"), WITHIN_S)
        with pytest.raises(DeliveryFailed) as raised:
            device.delivery.test("mqtt")
        shown = f"{raised.value} {device.delivery.statuses()} {caplog.text} {device.outbox.waiting('mqtt')[0].error}"
        device.use(MqttSink(name="mqtt", url=broker.url))
        device.wait_delivered("mqtt")
    assert "wr0ng-w0rd" not in shown
