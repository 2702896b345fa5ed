"""``python -m benchmarks.listening.kills``: kill a listener again and again, while it has events and sends alerts.

Machines have a fault for some seconds, again and again. A webhook receiver, which is slow at times, and a subscriber of
an MQTT broker keep what arrives. The listener is killed with SIGKILL at random moments. At the end it is started once
more, and stopped after its work is done. Then no event is open; each change of an event that has an alert has arrived
at both receivers with its id and its content; and nothing arrived about an event that is not stored.
"""

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.inference import machine
from benchmarks.inference.samples import REPOSITORY
from listener.config.files import sink_file
from listener.config.sink_types import Rules
from listener.events.clip_files import delete_orphans
from listener.events.schema import EVENTS_FILE
from testing.fans import RULE, add_sources, events_of, fan_sounds, make_fan_home
from testing.listening import ListenerProcess, Mosquitto
from testing.receivers import MqttSubscriber, WebhookReceiver
from testing.servers import wait_until
from testing.sound_feed import NamedPipe, SoundFeed

OUTPUT = REPOSITORY / "benchmarks" / "results" / "listening_kills.json"
MACHINES = ("fan-0", "fan-1", "fan-2", "fan-3")
LIFE_S = (0.3, 14.0)  # of a listener; it is ready after one to two seconds
FAULT_S = (4.0, 7.0)
SLOW_S = (0.0, 0.0, 0.2, 1.0)  # answers of the receiver
WITHIN_S = 120.0


class Faults:
    """Faults of the machines, one after another and at once, in a thread of their own."""

    def __init__(self, feeds: list[SoundFeed], receiver: WebhookReceiver, rng: random.Random) -> None:
        self._feeds, self._receiver, self._rng = feeds, receiver, rng
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(feed,), daemon=True) for feed in feeds]
        self.count = 0

    def __enter__(self) -> "Faults":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._receiver.delay_s = 0.0
        for feed in self._feeds:
            feed.play("healthy")

    def _run(self, feed: SoundFeed) -> None:
        while not self._stopped.is_set():
            feed.play("faulty")
            self.count += 1
            self._stopped.wait(self._rng.uniform(*FAULT_S))
            feed.play("healthy")
            self._receiver.delay_s = self._rng.choice(SLOW_S)
            self._stopped.wait(self._rng.uniform(*FAULT_S))


def kill_again_and_again(options: argparse.Namespace, root: Path, console: Console) -> dict[str, Any]:
    """Return what was found."""
    home, rng = make_fan_home(root / "home"), random.Random(options.seed)
    with ExitStack() as stack:
        broker, receiver = stack.enter_context(Mosquitto(root)), stack.enter_context(WebhookReceiver())
        subscriber = stack.enter_context(MqttSubscriber(broker.port, "signalml/events/#"))
        pipes = [stack.enter_context(NamedPipe(root / name)) for name in MACHINES]
        add_sources(home, **{name: {"kind": "pipe", "path": str(root / name)} for name in MACHINES})
        every_alert = {"rules": {"digest_above": 10_000}}
        sink_file(home).add(
            {"name": "hook", "kind": "webhook", "url": receiver.url, "allow_private": True, **every_alert}
        )
        sink_file(home).add({"name": "broker", "kind": "mqtt", "url": broker.url, **every_alert})
        feeds = [stack.enter_context(SoundFeed(fan_sounds(), pipe.write)) for pipe in pipes]
        listener = ListenerProcess(home, root, clip_before_s=2, **RULE)
        open_at_kill = waiting_at_kill = 0
        with Faults(feeds, receiver, rng) as faults:
            for number in range(options.kills):
                listener.launch()
                time.sleep(rng.uniform(*LIFE_S))
                listener.kill()
                open_at_kill += sum(each.ended is None for each in events_of(home))
                waiting_at_kill += len(waiting(home))
                console.print(f"kill {number + 1} of {options.kills}: {len(events_of(home))} events", highlight=False)
        listener.start()
        wait_until(lambda: all(each.ended for each in events_of(home)) and not waiting(home), WITHIN_S)
        listener.stop()
        time.sleep(1.0)  # for what the broker still sends
        problems = Counter(dict(find_problems(home, receiver, subscriber)))
    return {
        "kills": options.kills,
        "faults": faults.count,
        "events": len(events_of(home)),
        "interrupted": sum(each.state == "interrupted" for each in events_of(home)),
        "open when killed": open_at_kill,
        "alerts waiting when killed": waiting_at_kill,
        "alerts": len(expected(home)),
        "repeated to the webhook": sum(count - 1 for count in receiver.counts.values()),
        "repeated to MQTT": len(subscriber.messages) - len({each.json()["id"] for each in subscriber.messages}),
        "problems": dict(problems),
    }


