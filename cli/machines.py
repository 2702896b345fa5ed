"""``signalml machines``: which machines are in alarm, what was heard of one, and that somebody has seen it."""

import getpass
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.settings import Settings
from cli.output import print_table, print_text
from ml.errors import MachineNotFound, ModelError
from ml.machines.alarms import Acknowledgement, Alarm
from ml.machines.drift import Drift
from ml.machines.health import Health, HealthSummary
from ml.machines.ledger import Ledger
from ml.models.bundle import Bundle
from ml.models.registry import Registry
from ml.system.clock import timestamp

NAMES_SHOWN = 8
NOTHING = "No machines yet: upload recordings with  ?machine_id=NAME"


def machines(
    machine_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One machine, by its name or its id; all of them if left out.")
    ] = None,
    acknowledge: Annotated[
        str | None, typer.Option(metavar="NOTE", help="Say that its alarm was seen: it is silent until it clears.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who has seen it; else whoever is logged in.")] = None,
) -> None:
    """Show the machines: their alarms, their last verdicts, and whether their scores drift."""
    if acknowledge is not None and machine_id is None:
        raise typer.BadParameter("an alarm is that of one machine: name it", param_hint="--acknowledge")
    if by is not None and acknowledge is None:
        raise typer.BadParameter("it says who has seen an alarm: add --acknowledge NOTE", param_hint="--by")
    settings = Settings()
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        if machine_id is None:
            _print_all(ledger.summaries(), settings.home)
            return
        machine_id = _whole_name(machine_id, list(ledger.states()))
        if acknowledge is not None:
            said = Acknowledgement(timestamp(), by or _logged_in(), None, acknowledge)
            typer.echo(f"alarm {ledger.acknowledge(machine_id, said).id} of {machine_id} is acknowledged")
        else:
            _print_one(ledger.health(machine_id, latest=0), settings.home)


def _whole_name(requested: str, remembered: Sequence[str]) -> str:
    """The name itself or, where it is the id of one machine alone, that machine's.

    Raises:
        MachineNotFound: it is the id of several.
    """
    alike = [name for name in remembered if name.rpartition("/")[2] == requested]
    if requested in remembered or not alike:
        return requested
    if len(alike) > 1:
        raise MachineNotFound(
            f"{requested} is the id of {', '.join(alike)}; the whole name of one of them was expected."
        )
    return alike[0]


def _print_all(summaries: list[HealthSummary], home: Path) -> None:
    champion = _champion(home)
    strange = {summary.machine_id for summary in summaries if _is_unknown_machine(summary.machine_id, champion)}
    table = Table("machine", "state", "heard", "version", "anomalous", "not judged", "drift", box=None)
    for summary in summaries:
        table.add_row(
            f"{summary.machine_id} *" if summary.machine_id in strange else summary.machine_id,
            summary.state,
            summary.heard_at[:19],
            summary.version,
            f"{summary.anomalous} of {summary.n_verdicts}",
            str(summary.unusable),
            _drift(summary.drift),
        )
    print_table(table, NOTHING)
    if strange and champion is not None:
        print_text(f"* {_unknown_machine_note(champion)}", hanging="  ")


def _champion(home: Path) -> Bundle | None:
    try:
        return Registry(home).read("champion")
    except ModelError:  # what is remembered of machines can be read without a model
        return None


def _is_unknown_machine(machine_id: str, champion: Bundle | None) -> bool:
    """Whether the champion has a detector, and that has not learned this machine."""
    detector = None if champion is None else champion.content.detector
    return detector is not None and detector.resolve_machine(machine_id) is None


def _unknown_machine_note(champion: Bundle) -> str:
    learned = [] if champion.content.detector is None else list(filter(None, champion.content.detector.machines))
    names = ", ".join(learned[:NAMES_SHOWN]) + (", ..." if len(learned) > NAMES_SHOWN else "")
    return (
        f"The champion, {champion.version}, has learned no machine of that name, and compares it with the one that it "
        f"is most like. It has learned: {names or 'one that has no name'}."
    )


def _print_one(health: Health, home: Path) -> None:
    _print_all([health.summary], home)
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
        by = f"{alarm.anomalous} of {alarm.n_verdicts}, {alarm.version}"
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
