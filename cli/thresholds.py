"""``signalml thresholds``: where a model's threshold is, what is known of it, and moving it."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from api.settings import Settings
from cli.models import Reference
from cli.output import print_table
from ml.evaluation import Estimate
from ml.registry import Registry
from ml.revisions import ThresholdRevision
from ml.thresholds import SENSITIVITIES, Operating, Sensitivity, Wanted, in_force, percent, sensitivities

RATES = ", ".join(f"{name} ({percent(rate)})" for name, rate in SENSITIVITIES.items())


def thresholds(
    reference: Reference = "champion",
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Move it to where this share of healthy recordings is above it: 0.02 is 2 %.")
    ] = None,
    sensitivity: Annotated[
        Sensitivity | None, typer.Option(help=f"Move it to where a named share of them is: {RATES}.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Move it to this score, 0 to 1.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Move it back to where it was at first.")] = False,
) -> None:
    """Show a model's threshold, or move it: running services follow within two seconds, and nothing is trained anew."""
    registry = Registry(Settings().home)
    version = registry.resolve(reference)
    if reset or any(each is not None for each in (false_alarm_rate, sensitivity, threshold)):
        wanted = Wanted(threshold=threshold, false_alarm_rate=false_alarm_rate, sensitivity=sensitivity, reset=reset)
        registry.set_threshold(version, wanted)
    _print(registry, version)


def _print(registry: Registry, version: str) -> None:
    content, history = registry.read(version).content, registry.thresholds(version)
    decision, points = history[-1].decision, sensitivities(content)
    known = in_force(content, decision.threshold)
    typer.echo(f"{version}: a score above {decision.threshold:.4g} is anomalous ({decision.basis}).")
    if known is not None:
        typer.echo(f"Expected above it: {_shown(known.expected)} of healthy recordings, by {known.n} of them.")
        _print_points(points)
    _print_history(history)
    for note in dict.fromkeys(note for each in points.values() for note in each.notes):
        typer.echo(f"- {note}")


def _print_points(points: Mapping[Sensitivity, Operating]) -> None:
    table = Table("sensitivity", "false alarms", "threshold", "n", "smallest rate", "expected", box=None)
    for name, each in points.items():
        figures = (f"{each.threshold:.4g}", str(each.n), percent(each.smallest_rate), _shown(each.expected))
        table.add_row(name, percent(SENSITIVITIES[name]), *figures)
    typer.echo()
    print_table(table, "")


def _print_history(history: list[ThresholdRevision]) -> None:
    table = Table("revision", "since", "threshold", "false alarms", "sensitivity", "where it comes from", box=None)
    for each in history:
        rate = each.decision.false_alarm_rate
        table.add_row(
            str(each.revision),
            each.created[:16],
            f"{each.decision.threshold:.4g}",
            "-" if rate is None else percent(rate),
            each.sensitivity or "-",
            each.decision.basis,
        )
    typer.echo()
    print_table(table, "")


def _shown(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"
