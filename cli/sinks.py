"""``signalml sinks``: where alerts go."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.table import Table

from api.settings import Settings
from cli.entries import (
    NOT_RUNNING,
    complete_url,
    entry_as_json,
    given,
    listener_status,
    merge,
    name_from,
    parse_fields,
    print_entry,
    print_json,
    print_problems,
    values_of,
)
from cli.home import created_home
from cli.lazy import MARKUP, DefaultGroup
from cli.output import CONFIRM_HELP, print_note, print_table, require_confirmation
from cli.sink_values import (
    ChangeOption,
    CooldownOption,
    DurationOption,
    MachineOption,
    QuietOption,
    SecretFileOption,
    SetOption,
    changed_secret,
    kind_of,
    new_secret,
    rules_of,
)
from cli.times import TIME_HELP, local_time, parse_time
from listener.alerts.outbox import Counts, Outbox
from listener.config.files import shown_values, sink_file
from listener.events.store import EventStore
from listener.live.client import ListenerClient
from listener.status import SinkStatus
from ml.errors import InvalidParameter
from ml.system.audit import record_change
from ml.system.text import printable

NO_SINKS = "No sinks yet:  signalml sinks add mqtt://broker:1883 --home-assistant"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sink.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=MARKUP,
    help="Add, list, test, mute and remove the places that alerts go to.\n\n"
    "`signalml sinks` lists all sinks with their states; see `signalml sinks list --help`.",
)


@app.command("list", epilog="Example:  `signalml sinks`,  or  `signalml sinks --json`")
def list_(as_json: JsonOption = False) -> None:
    """List all sinks with their states."""
    home = Settings().home
    found, status = sink_file(home).read(), listener_status(home)
    states = {} if status is None else {each.name: each for each in status.sinks}
    print_problems(found)
    if as_json:
        print_json([entry_as_json(entry, states.get(name)) for name, entry in found.entries.items()])
        return
    table = Table("sink", "kind", "state", "waiting", "given up", "delivered", "address", "last error", box=None)
    with EventStore(home) as store:
        counts = Outbox(store).counts()
    for name, entry in found.entries.items():
        table.add_row(*_cells(entry, counts.get(name, Counts()), states.get(name)))
    print_table(table, NO_SINKS)
    if found.entries and status is None:
        print_note(NOT_RUNNING)


@app.command(epilog="Example:  `signalml sinks show broker`")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show all values of a sink and its state. Secrets are not shown."""
    home = Settings().home
    status = listener_status(home)
    print_entry(sink_file(home).get(name), None if status is None else status.sinks, as_json)


@app.command(
    epilog="Examples:  `signalml sinks add mqtt://user@broker:1883 --home-assistant`,  `signalml sinks add "
    "https://example.org/alerts --machine 'hall-3/*'`,  `signalml sinks add smtp://user@mail.example.org:587 --from "
    "fan@example.org --to lee@example.org`,  `signalml sinks add https://central.example.org --service`"
)
def add(
    address: Annotated[
        str, typer.Argument(metavar="URL", help="mqtt:// or mqtts://, http:// or https://, smtp:// or smtps://.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the sink; default: made of the name of the host.")] = None,
    service: Annotated[
        bool, typer.Option("--service", help="The address is one of another signalml service, not a webhook.")
    ] = False,
    home_assistant: Annotated[
        bool, typer.Option("--home-assistant", help="Announce each machine as a device of Home Assistant; for mqtt.")
    ] = False,
    topic: Annotated[str | None, typer.Option(help="First part of all topics; for mqtt. Default: signalml.")] = None,
    to: Annotated[list[str] | None, typer.Option(metavar="EMAIL", help="Receiver; may be repeated. For smtp.")] = None,
    sender: Annotated[str | None, typer.Option("--from", metavar="EMAIL", help="Sender; for smtp.")] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="The webhook may be in a private network, or on this computer.")
    ] = False,
    machine: MachineOption = None,
    change: ChangeOption = None,
    quiet: QuietOption = None,
    min_duration: DurationOption = None,
    cooldown: CooldownOption = None,
    secret_file: SecretFileOption = None,
    set_: SetOption = None,
) -> None:
    """Add a sink. A listener that runs takes it up within two seconds."""
    file = sink_file(created_home().home)
    kind = kind_of(address, service)
    values = {
        "name": name or name_from(urlsplit(address).hostname or "", list(file.read().entries)),
        "kind": kind,
        "server" if kind == "email" else "url": complete_url(address, secret_file),
        **given(topic=topic, to=to, sender=sender, home_assistant=home_assistant or None),
        **given(allow_private=allow_private or None),
        "rules": rules_of(machine, change, quiet, min_duration, cooldown),
    }
    values = merge(values, parse_fields(set_ or []))
    file.validate(values)  # before a secret is asked for
    secret, shown = new_secret(kind, secret_file)
    entry = file.add(merge(values, secret))
    typer.echo(f"sink {printable(entry.name)} is added ({kind}); to test it:  signalml sinks test {entry.name}")
    if shown is not None:
        typer.echo(f"secret of its signatures, shown only now: {shown}")


