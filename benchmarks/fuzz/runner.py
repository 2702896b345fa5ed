"""Loop of the fuzzer. The target runs in a child process, which a signal, a hang or a lack of memory can end."""

import hashlib
import multiprocessing
import re
import resource
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from benchmarks.fuzz.mutations import Mutator
from benchmarks.fuzz.running import Fault, OpenTarget, RunningTarget
from benchmarks.fuzz.target import Target

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
        counts: number of inputs by what became of them.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    faults: dict[str, Path] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class InProcess:
    """A parser of this process with valid inputs to change; see :class:`benchmarks.fuzz.target.Target`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._seeds = list(target.seeds.values())
        self.memory_bytes = target.max_growth_bytes
        for data in self._seeds:
            target.parse(data)  # every seed is valid; modules are loaded

    def make(self, random: Random) -> bytes:
        """Return a valid input with some changes."""
        return Mutator(self._seeds, self._target.words, self._target.head_bytes, random.getrandbits(64)).make()

    def check(self, data: bytes) -> str:
        """Parse one input within its time."""
        begun_s, found = _cpu_s(), "accepted"
        try:
            self._target.parse(data)
        except self._target.refusals as error:
            found = str(getattr(error, "code", type(error).__name__))
        if (taken_s := _cpu_s() - begun_s) > self._target.max_input_s:
            raise Fault(f"an input took {taken_s:.1f} s of the CPU")
        return found

    def memory(self) -> int:
        """Return the peak memory of this process."""
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _cpu_s() -> float:
    """Return the time of the CPU that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def open_target(name: str) -> OpenTarget:
    """Return the function that prepares a target: that of its module, or one for the module's ``TARGET``."""
    module = import_module(f"benchmarks.fuzz.targets.{name}")
    if hasattr(module, "TARGET"):
        return lambda _: nullcontext(InProcess(module.TARGET))
    found: OpenTarget = module.open_target
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
    patience_s, before, known = START_S, outcome.inputs, outcome.counts
    while reports.poll(patience_s):
        try:
            report = reports.recv()
        except EOFError:
            return False
        patience_s = HANG_S
        if report is None:
            return True
        count, fault, data, outcome.counts = report[0], report[1], report[2], known + report[3]
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
        deadline, reported, counts = time.monotonic() + seconds, 0.0, Counter[str]()
        for count, (found, fault, data) in enumerate(_results(target, seed, current), 1):
            counts[found] += 1
            over = time.monotonic() > deadline
            if fault or over or time.monotonic() - reported > REPORT_EVERY_S:
                reports.send((count, fault, data if fault else b"", counts))
                reported = time.monotonic()
            if over:
                break
    reports.send(None)


def _results(target: RunningTarget, seed: int, current: Path) -> Iterator[tuple[str, str, bytes]]:
    number, usual = 0, 0
    while True:
        data = target.make(Random(seed + number))
        current.write_bytes(data)
        found, fault = try_one(target, data)
        number += 1
        if number == WARM_UP:
            usual = target.memory()
        elif number > WARM_UP and number % MEMORY_EVERY == 0 and target.memory() - usual > target.memory_bytes:
            fault = fault or f"the memory grew by more than {target.memory_bytes / 1e6:.0f} MB"
            usual = target.memory()
        yield found, fault, data


def try_one(target: RunningTarget, data: bytes) -> tuple[str, str]:
    """Try one input; returns what became of it, and the fault, empty without one."""
    try:
        return target.check(data), ""
    except Exception as error:  # noqa: BLE001 - every exception that a target lets through is a fault
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "fault", f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"
