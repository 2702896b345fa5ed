"""What a terminal of 80 columns shows of the results."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Results = dict[str, Any]
Row = tuple[str | Text, ...]


def show(results: Results, console: Console) -> None:
    """Print every table, the verdict last."""
    _print(console, "Side by side, median of the rounds", COMPARED, _compared(results))
    _print(console, "Over HTTP, all rounds together; latencies in ms", HTTP, _http(results))
    _print(console, "In process, decode to answer; latencies in ms", IN_PROCESS, _in_process(results))
    facts = f"n {results['stages']['n']}, matrix products at {results['stages']['sgemm_gflops']:.0f} GFLOP/s"
    _print(console, f"Stages on one thread beside their floor ({facts})", STAGES, _stages(results))
    _print(console, "Targets", TARGETS, _targets(results))


def _print(console: Console, title: str, columns: Iterable[str], rows: Iterable[Row]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(f"\n[bold]{title}[/]", highlight=False)
    console.print(table)


COMPARED = ("", "original's way", "signalml", "better by (rounds)")


def _compared(results: Results) -> list[Row]:
    return [
        (figure["name"], _number(figure["original"]), _number(figure["signalml"]), _times(figure["ratio"]))
        for figure in results["compared"].values()
    ]


HTTP = ("", "clients", "n", "p50", "p95", "p99", "per s", "wrong")


def _http(results: Results) -> list[Row]:
    return [
        (
            f"{row['server']} {row['route']}",
            str(row["clients"]),
            str(row["n"]),
            *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms", "throughput_per_s")),
            str(row["wrong"]),
        )
        for row in results["http"]
    ]


IN_PROCESS = ("", "n", "p50", "p95", "p99")


def _in_process(results: Results) -> list[Row]:
    return [
        (row["way"], str(row["n"]), *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms")))
        for row in results["in_process"]
    ]


STAGES = ("", "ms", "floor, ms", "times its floor")


def _stages(results: Results) -> list[Row]:
    rows = results["stages"]["stages"]
    total = {name: sum(row[name] for row in rows) for name in ("ms", "floor_ms")}
    return [
        (row["stage"], f"{row['ms']:.3f}", f"{row['floor_ms']:.3f}", f"{row['ms'] / row['floor_ms']:.1f}")
        for row in [*rows, {"stage": "together", **total}]
    ]


TARGETS = ("", "wanted", "found (rounds)", "")


def _targets(results: Results) -> list[Row]:
    return [
        (
            target["name"],
            f"{target['at_least']:g}x",
            _times(target["ratio"]),
            Text("PASS", "bold green") if target["met"] else Text("MISS", "bold red"),
        )
        for target in results["targets"]
    ]


def _number(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _times(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.1f}x ({ratio['low']:.1f} to {ratio['high']:.1f})"
