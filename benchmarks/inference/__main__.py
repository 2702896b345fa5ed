"""``python -m benchmarks.inference``: measure, print, write the results, draw the chart."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.inference import chart, load, machine, report, samples, servers, summary
from benchmarks.inference.rounds import Benchmark, Schedule
from benchmarks.inference.summary import Round

OUTPUT = samples.REPOSITORY / "benchmarks" / "results" / "inference.json"
WAYS = {
    "original": "original's way",
    "original-called": "original's way, model(x) for predict",
    "signalml": "signalml",
}
ROUTE = "/inference"
EXAMPLES = """examples:
  python -m benchmarks.inference                          about 9 minutes
  python -m benchmarks.inference --quick --output /tmp/quick.json
                                                          about 2 minutes, to see that it works; draws no chart
  python -m benchmarks.inference --rounds 9 --seconds 20  for a noisy machine
  python -m benchmarks.inference.chart                    draw the chart anew from the results
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description="This service beside the original's way, over HTTP and in process, in one run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=samples.default_data(),
        help="folder with the recordings in seed/ (default: $SIGNALML_TEST_DATA, else ../shared/data)",
    )
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 8, with --quick 2)")
    parser.add_argument("--rounds", type=int, help="how often the two take turns (default: 5, with --quick 2)")
    parser.add_argument(
        "--clients", type=int, default=16, help="at once, beside the measurement with one (default: 16)"
    )
    parser.add_argument("--quick", action="store_true", help="short, to see that it works; draws no chart")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="the results (default: benchmarks/results/inference.json)"
    )
    options = parser.parse_args()
    if not samples.weights(options.data).is_file():
        parser.error(f"no recordings in {options.data}: say where with --data or SIGNALML_TEST_DATA")
    if options.clients < 2:
        parser.error("--clients is at least 2")
    return options


def _plan(options: argparse.Namespace) -> Schedule:
    return Schedule(
        seconds=options.seconds or (2.0 if options.quick else 8.0),
        lead_s=1.0 if options.quick else 2.0,
        rounds=options.rounds or (2 if options.quick else 5),
        clients=options.clients,
        pause_s=0.0 if options.quick else 1.0,
    )


def measure(plan: Schedule, data: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything, in a home that is gone afterwards."""
    facts = {"made": machine.made(), "machine": machine.machine(), "versions": machine.versions(), "plan": asdict(plan)}
    with tempfile.TemporaryDirectory(prefix="signalml-benchmark-") as folder:
        home = Path(folder)
        say("importing the model")
        servers.import_model(home, data)
        benchmark = Benchmark(plan, data, home, say)
        pair = (servers.original(data), servers.signalml(home))
        http = benchmark.over_http(pair)
        in_process = benchmark.in_process(list(WAYS))
        stages = benchmark.in_process(["stages"])["stages"]
    compared = _compared(http[pair[0].name], http[pair[1].name], plan.clients)
    alone = summary.in_process_ratio(in_process["original"], in_process["signalml"])
    ratios = {key: row["ratio"] for key, row in compared.items()}
    return facts | {
        "targets": summary.targets(ratios, alone, plan.clients),
        "compared": compared,
        "http": [row for server in pair for row in _http_rows(server, http[server.name], plan.clients)],
        "in_process": [
            {"way": name} | summary.spread([one["latencies_ms"] for one in in_process[way]])
            for way, name in WAYS.items()
        ],
        "stages": summary.staged(stages),
        "rounds": {name: [_shortened(one) for one in measured] for name, measured in http.items()},
    }


def _compared(original: Sequence[Round], ours: Sequence[Round], clients: int) -> dict[str, Any]:
    return {
        key: {
            "name": figure.name,
            "original": median(figure.find(one) for one in original),
            "signalml": median(figure.find(one) for one in ours),
            "more_is_better": figure.more_is_better,
            "ratio": summary.ratio(figure, original, ours),
        }
        for key, figure in summary.figures(ROUTE, clients).items()
    }


def _http_rows(server: servers.ServerSpec, measured: Sequence[Round], many: int) -> list[dict[str, Any]]:
    return [
        {"server": server.name, "route": route, "body": load.ROUTES[route], "clients": clients}
        | summary.loaded([one["load"][summary.load_key(route, clients)] for one in measured])
        for route in server.routes
        for clients in (1, many)
    ]


def _shortened(measured: Round) -> Round:
    """A round without its single latencies."""
    return measured | {"load": {key: summary.loaded([one]) for key, one in measured["load"].items()}}


def _plain(value: Any) -> Any:
    """For JSON: four significant digits more than any figure here deserves, and ratios as dictionaries."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> int:
    """Measure, print, write; 0 unless an answer was wrong. A missed target is a result, not an error."""
    options = _options()
    console = Console()
    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), refresh_per_second=1)
    try:
        with progress:
            task = progress.add_task("starting")
            measured = measure(_plan(options), options.data, lambda what: progress.update(task, description=what))
            progress.update(task, description="measured", total=1, completed=1)
    except RuntimeError as error:  # a server that does not start, or an answer that is wrong
        sys.exit(f"error: {error}")
    results = _plain(measured)
    report.show(results, console)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    if not options.quick:
        chart.draw(results, chart.IMAGE)
    wrong = sum(row["wrong"] for row in results["http"])
    if wrong:
        console.print(f"[bold red]{wrong} answers were wrong[/]")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
