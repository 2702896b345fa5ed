"""``signalml listen``: record and judge the sources of a home, or one source at once."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TextIO, cast
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.table import Table

from api.settings import Settings
from cli.entries import given, merge, parse_fields
from cli.home import protect_home
from cli.listen_view import ListenerView
from cli.output import print_table, warn_of_unknown_variables
from cli.sources import ClipOption, HopOption, ModelOption, PasswordFileOption, SetOption, TopicOption, read_place
from listener.capture.devices import list_devices
from listener.config.entry import MQTT_SCHEMES, hide_credentials
from listener.config.files import source_file
from listener.config.source_types import STREAM_SCHEMES, SourceEntry
from listener.live.client import ListenerClient
from listener.main import Listener
from ml.errors import InvalidParameter
from ml.system.logs import configure_logging
from ml.system.native import quiet_native_stderr

SOURCE_EXPECTED = (
    "device:default, device:pulse:NAME, device:alsa:NAME, a URL of a stream, folder:PATH, pipe:- or an MQTT broker was "
    "expected"
)
PREFIXES = {"device": "device", "stream": "url", "folder": "folder", "pipe": "pipe"}


def listen(
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Record only this: device:default, rtsp://camera/audio, folder:PATH, pipe:- or mqtt://broker. "
            "Default: all sources of the home (signalml sources).",
        ),
    ] = None,
    machine: Annotated[str | None, typer.Option(metavar="ID", help="Machine that --source records.")] = None,
    topic: TopicOption = None,
    model: ModelOption = None,
    clip_s: ClipOption = None,
    hop_s: HopOption = None,
    password_file: PasswordFileOption = None,
    set_: SetOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the listener that runs already, for example in signalml run.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show nothing, only write log lines to stderr: for services.")
    ] = False,
    devices: Annotated[bool, typer.Option("--devices", help="List the microphones of this computer, and end.")] = False,
) -> None:
    """Record microphones, streams and folders, judge them, and show it live.

    Without --source, it takes the sources of the home, and follows changes of them. On a terminal, it shows levels,
    scores and events; in a pipe, a line for each verdict and each change of a state. Ctrl-C ends it.
    """
    settings = Settings()
    if devices:
        _print_devices()
        return
    if watch:
        _watch(settings.home)
        return
    warn_of_unknown_variables()
    fields = given(topic=topic, model=model, clip_s=clip_s, hop_s=hop_s)
    entry = _source(settings.home, source, machine, fields, password_file, set_ or [])
    options = replace(settings.listener_options, sources=None if entry is None else (entry,))
    if quiet:
        configure_logging(settings.log_level)
        protect_home(settings)
        Listener(options).run()
        return
    console = Console(highlight=False)
    with ExitStack() as stack:
        _configure_logging(settings, console, stack)
        protect_home(settings)
        stack.enter_context(ListenerView(settings.home, console))
        Listener(options).run()


def parse_source(text: str) -> dict[str, str]:
    """Return the option of ``signalml sources add`` that states the same source, and its value.

    Raises:
        InvalidParameter: it is no source.

    Example:
        >>> parse_source("device:default"), parse_source("rtsp://camera-7/audio")
        ({'device': 'default'}, {'url': 'rtsp://camera-7/audio'})
    """
    prefix, _, rest = text.partition(":")
    if prefix in PREFIXES and rest:
        return {PREFIXES[prefix]: rest}
    if prefix in ("pulse", "alsa") or text == "default":
        return {"device": text}
    scheme = urlsplit(text).scheme
    if scheme in STREAM_SCHEMES:
        return {"url": text}
    if scheme in MQTT_SCHEMES:
        return {"mqtt": text}
    raise InvalidParameter(f"--source {hide_credentials(text)}: {SOURCE_EXPECTED}.")


def _source(
    home: Path,
    source: str | None,
    machine: str | None,
    options: dict[str, Any],
    password_file: str | None,
    pairs: list[str],
) -> SourceEntry | None:
    if source is None:
        unused = [*(["machine"] if machine else []), *options, *(["set"] if pairs else [])]
        if unused:
            option = f"--{unused[0].removesuffix('_s')}"
            raise InvalidParameter(f"{option} needs --source, too; without it, the sources are those of the home.")
        return None
    if machine is None:
        raise InvalidParameter("--machine ID was expected, too: the machine that --source records.")
    place = read_place(parse_source(source), password_file) or {}
    values = {"name": place["kind"], "machine_id": machine, **place, **options}
    entry: SourceEntry = source_file(home).validate(merge(values, parse_fields(pairs)))
    return entry


def _configure_logging(settings: Settings, console: Console, stack: ExitStack) -> None:
    """Write log lines to stderr; on a terminal with a live view, warnings and errors above the view."""
    if not (console.is_terminal and sys.stderr.isatty()):
        configure_logging(settings.log_level)
        return
    stderr = stack.enter_context(quiet_native_stderr())  # messages of libraries would break the view
    level = settings.log_level if settings.log_level == "error" else "warning"
    configure_logging(level, cast(TextIO, FileProxy(console, stderr)))


def _watch(home: Path) -> None:
    ListenerClient(home).status()  # it runs
    with ListenerView(home, Console(highlight=False), ends_with_it=True) as view:
        view.wait()


def _print_devices() -> None:
    table = Table("device", "description", box=None)
    for device in list_devices():
        table.add_row(device.name, device.description)
    print_table(table, "No microphones were found: neither PulseAudio, nor PipeWire, nor ALSA has one.")
