"""A listener that is killed at random moments, with events and alerts under way: nothing is lost or doubled."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from listener.outbox import Outbox
from listener.store import EventStore
from testing.alerting import DELIVER, WRITE
from testing.listening import Mosquitto
from testing.receivers import MqttSubscriber, WebhookReceiver
from testing.servers import ROOT, environment, wait_until
from tests.complete import require_program

KILLS = 3  # benchmarks/listening/alert_kills.py does it 50 times
SEED = 20


def start(home: Path, receiver: WebhookReceiver, broker: Mosquitto, task: str) -> subprocess.Popen[bytes]:
    """Start the process, and wait until it has begun."""
    command = [sys.executable, "-m", "testing.alerting", home, receiver.url, broker.url, task]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("kills", [KILLS])
def test_no_alert_is_lost_or_seen_twice_by_who_keeps_ids(tmp_path: Path, kills: int) -> None:
    """Every change that was written arrives, at the webhook and by MQTT, in the order of its machine."""
    require_program("mosquitto")
    home, moments = tmp_path / "home", random.Random(SEED)
    with WebhookReceiver() as receiver, Mosquitto(tmp_path) as broker, MqttSubscriber(broker.port) as watcher:
        receiver.delay_s = 0.005
        for _ in range(kills):
            process = start(home, receiver, broker, WRITE)
            time.sleep(moments.uniform(0.0, 0.5))
            process.kill()
            process.communicate()
        process = start(home, receiver, broker, DELIVER)
        process.communicate(timeout=120)
        assert process.returncode == 0
        with EventStore(home) as store:
            assert Outbox(store).counts() == {}
            written = [f"{each.event.id}-{each.number}" for each in store.changes(0, 100_000)]
            machine_of = {f"{each.event.id}-{each.number}": each.event.machine_id for each in store.changes(0, 100_000)}
            open_events = {each.id for each in store.active()}
        wait_until(lambda: len({each.json()["id"] for each in watcher.of("signalml/events/#")}) >= len(written), 60)
    assert len(written) > 10 * kills
    assert len(open_events) <= kills  # what was killed; the listener closes them at its start
    by_webhook = list(receiver.accepted)[::-1]
    by_mqtt = list(dict.fromkeys(each.json()["id"] for each in watcher.of("signalml/events/#")))
    for arrived in (by_webhook, by_mqtt):
        assert sorted(arrived) == sorted(written)
        for machine in set(machine_of.values()):
            in_order = [each for each in written if machine_of[each] == machine]
            assert [each for each in arrived if machine_of[each] == machine] == in_order
