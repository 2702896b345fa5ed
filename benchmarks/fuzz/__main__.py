"""``python -m benchmarks.fuzz``: try inputs for some time, print the faults, and keep an input for each."""

import argparse
import json
import pkgutil
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz import targets
from benchmarks.fuzz.runner import open_target, run, try_one

NAMES = sorted(module.name for module in pkgutil.iter_modules(targets.__path__))
EXAMPLES = """examples:
  python -m benchmarks.fuzz multipart --minutes 10
  python -m benchmarks.fuzz all --minutes 10
  python -m benchmarks.fuzz archive --replay /tmp/signalml-fuzz/archive-0123456789ab.bin
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description="Damaged inputs for every parser that a client can reach.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=(*NAMES, "all"), help="parser")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the inputs (default: 0)")
    parser.add_argument("--replay", type=Path, help="try the input of this file only")
    parser.add_argument(
        "--output", type=Path, default=Path(tempfile.gettempdir()) / "signalml-fuzz", help="folder of the inputs"
    )
    return parser.parse_args()


def _replay(name: str, file: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="signalml-fuzz-") as folder, open_target(name)(Path(folder)) as target:
        return try_one(target, file.read_bytes())[1]


def main() -> int:
    """Run, print; the exit status is 1 if a fault was found."""
    options = _options()
    if options.replay:
        fault = _replay(options.target, options.replay)
        print(fault or "no fault")
        return int(bool(fault))
    faulty = False
    for name in NAMES if options.target == "all" else (options.target,):
        outcome = run(name, options.minutes * 60, options.seed, options.output)
        faulty |= bool(outcome.faults)
        print(f"{name}: {outcome.inputs} inputs in {outcome.seconds:.0f} s, {len(outcome.faults)} faults", flush=True)
        for found, count in outcome.counts.most_common(12):
            print(f"  {count / outcome.inputs:6.1%}  {found}", flush=True)
        for fault, file in outcome.faults.items():
            print(f"  FAULT  {json.dumps(fault)}  {file}", flush=True)
    return int(faulty)


if __name__ == "__main__":
    sys.exit(main())