def find_problems(home: Path, receiver: WebhookReceiver, subscriber: MqttSubscriber) -> Iterator[tuple[str, int]]:
    """Yield each kind of problem with how often it was found."""
    wanted, events = expected(home), {each.id for each in events_of(home)}
    webhook = [(each.id, each.body) for each in receiver.received if each.status < 300]
    mqtt = [(each.json()["id"], each.payload) for each in subscriber.messages]
    yield "open events", sum(each.ended is None for each in events_of(home))
    yield "the file of the events is damaged", int(check(home) != "ok")
    for name, received in (("webhook", webhook), ("MQTT", mqtt)):
        ids = {identity for identity, _ in received}
        yield f"alerts that did not arrive: {name}", len(wanted - ids)
        yield f"alerts of no event: {name}", sum(identity.rpartition("-")[0] not in events for identity in ids)
        contents = Counter(identity for identity, _ in set(received))
        yield f"alerts with two contents: {name}", sum(count > 1 for count in contents.values())
    clips = home / "listener" / "clips"
    # What a killed listener had begun is deleted five minutes later; here at once.
    delete_orphans(home, named_files(home), older_s=0)
    left = {file.name for file in clips.iterdir()} if clips.exists() else set()
    yield "clips that are missing", len(named_files(home) - left)
    yield "files of no event", len(left - named_files(home))


def named_files(home: Path) -> set[str]:
    """Return the names of the files of all clips that events name."""
    clips = [each.clip for each in events_of(home) if each.clip is not None]
    return {name for clip in clips for name in (clip.file, clip.spectrogram) if name is not None}


def expected(home: Path) -> set[str]:
    """Return the ids of all alerts that the changes of events have."""
    with closing(sqlite3.connect(home / "listener" / EVENTS_FILE)) as db:
        changes = db.execute("SELECT event, number, change FROM changes").fetchall()
    return {f"{event}-{number}" for event, number, change in changes if change in Rules().changes}


def waiting(home: Path) -> list[str]:
    """Return the ids of the alerts that wait for delivery."""
    with closing(sqlite3.connect(home / "listener" / EVENTS_FILE)) as db:
        return [row[0] for row in db.execute("SELECT id FROM alerts")]


def check(home: Path) -> str:
    """Return ``ok`` if the file of the events is intact."""
    with closing(sqlite3.connect(home / "listener" / EVENTS_FILE)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])


def main() -> int:
    """Kill, check, print and write; the exit status is 1 if a problem is found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listening.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="default: 50, seven minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    parser.add_argument("--keep", type=Path, help="folder for the home of a run that finds problems")
    options, console = parser.parse_args(), Console()
    with tempfile.TemporaryDirectory(prefix="signalml-kills-") as folder:
        found = kill_again_and_again(options, Path(folder), console)
        has_problem = any(found["problems"].values())
        if has_problem and options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*MACHINES))
    console.print_json(json.dumps(found))
    facts = {"made": machine.made(), "machine": machine.machine(), **found}
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    return int(has_problem)


if __name__ == "__main__":
    sys.exit(main())
