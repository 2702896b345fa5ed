"""A listener that is killed again and again: ``python -m tests.unit.killed_listener HOME KILLS``."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import listener.events.clips
from listener.config.source_types import PipeSource
from listener.events.clips import ClipWriter
from listener.events.event import Change, Event
from listener.events.event_keeper import EventKeeper
from listener.events.store import EventStore, NewAlert
from listener.options import ListenerOptions
from tests.unit.judged_clips import HOP_S, T0, judged, tone

MACHINES = [PipeSource(name=f"hall-{number}", machine_id=f"fan-{number}", path="/fifo") for number in range(3)]
LONGEST_RUN_S = 0.25


def alert(event: Event, change: Change) -> list[NewAlert]:
    """Return one alert about each change but progress."""
    del event
    return [] if change in ("updated", "clip") else [NewAlert("hook", 0.0)]


def judge_for_ever(home: Path) -> None:
    """Judge clips of three machines, which are in alarm for some clips and healthy for some."""
    listener.events.clips._spectrogram = lambda *_: None  # it needs a model
    options = ListenerOptions(home, before_s=1.0, longest_clip_s=4.0, longest_event_s=300.0, clips_min_free_bytes=0)
    store = EventStore(home, create=True)
    keeper = EventKeeper(options, store, alert, ClipWriter(options, store, alert))
    for number in count(round((time.time() - T0) / HOP_S)):
        for place, source in enumerate(MACHINES):
            in_alarm = (number + place) % 9 > 3
            clip = judged(number, 0.8 if in_alarm else 0.2, "alarm" if in_alarm else "normal", source, sound=tone)
            keeper.judged(clip)
        keeper.tick()


def kill_after(seconds: float, run: Callable[[], None]) -> None:
    """Run a function in a process of its own, and kill it after this time."""
    process = os.fork()
    if process == 0:
        try:
            run()
        finally:
            os._exit(1)  # it ends by itself only with an error
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("the listener ended by itself")


def main(home: Path, kills: int) -> None:
    """Start and kill a listener so many times, at random moments."""
    moments = random.Random(16)
    for _ in range(kills):
        kill_after(moments.uniform(0.0, LONGEST_RUN_S), lambda: judge_for_ever(home))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
