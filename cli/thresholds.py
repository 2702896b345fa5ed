"""``signalml thresholds``: show the threshold of a model, and move it."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from rich.table import Column, Table

from api.settings import Settings
from cli.models import ModelArgument
from cli.output import print_note, print_table, print_text
from cli.recalibration import recalibrate as recalibrate_and_print
from ml.detectors.alarm_limit import USUAL_EVERY_S, FalseAlarmLimit
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.thresholds import SENSITIVITIES, OperatingPoint, Sensitivity, percent
from ml.errors import InvalidParameter
from ml.evaluation.results import Estimate
from ml.models.bundle import BundleContent
from ml.models.registry import Registry
from ml.models.revisions import ThresholdRevision
from ml.models.thresholds import (
    ThresholdRequest,
    current_false_alarms,
    current_limit_notes,
    current_operating_point,
    sensitivities,
)

RATES = ", ".join(f"{name} ({percent(rate)})" for name, rate in SENSITIVITIES.items())
HOLDS_FOR = {
    "new_session": "The rate holds for recordings of new sessions.",
    "same_session": "The rate holds only for recordings of the same sessions.",
}
ORIGIN_WIDTH = 29  # remaining width of 80 columns


def thresholds(
    reference: ModelArgument = "champion",
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Set the share of normal recordings above the threshold: 0.02 is 2 %.")
    ] = None,
    sensitivity: Annotated[
        Sensitivity | None, typer.Option(help=f"Set this share of normal recordings by name: {RATES}.")
    ] = None,
    false_alarms: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/PERIOD",
            help="Set the largest number of false alarms of a machine in a day, week, month or year, by the alarm rule "
            "of the service: 1/month. Give --every, too.",
        ),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time from one recording to the next: 30s, 10min, 1h or 1d.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Set the threshold to this score, 0 to 1.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Return to the threshold of the model's training.")] = False,
    recalibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Set the threshold with the normal recordings of a folder, a manifest or a dataset that the model has "
            "not learned from. The rate stays as it is, or is given with another option.",
        ),
    ] = None,
    confirm_labels: Annotated[
        bool, typer.Option("--confirm-labels", help="With --recalibrate: use labels that names of files contradict.")
    ] = False,
) -> None:
    """Show the threshold of a model, or change it without training again.

    Running services use the new threshold within two seconds.
    """
    settings = Settings()
    registry = Registry(settings.home)
    version = registry.resolve(reference)
    limit = _limit(false_alarms, every, settings.alarm_rule)
    wanted = None
    if reset or any(each is not None for each in (false_alarm_rate, sensitivity, limit, threshold)):
        wanted = ThresholdRequest(
            threshold=threshold, false_alarm_rate=false_alarm_rate, sensitivity=sensitivity, limit=limit, reset=reset
        )
    before = registry.threshold_revisions(version)[-1].revision
    if recalibrate is not None:
        if reset:
            raise InvalidParameter("--recalibrate and --reset were given; one of them was expected.")
        after = recalibrate_and_print(settings.home, version, recalibrate, wanted, confirm_labels=confirm_labels)
    elif wanted is not None:
        after = registry.set_threshold(version, wanted)
    else:
        after = None
    if after is not None and after.revision == before:
        typer.echo("Nothing changed: this is the present threshold already.")
    _print(registry, version, settings.alarm_rule)


def _limit(false_alarms: str | None, every: str | None, rule: KOfNRule) -> FalseAlarmLimit | None:
    """Return the requested limit of false alarms; None without one.

    Raises:
        InvalidParameter: only one of both options is given, or one has another form.
    """
    if false_alarms is None and every is None:
        return None
    if false_alarms is None or every is None:
        raise InvalidParameter("One of --false-alarms and --every was given; both together were expected.")
    return FalseAlarmLimit(false_alarms, every, rule)


def fault_rule_note(content: BundleContent) -> str | None:
    """Return a note about the classifier's threshold in a model that has both; None for other models."""
    if content.fault_rule is None:
        return None
    return (
        "The classifier also decides, with its own score and its own threshold "
        f"{content.fault_rule.threshold:.4g}. Moving the detector's threshold does not move this one."
    )


def _print(registry: Registry, version: str, rule: KOfNRule) -> None:
    content, history = registry.read_calibrated(version).content, registry.threshold_revisions(version)
    decision, limit, points = history[-1].decision, history[-1].limit, sensitivities(content)
    known = current_operating_point(content, decision.threshold)
    print_text(f"{version}: a score above {decision.threshold:.4g} is anomalous ({decision.basis}).")
    if known is not None:
        print_text(
            f"Expected above it: {_format_estimate(known.expected_rate)} of normal recordings, measured with "
            f"{known.n} of them, from {known.n_sessions} sessions. The lowest rate that their number supports is "
            f"{percent(known.smallest_rate)}. {HOLDS_FOR[known.rate_holds_for]}"
        )
        _print_false_alarms(content, decision.threshold, limit, rule)
        _print_points(points)
    _print_history(history)
    if (note := fault_rule_note(content)) is not None:
        print_note(note)
    for note in (*current_limit_notes(content, limit), *_notes(points)):
        print_note(note)


def _print_false_alarms(
    content: BundleContent, threshold: float, limit: FalseAlarmLimit | None, rule: KOfNRule
) -> None:
    """Print the time between false alarms of a machine, at the requested time between recordings."""
    found = current_false_alarms(content, threshold, rule)
    if found is not None:
        print_text(found.describe(USUAL_EVERY_S if limit is None else limit.every_s))


def _print_points(points: Mapping[Sensitivity, OperatingPoint]) -> None:
    table = Table("sensitivity", "false alarms", "threshold", "expected", box=None)
    for name, each in points.items():
        table.add_row(name, percent(SENSITIVITIES[name]), f"{each.threshold:.4g}", _format_estimate(each.expected_rate))
    typer.echo()
    print_table(table, "")


def _notes(points: Mapping[Sensitivity, OperatingPoint]) -> Iterator[str]:
    """Yield the notes on the sensitivities; one that is not on all of them begins with their names."""
    for note in dict.fromkeys(note for each in points.values() for note in each.notes):
        names = [name for name, each in points.items() if note in each.notes]
        yield note if len(names) == len(points) else f"{', '.join(names)}: {note}"


def _print_history(history: list[ThresholdRevision]) -> None:
    origin = Column("origin", max_width=ORIGIN_WIDTH)
    table = Table("revision", "since", "threshold", "expected", origin, box=None)
    for each in history:
        rate = each.decision.false_alarm_rate
        table.add_row(
            str(each.revision),
            each.created[:16],
            f"{each.decision.threshold:.4g}",
            "-" if rate is None else percent(rate),
            _origin(each, history[0]),
        )
    typer.echo()
    print_table(table, "")


def _origin(revision: ThresholdRevision, first: ThresholdRevision) -> str:
    """Return the origin in short. For the present revision, the full sentence is above the tables."""
    if revision is not first and (revision.decision, revision.sensitivity) == (first.decision, first.sensitivity):
        return f"back to revision {first.revision}"
    target = revision.decision.basis.partition("; ")[0]
    return f"{revision.sensitivity}: {target}" if revision.sensitivity else target


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"
