"""``signalml sources``: microphones, streams and folders that the listener records."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from api.settings import Settings
from cli.entries import (
    NOT_RUNNING,
    SECRET_FILE_HELP,
    SET_HELP,
    complete_url,
    entry_as_json,
    given,
    listener_status,
    merge,
    parse_fields,
    print_entry,
    print_json,
    print_problems,
    values_of,
)
from cli.home import created_home
from cli.lazy import MARKUP, DefaultGroup
from cli.output import CONFIRM_HELP, print_note, print_table, require_confirmation
from listener.config.files import source_file
from listener.config.source_types import SourceEntry
from listener.status import SourceStatus
from ml.errors import InvalidParameter
from ml.system.text import printable

# Options that decide the kind of a source: their kind, and their field.
KIND_OPTIONS = {
    "url": ("stream", "url"),
    "device": ("device", "device"),
    "folder": ("folder", "path"),
    "pipe": ("pipe", "path"),
    "mqtt": ("mqtt", "url"),
}
KINDS_EXPECTED = ", ".join(f"--{name}" for name in KIND_OPTIONS)
NO_SOURCES = "No sources yet:  signalml sources add NAME --device default --machine fan-3"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the source.")]
UrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="A stream: rtsp, rtsps, http, https, udp, rtp or srt.")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE", help="A microphone: default, pulse:NAME or alsa:NAME; signalml listen --devices lists them."
    ),
]
FolderOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="A folder into which other recorders write files.")
]
PipeOption = Annotated[str | None, typer.Option(metavar="PATH", help="A named pipe with raw PCM; - is stdin.")]
MqttOption = Annotated[str | None, typer.Option(metavar="URL", help="An MQTT broker to which devices send audio.")]
TopicOption = Annotated[str | None, typer.Option(help="Topic of the audio; for --mqtt.")]
ModelOption = Annotated[str | None, typer.Option(help="Alias or version that judges it; default: champion.")]
ClipOption = Annotated[
    float | None, typer.Option("--clip", metavar="SECONDS", help="Length of a clip that is judged; default: 10.")
]
HopOption = Annotated[
    float | None,
    typer.Option("--hop", metavar="SECONDS", help="Time from one clip to the next; default: the length of a clip."),
]
ChannelOption = Annotated[int | None, typer.Option(help="The one channel to use, from 0; default: all.")]
HoursOption = Annotated[
    list[str] | None,
    typer.Option(help="Local hours in which it is judged, such as 'Mon-Fri 06:00-22:00'; may be repeated."),
]
LevelOption = Annotated[
    float | None, typer.Option(metavar="DBFS", help="Level above which the machine runs; quieter clips do not count.")
]
NoteOption = Annotated[str | None, typer.Option(help="Text for people, such as the position of the microphone.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP.format(example="sample_rate_hz=48000", page="listening")),
]
PasswordFileOption = Annotated[
    str | None, typer.Option(metavar="FILE", help=SECRET_FILE_HELP.format(what="the password of the user in the URL"))
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=MARKUP,
    help="Add, list, change and remove the microphones, streams and folders that the listener records.\n\n"
    "`signalml sources` lists all sources with their states; see `signalml sources list --help`.",
)


@app.command("list", epilog="Example:  `signalml sources`,  or  `signalml sources --json`")
def list_(as_json: JsonOption = False) -> None:
    """List all sources with their states."""
    home = Settings().home
    found, status = source_file(home).read(), listener_status(home)
    states = {} if status is None else {each.name: each for each in status.sources}
    print_problems(found)
    if as_json:
        print_json([entry_as_json(entry, states.get(name)) for name, entry in found.entries.items()])
        return
    table = Table("source", "machine", "state", "level", "score", "verdict", "judged", "kind", "cause", box=None)
    for name, entry in found.entries.items():
        table.add_row(*_cells(entry, states.get(name), status is not None))
    print_table(table, NO_SOURCES)
    if found.entries and status is None:
        print_note(NOT_RUNNING)


@app.command(epilog="Example:  `signalml sources show hall-3`")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show all values of a source and its state. Passwords are not shown."""
    home = Settings().home
    status = listener_status(home)
    print_entry(source_file(home).get(name), None if status is None else status.sources, as_json)


