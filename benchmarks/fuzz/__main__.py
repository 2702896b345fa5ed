"""Give a parser changed inputs for some minutes: ``python -m benchmarks.fuzz wav --minutes 10``.

The parser runs in a child process. A signal, a hang, another exception than a refusal, or memory that grows is a
finding; its input is written to the output folder.
"""

import argparse
import multiprocessing
import pkgutil
import resource
import sys
import time
import traceback
from collections import Counter
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.fuzz import targets
from benchmarks.fuzz.mutations import Mutator
from benchmarks.fuzz.target import Target

HANG_S = 30.0
NAMES = sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    findings = 0
    end, seed, counts = time.monotonic() + 60 * options.minutes, options.seed, Counter[str]()
    slowest, growth = 0.0, 0
    while (left := end - time.monotonic()) > 0:
        result, data = _run(options.target, seed, left)
        counts.update(result["counts"])
        slowest, growth = max(slowest, result["slowest_s"]), max(growth, result["growth"])
        if result["finding"]:
            findings += 1
            options.output.mkdir(parents=True, exist_ok=True)
            file = options.output / f"{options.target}-{seed}"
            file.write_bytes(data)
            print(f"FINDING {file}: {result['finding']}", flush=True)
        seed += 1
    total = sum(counts.values())
    print(f"{options.target}: {total} inputs in {options.minutes:g} min, seeds {options.seed} to {seed - 1}")
    print(f"slowest {slowest:.2f} s, memory grew by {growth / 2**20:.0f} MiB, findings {findings}")
    for code, count in counts.most_common():
        print(f"  {count / total:6.1%}  {count:9d}  {code}")
    return 1 if findings else 0


def _run(name: str, seed: int, left_s: float) -> tuple[dict[str, Any], bytes]:
    """Run one child until it finds something or the time is over; return its result and its last input."""
    here, there = multiprocessing.Pipe()
    # Written before each input: what a child that crashes has left.
    last = multiprocessing.Array("c", 1 << 22, lock=False)
    size = multiprocessing.Value("l", 0, lock=False)
    beat = multiprocessing.Value("d", time.monotonic(), lock=False)
    child = multiprocessing.get_context("fork").Process(
        target=_work, args=(name, seed, left_s, there, last, size, beat)
    )
    child.start()
    there.close()
    finding = ""
    while not here.poll(0.5):
        if time.monotonic() - beat.value > HANG_S:
            finding = f"an input took more than {HANG_S:g} s"
            child.kill()
            break
        if not child.is_alive():
            break
    try:
        result = here.recv() if here.poll(1) else None
    except EOFError:
        result = None
    child.join()
    if result is None:
        ending = finding or f"the process ended with status {child.exitcode}"
        result = {"counts": {"crash or hang": 1}, "slowest_s": 0.0, "growth": 0, "finding": ending}
    return result, last.raw[: size.value]


def _work(name: str, seed: int, left_s: float, results: Connection, last: Any, size: Any, beat: Any) -> None:
    target: Target = import_module(f"benchmarks.fuzz.targets.{name}").TARGET
    mutator = Mutator(list(target.seeds.values()), target.words, target.head_bytes, seed)
    for data in target.seeds.values():
        beat.value = time.monotonic()
        target.parse(data)  # every seed is valid; modules are loaded
    end, before, counts = time.monotonic() + left_s, _peak_bytes(), Counter[str]()
    slowest, finding = 0.0, ""
    while not finding and time.monotonic() < end:
        data = mutator.make()[: len(last)]
        last[: len(data)], size.value, beat.value = data, len(data), time.monotonic()
        begin = _cpu_s()
        try:
            target.parse(data)
            counts["accepted"] += 1
        except target.refusals as error:
            counts[str(getattr(error, "code", type(error).__name__))] += 1
        except Exception as error:  # noqa: BLE001 - any other exception is what is looked for
            finding = "".join(traceback.format_exception(error))
        slowest = max(slowest, taken := _cpu_s() - begin)
        if taken > target.max_input_s:
            finding = f"an input took {taken:.1f} s of the CPU"
        if _peak_bytes() - before > target.max_growth_bytes:
            finding = f"memory grew by {(_peak_bytes() - before) / 2**20:.0f} MiB"
    counts["finding"] += bool(finding)
    results.send({"counts": dict(+counts), "slowest_s": slowest, "growth": _peak_bytes() - before, "finding": finding})


def _cpu_s() -> float:
    """Return the time of the CPU that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
