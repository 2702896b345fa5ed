"""``signalml sinks``: where alerts go."""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.table import Table

from api.settings import Settings
from cli.entries import (
    NOT_RUNNING,
    SECRET_FILE_HELP,
    SET_HELP,
    complete_url,
    given,
    listener_status,
    merge,
    name_from,
    parse_fields,
    print_json,
    print_problems,
    read_secret,
    value_table,
    values_of,
)
from cli.home import created_home
from cli.lazy import MARKUP, DefaultGroup
from cli.output import CONFIRM_HELP, print_note, print_table, require_confirmation
from cli.times import TIME_HELP, local_time, parse_time
from listener.client import ListenerClient
from listener.config import shown_values, sink_file
from listener.entry import MQTT_SCHEMES, WEB_SCHEMES, hide_credentials
from listener.sink_types import MAIL_SCHEMES
from listener.status import SinkStatus
from ml.errors import InvalidParameter
from ml.system.text import printable

SECRET_BYTES = 32
NO_SINKS = "No sinks yet:  signalml sinks add mqtt://broker:1883 --home-assistant"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sink.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MachineOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only alerts of these machines, such as 'hall-3/*'; may be repeated."),
]
ChangeOption = Annotated[
    list[str] | None,
    typer.Option(help="Only these changes: began, worsened, ended, interrupted; may be repeated."),
]
QuietOption = Annotated[
    list[str] | None, typer.Option(metavar="HOURS", help="Local hours without alerts: '22:00-06:00'; may be repeated.")
]
DurationOption = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="How long an event must last before it is sent.")
]
CooldownOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Time without further alerts of a machine, unless they are worse."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP.format(example="rules.digest_above=50", page="alerts")),
]
SecretFileOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help=SECRET_FILE_HELP.format(what="the password, API key or webhook secret")),
]

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
        print_json([_as_json(entry, states.get(name)) for name, entry in found.entries.items()])
        return
    table = Table("sink", "kind", "state", "waiting", "dead", "delivered", "address", "last error", box=None)
    for name, entry in found.entries.items():
        table.add_row(*_cells(entry, states.get(name)))
    print_table(table, NO_SINKS)
    if found.entries and status is None:
        print_note(NOT_RUNNING)


@app.command(epilog="Example:  `signalml sinks show broker`")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show all values of a sink and its state. Secrets are not shown."""
    home = Settings().home
    entry, status = sink_file(home).get(name), listener_status(home)
    state = next((each for each in status.sinks if each.name == name), None) if status else None
    if as_json:
        print_json(_as_json(entry, state))
        return
    print_table(value_table(entry, {} if state is None else {"now": _state_values(state)}), "")
    if status is None:
        print_note(NOT_RUNNING)


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
    kind = _kind(address, service)
    values = {
        "name": name or name_from(urlsplit(address).hostname or "", list(file.read().entries)),
        "kind": kind,
        "server" if kind == "email" else "url": complete_url(address, secret_file),
        **given(topic=topic, to=to, sender=sender, home_assistant=home_assistant or None),
        **given(allow_private=allow_private or None),
        "rules": _rules(machine, change, quiet, min_duration, cooldown),
    }
    values = merge(values, parse_fields(set_ or []))
    file.validate(values)  # before a secret is asked for
    secret, shown = _secret(kind, secret_file)
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
    changed = given(enabled=enabled) | {"rules": _rules(machine, changes, quiet, min_duration, cooldown)}
    if url is not None:
        changed["server" if entry.kind == "email" else "url"] = complete_url(url, secret_file)
    elif secret_file is not None:
        changed |= _new_secret(entry, secret_file)
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


def _kind(address: str, service: bool) -> str:
    scheme = urlsplit(address).scheme
    if scheme in WEB_SCHEMES:
        return "service" if service else "webhook"
    if service:
        raise InvalidParameter("--service needs an address with http:// or https://.")
    if scheme in MQTT_SCHEMES:
        return "mqtt"
    if scheme in MAIL_SCHEMES:
        return "email"
    schemes = ", ".join(f"{each}://" for each in (*MQTT_SCHEMES, *WEB_SCHEMES, *MAIL_SCHEMES))
    raise InvalidParameter(f"The address is {hide_credentials(address)!r}; one of {schemes} was expected.")


def _rules(
    machines: Sequence[str] | None,
    changes: Sequence[str] | None,
    quiet: Sequence[str] | None,
    min_duration: float | None,
    cooldown: float | None,
) -> dict[str, Any]:
    return given(
        machines=machines, changes=changes, quiet_hours=quiet, min_duration_s=min_duration, cooldown_s=cooldown
    )


def _secret(kind: str, file: str | None) -> tuple[dict[str, str], str | None]:
    """Return the secret of a new sink, and the text to show once: only of a secret that is made here."""
    if kind == "service":
        found = read_secret(file, "API key of the service")
        return given(api_key=found), None
    if kind != "webhook":
        return {}, None
    if file is not None:
        return {"secret": str(read_secret(file, ""))}, None
    made = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return {"secret": made}, made


def _new_secret(entry: Any, file: str) -> dict[str, str]:
    secret = str(read_secret(file, ""))
    if entry.kind in ("webhook", "service"):
        return {"secret" if entry.kind == "webhook" else "api_key": secret}
    raise InvalidParameter("--secret-file of this kind of sink needs --url, too, with the user of the password.")


def _cells(entry: Any, state: SinkStatus | None) -> tuple[str, ...]:
    values = shown_values(entry)
    address = values.get("url") or values.get("server") or ""
    counts = ("-", "-", "-", address, "") if state is None else (
        str(state.waiting), str(state.dead), str(state.delivered), address, state.last_error or ""
    )  # fmt: skip
    return (entry.name, entry.kind, _state(entry), *counts)


def _state(entry: Any) -> str:
    if not entry.enabled:
        return "disabled"
    if entry.muted_until and datetime.fromisoformat(entry.muted_until) > datetime.now(UTC):
        return f"muted until {local_time(entry.muted_until)}"
    return "in use"


def _as_json(entry: Any, state: SinkStatus | None) -> dict[str, Any]:
    return shown_values(entry) | {"now": None if state is None else _state_values(state)}


def _state_values(state: SinkStatus) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__slots__ if name not in ("name", "kind")}