@app.command(
    epilog="Examples:  `signalml sources add hall-3 --url rtsp://camera-7/audio --machine pump-1`,  `signalml sources "
    "add desk --device default --machine fan-3 --hop 5`,  `signalml sources add nas --folder /mnt/nas/hall "
    "--machine fan-3`,  `signalml sources add node --mqtt mqtt://broker:1883 --topic nodes/7/audio --machine fan-7`"
)
def add(
    name: NameArgument,
    machine: Annotated[str, typer.Option(metavar="ID", help="Machine that it records.")],
    url: UrlOption = None,
    device: DeviceOption = None,
    folder: FolderOption = None,
    pipe: PipeOption = None,
    mqtt: MqttOption = None,
    topic: TopicOption = None,
    model: ModelOption = None,
    clip_s: ClipOption = None,
    hop_s: HopOption = None,
    channel: ChannelOption = None,
    hours: HoursOption = None,
    min_level: LevelOption = None,
    note: NoteOption = None,
    password_file: PasswordFileOption = None,
    set_: SetOption = None,
) -> None:
    """Add a source. A listener that runs takes it up within two seconds."""
    place = read_place(given(url=url, device=device, folder=folder, pipe=pipe, mqtt=mqtt), password_file)
    if place is None:
        raise InvalidParameter(f"One of {KINDS_EXPECTED} was expected.")
    options = given(topic=topic, model=model, clip_s=clip_s, hop_s=hop_s, channel=channel, note=note)
    values = {"name": name, "machine_id": machine, **place, **options, "schedule": _schedule(hours, min_level)}
    entry = source_file(created_home().home).add(merge(values, parse_fields(set_ or [])))
    typer.echo(f"source {printable(name)} is added: it records {entry.machine_id}")


@app.command(
    epilog="Examples:  `signalml sources change hall-3 --hop 5 --note 'On the bracket, gain 20 dB'`,  `signalml "
    "sources change hall-3 --disable`,  `signalml sources change hall-3 --set schedule.min_level_dbfs=`"
)
def change(
    name: NameArgument,
    machine: Annotated[str | None, typer.Option(metavar="ID", help="Machine that it records.")] = None,
    url: UrlOption = None,
    device: DeviceOption = None,
    folder: FolderOption = None,
    pipe: PipeOption = None,
    mqtt: MqttOption = None,
    topic: TopicOption = None,
    model: ModelOption = None,
    clip_s: ClipOption = None,
    hop_s: HopOption = None,
    channel: ChannelOption = None,
    hours: HoursOption = None,
    min_level: LevelOption = None,
    note: NoteOption = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it is used.")] = None,
    password_file: PasswordFileOption = None,
    set_: SetOption = None,
) -> None:
    """Change values of a source; the others stay."""
    place = read_place(given(url=url, device=device, folder=folder, pipe=pipe, mqtt=mqtt), password_file)
    options = given(
        machine_id=machine, topic=topic, model=model, clip_s=clip_s, hop_s=hop_s, channel=channel, note=note,
        enabled=enabled,
    )  # fmt: skip
    changes = merge(options | {"schedule": _schedule(hours, min_level)}, place or {})
    file = source_file(created_home().home)
    present = values_of(file.get(name))
    if place is not None and place["kind"] != present["kind"]:  # only fields that every kind has are kept
        present = {field: value for field, value in present.items() if field in SourceEntry.model_fields}
    file.replace(name, merge(merge(present, changes), parse_fields(set_ or [])))
    typer.echo(f"source {printable(name)} is changed")


@app.command(epilog="Example:  `signalml sources remove hall-3 --confirm hall-3`")
def remove(
    name: NameArgument,
    confirm: Annotated[str | None, typer.Option(metavar="NAME", help=CONFIRM_HELP)] = None,
) -> None:
    """Remove a source. Its events and the record of its machine are kept."""
    file = source_file(created_home().home)
    file.get(name)
    require_confirmation(name, confirm)
    file.remove(name)
    typer.echo(f"source {printable(name)} is removed")


def read_place(options: dict[str, str], password_file: str | None = None) -> dict[str, Any] | None:
    """Return kind and place of a source from the one option that names it; None without one.

    Raises:
        InvalidParameter: several were given.
    """
    if not options:
        return None
    if len(options) > 1:
        named = " and ".join(f"--{name}" for name in options)
        raise InvalidParameter(f"{named} were given; one of {KINDS_EXPECTED} was expected.")
    ((option, value),) = options.items()
    kind, field = KIND_OPTIONS[option]
    if field == "url":
        value = complete_url(value, password_file)
    elif field == "path" and value != "-":
        value = str(Path(value).absolute())
    return {"kind": kind, field: value}


def _schedule(hours: list[str] | None, min_level: float | None) -> dict[str, Any]:
    return given(hours=hours, min_level_dbfs=min_level)


def _cells(entry: Any, state: SourceStatus | None, running: bool) -> tuple[str, ...]:
    if state is None:
        name = "disabled" if not entry.enabled else "starting" if running else "not running"
        return (entry.name, entry.machine_id, name, "-", "-", "-", "-", entry.kind, "")
    return (
        entry.name,
        entry.machine_id,
        state.state,
        _number(state.level_dbfs, "{:.0f} dB"),
        _number(state.score, "{:.3f}"),
        state.verdict or "-",
        f"{state.clips_judged} clips",
        entry.kind,
        state.cause,
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
