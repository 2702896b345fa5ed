"""What a terminal shows of the results."""

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

Results = dict[str, Any]


def show(results: Results, console: Console) -> None:
    """Print every table, the verdict last."""
    console.print(Group(_compared(results), "", _http(results), "", _in_process(results), "", _stages(results), ""))
    console.print(_targets(results))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _number(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _times(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.1f}x ({ratio['low']:.1f} to {ratio['high']:.1f})"


def _compared(results: Results) -> Table:
    table = _table("Side by side, median of the rounds", "", "original's way", "signalml", "better by (rounds)")
    for figure in results["compared"].values():
        table.add_row(figure["name"], _number(figure["original"]), _number(figure["signalml"]), _times(figure["ratio"]))
    return table


def _http(results: Results) -> Table:
    columns = ("", "clients", "n", "p50 ms", "p95 ms", "p99 ms", "per second", "wrong", "load client's CPU")
    table = _table("Over HTTP, all rounds together", *columns)
    for row in results["http"]:
        table.add_row(
            f"{row['server']} {row['route']}",
            str(row["clients"]),
            str(row["n"]),
            *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms", "throughput_per_s")),
            str(row["wrong"]),
            f"{row['client_cpu_share']:.0%}",
        )
    return table


def _in_process(results: Results) -> Table:
    table = _table("In process, decode to answer", "", "n", "p50 ms", "p95 ms", "p99 ms")
    for row in results["in_process"]:
        table.add_row(row["way"], str(row["n"]), *(_number(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms")))
    return table


def _stages(results: Results) -> Table:
    stages = results["stages"]
    title = f"Stages beside their floor, one thread (n {stages['n']}, sgemm {stages['sgemm_gflops']:.0f} GFLOP/s)"
    table = _table(title, "", "ms", "floor ms", "times the floor")
    rows = stages["stages"]
    total = {name: sum(row[name] for row in rows) for name in ("ms", "floor_ms")}
    for row in [*rows, {"stage": "together", **total}]:
        table.add_row(row["stage"], f"{row['ms']:.3f}", f"{row['floor_ms']:.3f}", f"{row['ms'] / row['floor_ms']:.1f}")
    return table


def _targets(results: Results) -> Table:
    table = _table("Targets", "", "wanted", "found (rounds)", "")
    for target in results["targets"]:
        verdict = Text("PASS", "bold green") if target["met"] else Text("MISS", "bold red")
        table.add_row(target["name"], f"{target['at_least']:g}x", _times(target["ratio"]), verdict)
    return table
