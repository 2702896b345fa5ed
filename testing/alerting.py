"""Process that writes events and delivers their alerts until it is killed: ``python -m testing.alerting``.

Arguments: its SIGNALML_HOME, the address of a webhook receiver, the address of an MQTT broker, and ``write`` to write
events, or ``deliver`` to only deliver what waits, until nothing does.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from listener.alerts.delivery import Delivery
from listener.alerts.outbox import Outbox
from listener.config.sink_types import MqttSink, WebhookSink
from listener.events.event import Event, new_event_id
from listener.events.event_time import to_time
from listener.events.store import EventStore
from listener.options import ListenerOptions

MACHINES = 5
EVERY_S = 0.02
WRITE, DELIVER = "write", "deliver"


def main(arguments: Sequence[str]) -> None:
    """Run the process."""
    home, webhook, broker, task = arguments
    options = ListenerOptions(Path(home))
    rules = {"digest_above": 10_000}
    with EventStore(options.home, create=True) as store:
        delivery = Delivery(options, store, options.clips_folder)
        delivery.update({
            "hook": WebhookSink(name="hook", url=webhook, allow_private=True, rules=rules),  # type: ignore[arg-type]
            "mqtt": MqttSink(name="mqtt", url=broker, rules=rules),  # type: ignore[arg-type]
        })  # fmt: skip
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        if task == WRITE:
            _write_events(store, delivery)
        outbox = Outbox(store)
        while outbox.counts():
            time.sleep(EVERY_S)
        delivery.stop()


def _write_events(store: EventStore, delivery: Delivery) -> None:
    number = 0
    while True:
        at = to_time(time.time())
        event = Event(new_event_id(), f"fan-{number % MACHINES}", "hall", at, at, 0.8, 0.5, "abnormal", "hall-1")
        store.save(event, "began", delivery.route(event, "began"))
        time.sleep(EVERY_S)
        event = event.changed(state="ended", ended=to_time(time.time()))
        store.save(event, "ended", delivery.route(event, "ended"))
        number += 1


if __name__ == "__main__":
    main(sys.argv[1:])
