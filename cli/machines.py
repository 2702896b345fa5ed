"""``signalml machines``: which machines are in alarm, what was heard of one, and that somebody has seen it."""

import getpass
import os
from typing import Annotated

import typer
from rich.table import Table

from api.settings import Settings
from cli.output import print_table
from ml.machines import Acknowledgement, Alarm, Drift, Health, Ledger, Summary
from ml.revisions import now

NOTHING = "No machines yet: upload recordings with  ?machine_id=NAME"


def machines(
    machine_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One machine, whole; all of them if left out.")
    ] = None,
    acknowledge: Annotated[
        str | None, typer.Option(metavar="NOTE", help="Say that its alarm was seen: it is silent until it clears.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who has seen it; else whoever is logged in.")] = None,
) -> None:
    """Machines over time: which are in alarm, how often they sounded anomalous, whether their scores have moved."""
    if acknowledge is not None and machine_id is None:
        raise typer.BadParameter("an alarm is that of one machine: name it", param_hint="--acknowledge")
    settings = Settings()
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        if machine_id is None:
            _print_all(ledger.summaries())
        elif acknowledge is not None:
            said = Acknowledgement(now(), by or _logged_in(), None, acknowledge)
            typer.echo(f"alarm {ledger.acknowledge(machine_id, said).id} of {machine_id} is acknowledged")
        else:
            _print_one(ledger.health(machine_id, latest=0))


def _print_all(summaries: list[Summary]) -> None:
    table = Table("machine", "state", "anomalous", "not judged", "drift", "heard", "version", box=None)
    for summary in summaries:
        table.add_row(
            summary.machine_id,
            summary.state,
            f"{summary.anomalous} of {summary.of}",
            str(summary.unusable),
            _drift(summary.drift),
            summary.heard_at[:19],
            summary.version,
        )
    print_table(table, NOTHING)


def _print_one(health: Health) -> None:
    _print_all([health.summary])
    versions = Table("version", "verdicts", "anomalous", "median score", "threshold", "drift", "since", box=None)
    for version in health.versions:
        versions.add_row(
            version.version,
            str(version.observations),
            f"{version.recent_anomalous} of the last {version.recent_n}",
            _number(version.recent_median),
            _number(version.threshold),
            _drift(version.drift),
            version.first_at[:19],
        )
    typer.echo("")
    print_table(versions, "")
    alarms = Table("alarm", "raised", "by", "cleared", "acknowledged", box=None)
    for alarm in health.alarms:
        by = f"{alarm.anomalous} of {alarm.of}, {alarm.version}"
        alarms.add_row(str(alarm.id), alarm.raised_at[:19], by, (alarm.cleared_at or "-")[:19], _seen(alarm))
    typer.echo("")
    print_table(alarms, "No alarms.")


def _logged_in() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _drift(drift: Drift) -> str:
    if drift.p_value is None or drift.effect is None:
        return drift.state
    counts = f"{drift.reference_n} and {drift.recent_n}"
    return f"{drift.state} (p {drift.p_value:.2g}, effect {drift.effect:.2f}, n {counts})"


def _seen(alarm: Alarm) -> str:
    said = alarm.acknowledged
    return "-" if said is None else f"{said.at[:19]}, {said.by}: {said.note}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
