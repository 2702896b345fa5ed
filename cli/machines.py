"""``signalml machines``: state of machines, and acknowledgement of alarms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.settings import Settings
from cli.lazy import MARKUP, DefaultGroup
from cli.output import CONFIRM_HELP, print_note, print_table, print_text, require_confirmation
from ml.errors import MachineNotFound, ModelError
from ml.machines.alarms import Acknowledgement, Alarm
from ml.machines.drift import Drift
from ml.machines.false_alarms import expect_false_alarms
from ml.machines.health import Health, HealthSummary
from ml.machines.ledger import Ledger
from ml.machines.limits import OBSERVATIONS_KEPT
from ml.models.bundle import Bundle
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.system.audit import user_name
from ml.system.clock import timestamp

NAMES_SHOWN = 8
NO_MACHINES = "No machines yet: upload recordings with  ?machine_id=NAME"


app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=MARKUP,
    help="Show the machines: their alarms, their last verdicts, and whether their scores drift.\n\n"
    "`signalml machines` lists all machines, `signalml machines ID` shows one; see `signalml machines show --help`.",
)


@app.command(
    epilog='Example:  `signalml machines`,  then  `signalml machines fan-3 --acknowledge "Bearing ordered"`',
)
def show(
    machine_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Name or id of one machine; default: all machines.")
    ] = None,
    acknowledge: Annotated[
        str | None, typer.Option(metavar="NOTE", help="Acknowledge the alarm; it is then silent until it clears.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Person who has seen the alarm; default: the user.")] = None,
) -> None:
    """Show the machines: their alarms, their last verdicts, and whether their scores drift."""
    if acknowledge is not None and machine_id is None:
        raise typer.BadParameter("the ID of a machine was expected, too", param_hint="--acknowledge")
    if by is not None and acknowledge is None:
        raise typer.BadParameter("--acknowledge NOTE was expected, too", param_hint="--by")
    settings = Settings()
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        if machine_id is None:
            _print_all(ledger.summaries(), settings.home)
            return
        machine_id = _full_name(machine_id, list(ledger.states()))
        if acknowledge is not None:
            acknowledgement = Acknowledgement(timestamp(), by or user_name(), None, acknowledge)
            typer.echo(f"alarm {ledger.acknowledge(machine_id, acknowledgement).id} of {machine_id} is acknowledged")
        else:
            _print_one(ledger.health(machine_id, latest=0), settings)


@app.command(epilog="Example:  `signalml machines history fan-3 --latest 100`")
def history(
    machine_id: Annotated[str, typer.Argument(metavar="ID", help="Name or id of the machine.")],
    latest: Annotated[
        int, typer.Option(min=1, max=OBSERVATIONS_KEPT, help="Largest number of recordings, the newest first.")
    ] = 20,
) -> None:
    """Show the last verdicts on a machine, in the order of the times of its recordings."""
    settings = Settings()
    with Ledger(settings.home, rule=settings.alarm_rule) as ledger:
        found = ledger.health(_full_name(machine_id, list(ledger.states())), latest).latest
    table = Table("recorded", "verdict", "score", "label", "time from", "repeats", "version", box=None)
    for each in found:
        judged = each.judged
        table.add_row(
            each.recorded_at[:19],
            each.verdict,
            _number(each.score if judged else None),
            each.label if judged else "-",
            each.time_from,
            str(each.repeats),
            each.version,
        )
    print_table(table, "No recordings.", keys=3)


@app.command(epilog="Example:  `signalml machines remove fan-3 --confirm fan-3`")
def remove(
    machine_id: Annotated[str, typer.Argument(metavar="ID", help="Full name of the machine.")],
    confirm: Annotated[str | None, typer.Option(metavar="ID", help=CONFIRM_HELP)] = None,
) -> None:
    """Remove the record of a machine: its verdicts and alarms. A later recording starts a new record."""
    with Ledger(Settings().home) as ledger:
        if not ledger.has_machine(machine_id):
            raise MachineNotFound(f"There is no record of {machine_id!r}; signalml machines  lists all records.")
        require_confirmation(machine_id, confirm)
        ledger.remove(machine_id)
    typer.echo(f"{machine_id} is removed")


def _full_name(requested: str, recorded: Sequence[str]) -> str:
    """Return the full name of a machine, from its name or from an id that only one machine has.

    Raises:
        MachineNotFound: several machines have this id.
    """
    with_id = [name for name in recorded if name.rpartition("/")[2] == requested]
    if requested in recorded or not with_id:
        return requested
    if len(with_id) > 1:
        raise MachineNotFound(
            f"{requested} is the id of {', '.join(with_id)}; the full name of one of them was expected."
        )
    return with_id[0]


def _print_all(summaries: list[HealthSummary], home: Path) -> None:
    champion = _champion(home)
    unknown = {summary.machine_id for summary in summaries if _is_unknown_machine(summary.machine_id, champion)}
    table = Table("machine", "state", "last recording", "version", "anomalous", "not judged", "drift", box=None)
    for summary in summaries:
        table.add_row(
            f"{summary.machine_id} *" if summary.machine_id in unknown else summary.machine_id,
            summary.state,
            summary.heard_at[:19],
            summary.version,
            f"{summary.anomalous} of {summary.n_verdicts}",
            str(summary.unusable),
            _drift(summary.drift),
        )
    print_table(table, NO_MACHINES)
    for summary in summaries:
        if summary.identical > 1:
            print_note(
                f"{summary.machine_id}: the bytes of the last recording arrived {summary.identical} times, at least "
                "10 minutes apart: the recorder sends an old file again."
            )
    if unknown and champion is not None:
        print_text(f"* {_unknown_machine_note(champion)}", hanging="  ")


def _champion(home: Path) -> Bundle | None:
    try:
        return Registry(home).read("champion")
    except ModelError:  # the records of machines can be read without a model
        return None


def _served(home: Path) -> ServedModel | None:
    try:
        return Registry(home).read_served("champion")
    except ModelError:
        return None


def _is_unknown_machine(machine_id: str, champion: Bundle | None) -> bool:
    """Return whether the champion has a detector that has not learned this machine."""
    detector = None if champion is None else champion.content.detector
    return detector is not None and detector.resolve_machine(machine_id) is None


def _unknown_machine_note(champion: Bundle) -> str:
    learned = [] if champion.content.detector is None else list(filter(None, champion.content.detector.machines))
    names = ", ".join(learned[:NAMES_SHOWN]) + (", ..." if len(learned) > NAMES_SHOWN else "")
    return (
        f"The champion, {champion.version}, has not learned a machine of this name, and compares its recordings with "
        f"the most similar machine. It has learned: {names or 'a machine without a name'}."
    )


def _print_one(health: Health, settings: Settings) -> None:
    _print_all([health.summary], settings.home)
    expected, unknown = expect_false_alarms(_served(settings.home), settings.alarm_rule, health.every_s)
    typer.echo("")
    print_text(f"Time between false alarms: {unknown}" if expected is None else expected.basis)
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
    alarms = Table("alarm", "raised", "anomalous verdicts", "cleared", "acknowledged", box=None)
    for alarm in health.alarms:
        verdicts = f"{alarm.anomalous} of {alarm.n_verdicts}, {alarm.version}"
        cleared = (alarm.cleared_at or "-")[:19]
        alarms.add_row(str(alarm.id), alarm.raised_at[:19], verdicts, cleared, _acknowledgement(alarm))
    typer.echo("")
    print_table(alarms, "No alarms.")


def _drift(drift: Drift) -> str:
    if drift.p_value is None or drift.effect is None:
        return drift.state
    counts = f"{drift.reference_n} and {drift.recent_n}"
    return f"{drift.state} (p {drift.p_value:.2g}, effect {drift.effect:.2f}, n {counts})"


def _acknowledgement(alarm: Alarm) -> str:
    found = alarm.acknowledged
    return "-" if found is None else f"{found.at[:19]}, {found.by}: {found.note}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
