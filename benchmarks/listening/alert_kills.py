"""``python -m benchmarks.listening.alert_kills``: kill -9 of a listener at 50 random moments, with alerts under way.

Counts what was written, and what arrived at a webhook receiver and by MQTT: with all attempts, and with each id once.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from listener.outbox import Outbox
from listener.store import EventStore
from testing.alerting import DELIVER, WRITE
from testing.listening import Mosquitto
from testing.receivers import MqttSubscriber, WebhookReceiver
from testing.servers import ROOT, environment, wait_until

SEED = 20
SLOW_ANSWER_S = 0.005  # so that most kills come between an acknowledgement and the end of its transaction
ALL_CHANGES = 1_000_000
SETTLED_WITHIN_S = 120.0


def main(arguments: Sequence[str]) -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.kills)))


def measure(folder: Path, kills: int) -> dict[str, Any]:
    """Return the number of alerts that were written, lost and doubled."""
    home, moments = folder / "home", random.Random(SEED)
    with WebhookReceiver() as hook, Mosquitto(folder) as broker, MqttSubscriber(broker.port) as watcher:
        hook.delay_s = SLOW_ANSWER_S
        for _ in range(kills):
            process = _start(home, hook.url, broker.url, WRITE)
            time.sleep(moments.uniform(0.0, 1.0))
            process.kill()
            process.communicate()
        last = _start(home, hook.url, broker.url, DELIVER)
        last.communicate()
        with EventStore(home) as store:
            waiting = sum(each.waiting + each.dead for each in Outbox(store).counts().values())
            written = {f"{each.event.id}-{each.number}" for each in store.changes(0, ALL_CHANGES)}

        def by_mqtt() -> list[str]:
            return [each.json()["id"] for each in watcher.of("signalml/events/#")]

        wait_until(lambda: len(set(by_mqtt())) >= len(written), SETTLED_WITHIN_S)
        arrived = {"webhook": list(hook.counts.elements()), "mqtt": by_mqtt()}
    return {
        "kills": kills,
        "alerts": len(written),
        "waiting_at_the_end": waiting,
        "lost": {name: len(written - set(ids)) for name, ids in arrived.items()},
        "unknown": {name: len(set(ids) - written) for name, ids in arrived.items()},
        "delivered_twice_with_one_id": {name: len(ids) - len(set(ids)) for name, ids in arrived.items()},
    }


def _start(home: Path, webhook: str, broker: str, task: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "testing.alerting", str(home), webhook, broker, task]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


if __name__ == "__main__":
    main(sys.argv[1:])
