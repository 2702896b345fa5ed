"""``python -m benchmarks.listening.soak``: a day of a listener by proxy, 10 000 clips at ten times real time.

The sound comes through a named pipe. Five clips of each two hundred have a fault, so that events, clips and alerts are
made, too. Memory, descriptors, threads and processes are measured at even distances; a line is fitted to each, as in
:mod:`benchmarks.soak.slopes`.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.inference import machine
from benchmarks.inference.samples import REPOSITORY
from benchmarks.soak.slopes import Slope, print_slopes, slope
from listener.config.files import sink_file
from testing.fans import CLIP_S, RULE, add_sources, events_of, fan_sounds, make_fan_home
from testing.listening import ListenerProcess
from testing.receivers import WebhookReceiver
from testing.servers import wait_until
from testing.sound_feed import RATE_HZ

OUTPUT = REPOSITORY / "benchmarks" / "results" / "listening_soak.json"
SPEED = 10
FAULT_EVERY, FAULT_CLIPS = 200, 5
BLOCK = RATE_HZ // 2
# Largest growth over a whole run. Memory: what fragmentation may add. A thread or a descriptor may be of an alert.
BOUNDS = {"memory, MB": 5.0, "open descriptors": 1.0, "threads": 1.0, "processes": 0.5}


class Measured(NamedTuple):
    """State of the listener.

    Attributes:
        clips: clips judged so far.
        skipped: clips left out so far.
        memory_mb: resident memory of all its processes.
        descriptors, threads, processes: numbers of them.
    """

    clips: int
    skipped: int
    memory_mb: float
    descriptors: int
    threads: int
    processes: int


class FastWriter:
    """Writer of a named pipe at ten times real time, which waits for its reader."""

    def __init__(self, path: Path) -> None:
        self._path, self._stopped = path, threading.Event()
        self._sounds = fan_sounds()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FastWriter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        position, due = 0, time.monotonic()
        file = os.open(self._path, os.O_RDWR)  # so that it needs no reader
        while not self._stopped.is_set():
            is_faulty = position // RATE_HZ % FAULT_EVERY >= FAULT_EVERY - FAULT_CLIPS
            sound = self._sounds["faulty" if is_faulty else "healthy"]
            data = sound.take(np.arange(position, position + BLOCK), mode="wrap").tobytes()
            while data and not self._stopped.is_set():
                data = data[os.write(file, data[:4096]) :]
            position += BLOCK
            due = max(due + BLOCK / RATE_HZ / SPEED, time.monotonic() - 1.0)
            self._stopped.wait(max(0.0, due - time.monotonic()))
        os.close(file)


def soak(options: argparse.Namespace, root: Path, console: Console) -> tuple[list[Measured], dict[str, int]]:
    """Return the measurements, and how many events and alerts there were."""
    home, pipe = make_fan_home(root / "home"), root / "pcm"
    os.mkfifo(pipe)
    add_sources(home, fan={"kind": "pipe", "path": str(pipe)})
    with WebhookReceiver() as receiver, ListenerProcess(home, root, clip_before_s=2, **RULE) as listener:
        sink_file(home).add({"name": "hook", "kind": "webhook", "url": receiver.url, "allow_private": True})
        found: list[Measured] = []
        with FastWriter(pipe):
            for number in range(1, options.rounds + 1):
                wanted = options.clips * number // options.rounds
                wait_until(lambda wanted=wanted: listener.status_of("fan").clips_judged >= wanted, 3600, every_s=0.2)
                found.append(measure(listener))
                console.print(f"round {number} of {options.rounds}: {found[-1]}", highlight=False)
    return found, {"events": len(events_of(home)), "alerts": len(receiver.accepted)}


def measure(listener: ListenerProcess) -> Measured:
    """Measure a listener."""
    status, processes = listener.status_of("fan"), listener.processes()
    return Measured(
        status.clips_judged,
        status.clips_skipped,
        sum(each.memory_info().rss for each in processes) / 2**20,
        sum(each.num_fds() for each in processes),
        sum(each.num_threads() for each in processes),
        len(processes),
    )


def slopes_of(found: list[Measured]) -> dict[str, Slope]:
    """Return the growth of each value over the run."""
    values = zip(*(each[2:] for each in found), strict=True)
    return {name: slope(list(map(float, each))) for name, each in zip(BOUNDS, values, strict=True)}


def main() -> int:
    """Listen, measure, print and write; the exit status is 1 if something grows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listening.soak", description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000, help=f"of {CLIP_S} s (default: 10000, 17 minutes)")
    parser.add_argument("--rounds", type=int, default=50, help="measurements, at least 8 (default: 50)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    options, console, began = parser.parse_args(), Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="signalml-listening-soak-") as folder:
        found, done = soak(options, Path(folder), console)
    slopes = slopes_of(found)
    passed = print_slopes(slopes, BOUNDS, console, digits=2)
    facts = {
        "made": machine.made(),
        "machine": machine.machine(),
        "seconds": round(time.monotonic() - began),
        "skipped": found[-1].skipped,
        **done,
        "bounds": BOUNDS,
        "slopes": {name: each._asdict() for name, each in slopes.items()},
        "measurements": [each._asdict() for each in found],
    }
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
