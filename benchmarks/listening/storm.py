"""``python -m benchmarks.listening.storm``: 1000 alarms of 50 machines within a minute, at three real receivers.

A webhook receiver, an MQTT broker and a mail server of this computer count what arrives. It takes about two minutes.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from listener.alerts.delivery import Delivery
from listener.alerts.outbox import Outbox
from listener.config.sink_types import EmailSink, MqttSink, WebhookSink
from listener.events.event import Event, new_event_id
from listener.events.event_time import to_time
from listener.events.store import EventStore
from listener.options import ListenerOptions
from testing.listening import Mosquitto
from testing.receivers import MailServer, MqttSubscriber, WebhookReceiver
from testing.servers import wait_until

SETTLED_WITHIN_S = 120.0
SINKS = ("webhook", "mqtt", "email")


def main(arguments: Sequence[str]) -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alarms", type=int, default=1000)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=55.0, help="time in which the alarms begin")
    parser.add_argument("--away", action="store_true", help="the receivers are away during the storm")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.alarms, options.machines, options.seconds, options.away)))


def measure(folder: Path, alarms: int, machines: int, seconds: float, away: bool) -> dict[str, Any]:
    """Return what arrived at each receiver, the slowest save of an event, and the CPU time."""
    options = ListenerOptions(folder / "home")
    with (
        WebhookReceiver() as hook,
        Mosquitto(folder) as broker,
        MqttSubscriber(broker.port) as watcher,
        MailServer() as mail,
        EventStore(options.home, create=True) as store,
    ):
        delivery = Delivery(options, store, options.clips_folder)
        delivery.update({
            "webhook": WebhookSink(name="webhook", url=hook.url, allow_private=True),
            "mqtt": MqttSink(name="mqtt", url=broker.url),
            "email": EmailSink(
                name="email", server=mail.url, without_tls=True, sender="a@example.org", to=("b@example.org",)
            ),
        })  # fmt: skip
        receivers = (hook, broker, mail)
        for receiver in receivers if away else ():
            receiver.stop()
        used = resource.getrusage(resource.RUSAGE_SELF)
        slowest = _write(store, delivery, alarms, machines, seconds)
        for receiver in receivers if away else ():
            receiver.start()
        wait_until(lambda: not Outbox(store).counts(), SETTLED_WITHIN_S)
        wait_until(lambda: any(b'"events.digest"' in each.payload for each in watcher.messages), SETTLED_WITHIN_S)
        now = resource.getrusage(resource.RUSAGE_SELF)
        delivery.stop()
        digests = [each.json()["data"] for each in hook.accepted.values() if each.json()["type"] == "events.digest"]
        return {
            "alarms": alarms,
            "machines": machines,
            "receivers_away": away,
            "messages": {
                "webhook": len(hook.accepted),
                "mqtt": len(watcher.of("signalml/events/#")) + len(watcher.of("signalml/digest")),
                "email": len(mail.messages),
            },
            "digests": [[each["alerts"], each["machines"]] for each in digests],
            "slowest_save_ms": round(1000 * slowest, 1),
            "cpu_s": round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, 1),
        }


def _write(store: EventStore, delivery: Delivery, alarms: int, machines: int, seconds: float) -> float:
    """Write the alarms evenly; returns the longest time of one transaction, in seconds."""
    slowest, began = 0.0, time.monotonic()
    for number in range(alarms):
        time.sleep(max(0.0, began + number * seconds / alarms - time.monotonic()))
        at, score = to_time(time.time()), 0.5 + (number % machines) / (2 * machines)
        event = Event(
            new_event_id(), f"fan-{number % machines}", "hall", at, at, score, 0.5, "abnormal", "hall-1",
            missing_clip="off",
        )  # fmt: skip
        start = time.monotonic()
        store.save(event, "began", delivery.route(event, "began"))
        slowest = max(slowest, time.monotonic() - start)
    return slowest


if __name__ == "__main__":
    main(sys.argv[1:])
