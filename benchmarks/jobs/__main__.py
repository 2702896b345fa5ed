"""``python -m benchmarks.jobs``: measure, print, write the results."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inference import machine, samples
from benchmarks.jobs import capacity, overhead, throughput

OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "jobs.json"
EXAMPLES = """examples:
  python -m benchmarks.jobs                               about 4 minutes
  python -m benchmarks.jobs --clips 400 --rounds 2 --jobs 100 --output /tmp/quick.json
                                                          about 1 minute, to see that it works
  python -m benchmarks.jobs.faults                        what it survives; about 5 minutes
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.jobs",
        description="What the job queue costs and carries, in one run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, default=2000, help="whose features are computed (default: 2000)")
    parser.add_argument("--clip-seconds", type=float, default=4.0, help="length of each (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="how often job and pool take turns (default: 5)")
    parser.add_argument("--jobs", type=int, default=200, help="empty ones, one by one and at once (default: 200)")
    parser.add_argument("--capacity-jobs", type=int, default=1000, help="empty ones, of one process (default: 1000)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the results")
    return parser.parse_args()


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every measurement in turn, one key of the results each."""
    facts: dict[str, Any] = {"made": machine.made(), "machine": machine.machine(), "versions": machine.versions()}
    with tempfile.TemporaryDirectory(prefix="signalml-benchmark-") as folder:
        root = Path(folder)
        for name in ("throughput", "overhead", "capacity"):
            (root / name).mkdir()
        facts["throughput"] = throughput.measure(
            root / "throughput", options.clips, options.clip_seconds, options.rounds, console.print
        )
        facts["overhead"] = overhead.measure(root / "overhead", options.jobs, console.print)
        facts["capacity"] = capacity.measure(root / "capacity", options.capacity_jobs, console.print)
    return facts


def show(results: dict[str, Any], console: Console) -> None:
    """One row for each figure."""
    table = Table("", "measured", "target", box=None)
    for row in (*_throughput_rows(results["throughput"]), *_overhead_rows(results["overhead"])):
        table.add_row(*row)
    for row in _capacity_rows(results["capacity"]):
        table.add_row(*row, "")
    console.print(table)


def _throughput_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    what = (
        f"features of {found['recordings']} clips of {found['clip_s']:g} s, {found['processes']} processes, best round"
    )
    seconds, target = found["seconds"], f"{found['target']:g}"
    return [
        (f"{what}: job", f"{min(seconds['job']):.2f} s", ""),
        ("  the same in a plain pool", f"{min(seconds['pool']):.2f} s", ""),
        ("  throughput of the job over that of the pool", _spread(found["ratio"]), target),
        ("  the same, not counting the pool's start", _spread(found["ratio_without_pool_start"]), ""),
    ]


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def _overhead_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    one, together = found["one_by_one"], found["at_once"]
    return [
        ("empty job, asked to ended: median", f"{one['median_ms']:.1f} ms", f"{one['target_ms']:g} ms"),
        ("  95th percentile", f"{one['p95_ms']:.1f} ms", ""),
        (
            f"{found['jobs']} at once over HTTP, {together['clients']} clients: all ended",
            f"{together['succeeded']} succeeded in {together['ended_s']:.2f} s",
            "all",
        ),
    ]


def _capacity_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    empty, parts, full = found["empty_jobs"], found["parts"], found["full"]
    driven = max(found["driven"], key=lambda each: float(each["jobs_per_s"]))
    return [
        ("empty jobs of one worker process", f"{empty['per_s']:.0f} /s"),
        (
            "one empty job, on Redis's one core",
            f"{empty['us_per_job']:.0f} us, {empty['commands_per_job']:.0f} commands",
        ),
        ("  Redis is full at", f"{full['empty_jobs_per_s']:.0f} /s, {full['processes_with_empty_jobs']:.1f} processes"),
        (
            f"  driven without messages, {driven['processes']:.0f} clients",
            f"{driven['jobs_per_s']:.0f} /s, Redis {100 * driven['server_busy']:.0f}% busy",
        ),
        ("one part of 32 recordings", f"{parts['us_per_part']:.0f} us, {parts['commands_per_part']:.0f} commands"),
        ("  Redis is full at", f"{full['parts_per_s']:.0f} parts/s, {full['recordings_per_s']:.0f} recordings/s"),
        ("a busy process, lease and progress", f"{found['busy_process_us_per_s']:.0f} us/s"),
        ("an idle worker", f"{found['idle_worker_us_per_s']:.0f} us/s"),
        ("memory of an ended empty job", f"{empty['bytes_per_job']:.0f} bytes"),
        (f"memory of an ended job of {parts['parts']} parts", f"{parts['bytes_of_job']:.0f} bytes"),
    ]


def main() -> None:
    """Measure, print, write. A missed target is a result, not an error."""
    options, console = _options(), Console()
    results = measure(options, console)
    show(results, console)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
