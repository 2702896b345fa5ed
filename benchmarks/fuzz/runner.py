"""Loop of the fuzzer. The target runs in a child process, which a signal, a hang or a lack of memory can end."""

import hashlib
import multiprocessing
import re
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.fuzz.target import OpenTarget, Target

HANG_S = 30.0
START_S = 300.0
WARM_UP = 300
MEMORY_EVERY = 50
REPORT_EVERY_S = 0.2


@dataclass(slots=True)
class Outcome:
    """Result of a run.

    Attributes:
        target: name of the target.
        inputs: number of inputs that were tried.
        faults: message of each distinct fault, and the file with its input.
        seconds: duration.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    faults: dict[str, Path] = field(default_factory=dict)


def open_target(name: str) -> OpenTarget:
    """Return the function ``open_target`` of a target."""
    found: OpenTarget = import_module(f"benchmarks.fuzz.{name}").open_target
    return found


def run(name: str, seconds: float, seed: int, output: Path) -> Outcome:
    """Try inputs for some time; a child that ends or hangs is a fault, and another continues after its input."""
    outcome, begun = Outcome(name), time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    while (left_s := seconds - (time.monotonic() - begun)) > 0:
        with TemporaryDirectory(prefix="signalml-fuzz-") as folder:
            ours, theirs = context.Pipe(duplex=False)
            current = Path(folder) / "current"
            arguments = (name, left_s, seed + outcome.inputs, Path(folder), current, theirs)
            child = context.Process(target=_try_inputs, args=arguments)
            child.start()
            theirs.close()
            complete = _follow(outcome, ours, output)
            if not complete:
                child.join(1.0)
                what = f"ended with status {child.exitcode}" if child.exitcode is not None else f"hung for {HANG_S:g} s"
                _keep(outcome, what, current.read_bytes() if current.exists() else b"", output)
                outcome.inputs += 1
                child.kill()
            child.join()
    outcome.seconds = time.monotonic() - begun
    return outcome


def _follow(outcome: Outcome, reports: Connection, output: Path) -> bool:
    """Read the reports of a child; returns whether it came to its end."""
    patience_s, before = START_S, outcome.inputs
    while reports.poll(patience_s):
        try:
            report = reports.recv()
        except EOFError:
            return False
        patience_s = HANG_S
        if report is None:
            return True
        count, fault, data = report
        outcome.inputs = before + count
        if fault:
            _keep(outcome, fault, data, output)
    return False


def _keep(outcome: Outcome, fault: str, data: bytes, output: Path) -> None:
    if _kind(fault) not in {_kind(known) for known in outcome.faults}:
        file = output / f"{outcome.target}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        file.write_bytes(data)
        outcome.faults[fault] = file


def _kind(fault: str) -> str:
    """Return what faults of one cause share: the message without its numbers."""
    return re.sub(r"\d+|'[^']*'", "#", fault)[:120]


def _try_inputs(name: str, seconds: float, seed: int, folder: Path, current: Path, reports: Connection) -> None:
    """Run in the child: try inputs, and report their number, faults and the end."""
    (folder / "target").mkdir()
    with open_target(name)(folder / "target") as target:
        deadline, reported = time.monotonic() + seconds, 0.0
        for count, (fault, data) in enumerate(_faults(target, seed, current), 1):
            if fault or time.monotonic() - reported > REPORT_EVERY_S:
                reports.send((count, fault, data if fault else b""))
                reported = time.monotonic()
            if time.monotonic() > deadline:
                reports.send((count, "", b""))
                break
    reports.send(None)


def _faults(target: Target, seed: int, current: Path) -> Iterator[tuple[str, bytes]]:
    number, usual = 0, 0
    while True:
        data = target.make(Random(seed + number))
        current.write_bytes(data)
        fault = try_one(target, data)
        number += 1
        if number == WARM_UP:
            usual = target.memory()
        elif number > WARM_UP and number % MEMORY_EVERY == 0 and target.memory() - usual > target.memory_bytes:
            fault = fault or f"the memory grew by more than {target.memory_bytes / 1e6:.0f} MB"
            usual = target.memory()
        yield fault, data


def try_one(target: Target, data: bytes) -> str:
    """Try one input; returns the fault, empty without one."""
    try:
        target.check(data)
    except Exception as error:  # noqa: BLE001 - every exception that a target lets through is a fault
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"
    return ""