@app.command(
    epilog="Examples:  `signalml sinks change broker --quiet 22:00-06:00`,  `signalml sinks change broker --disable`,  "
    "`signalml sinks change hook --url https://example.org/other`"
)
def change(
    name: NameArgument,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Address.")] = None,
    machine: MachineOption = None,
    changes: Annotated[
        list[str] | None, typer.Option("--change", help="Only these changes; see signalml sinks add --help.")
    ] = None,
    quiet: QuietOption = None,
    min_duration: DurationOption = None,
    cooldown: CooldownOption = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it is used.")] = None,
    secret_file: SecretFileOption = None,
    set_: SetOption = None,
) -> None:
    """Change values of a sink; the others stay."""
    file = sink_file(created_home().home)
    entry = file.get(name)
    changed = given(enabled=enabled) | {"rules": rules_of(machine, changes, quiet, min_duration, cooldown)}
    if url is not None:
        changed["server" if entry.kind == "email" else "url"] = complete_url(url, secret_file)
    elif secret_file is not None:
        changed |= changed_secret(entry, secret_file)
    file.replace(name, merge(merge(values_of(entry), changed), parse_fields(set_ or [])))
    typer.echo(f"sink {printable(name)} is changed")


@app.command(epilog="Example:  `signalml sinks test broker`")
def test(name: NameArgument) -> None:
    """Send a test message to a sink, and wait for the result."""
    home = Settings().home
    sink_file(home).get(name)
    ListenerClient(home).test_sink(name)
    typer.echo(f"sink {printable(name)} took the test message")


@app.command(epilog="Example:  `signalml sinks mute broker --for 2h`,  or  `--until 2026-11-28T06:00`")
def mute(
    name: NameArgument,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="How long: 30min, 2h or 7d.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until when: " + TIME_HELP.format(way="from now"))
    ] = None,
) -> None:
    """Send nothing to a sink for some time."""
    if (for_ is None) == (until is None):
        raise InvalidParameter("One of --for and --until was expected.")
    end = parse_time(str(for_ or until), datetime.now(UTC))
    file = sink_file(created_home().home)
    file.replace(name, values_of(file.get(name)) | {"muted_until": end})
    typer.echo(f"sink {printable(name)} gets no alerts until {local_time(end)}")


@app.command(epilog="Example:  `signalml sinks unmute broker`")
def unmute(name: NameArgument) -> None:
    """Send alerts to a muted sink again."""
    file = sink_file(created_home().home)
    file.replace(name, merge(values_of(file.get(name)), {"muted_until": None}))
    typer.echo(f"sink {printable(name)} gets alerts")


@app.command(epilog="Example:  `signalml sinks remove broker --confirm broker`")
def remove(
    name: NameArgument,
    confirm: Annotated[str | None, typer.Option(metavar="NAME", help=CONFIRM_HELP)] = None,
) -> None:
    """Remove a sink. Alerts that wait for it are not sent."""
    file = sink_file(created_home().home)
    file.get(name)
    require_confirmation(name, confirm)
    file.remove(name)
    typer.echo(f"sink {printable(name)} is removed")


@app.command(epilog="Example:  `signalml sinks dead`,  or  `signalml sinks dead broker`")
def dead(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of the sink; default: all.")] = None,
) -> None:
    """List the alerts that were given up, with the reason. They can be sent again."""
    table = Table("sink", "alert", "machine", "change", "written", "attempts", "error", box=None)
    with EventStore(Settings().home) as store:
        for alert in Outbox(store).dead(name):
            written = local_time(datetime.fromtimestamp(alert.created, UTC).isoformat())
            cells = (alert.machine_id or "-", alert.change, written, str(alert.attempts), alert.error)
            table.add_row(alert.sink, alert.id, *cells)
    print_table(table, "No alerts were given up.", keys=2)


@app.command(
    epilog="Examples:  `signalml sinks resend broker`,  `signalml sinks resend broker --delete`,  `signalml sinks "
    "resend broker --alert 019ac7d2f1e84c7b9a3e51d0c2b7-12`"
)
def resend(
    name: NameArgument,
    alert: Annotated[str | None, typer.Option(metavar="ID", help="Only this alert; default: all.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them instead.")] = False,
) -> None:
    """Send the alerts again that were given up. A listener that runs begins within two seconds."""
    home = Settings().home
    with EventStore(home) as store:
        outbox = Outbox(store)
        count = outbox.delete_dead(name, alert) if delete else outbox.send_again(name, alert)
    record_change(home, "sink.delete_dead" if delete else "sink.resend", name, after={"alerts": count})
    typer.echo(f"{count} alerts are deleted" if delete else f"{count} alerts wait for their delivery again")


def _cells(entry: Any, counts: Counts, state: SinkStatus | None) -> tuple[str, ...]:
    values = shown_values(entry)
    delivered, error = ("-", "") if state is None else (str(state.delivered), state.last_error or "")
    address = values.get("url") or values.get("server") or ""
    return (entry.name, entry.kind, _state(entry), str(counts.waiting), str(counts.dead), delivered, address, error)


def _state(entry: Any) -> str:
    if not entry.enabled:
        return "disabled"
    if entry.muted_until and datetime.fromisoformat(entry.muted_until).astimezone(UTC) > datetime.now(UTC):
        return f"muted until {local_time(entry.muted_until)}"
    return "in use"
