"""Values of sources and sinks from the options of the command line, and how they are shown."""

import json
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import typer
from rich.table import Table

from cli.output import print_note, print_table
from listener.config.entry import Entry
from listener.config.files import Entries, shown_values
from listener.live.client import ListenerClient
from listener.status import ListenerStatus, SinkStatus, SourceStatus
from ml.errors import InvalidParameter, ListenerNotRunning

SET_HELP = (
    "A further field, such as {example}; may be repeated. The value is one of TOML, or text; an empty one restores the "
    "default. docs/{page}.md lists all fields."
)
SECRET_FILE_HELP = "File whose first line is {what}; - for stdin. Without it, a person is asked on the terminal."  # noqa: S105 - a help text
NOT_RUNNING = "The listener does not run, so nothing is recorded or sent:  signalml run  or  signalml listen"
LONGEST_NAME = 40


def parse_fields(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the fields of ``--set NAME=VALUE``; a name can have dots: ``schedule.topic=hall/fan-3``.

    Raises:
        InvalidParameter: there is no ``=``.
    """
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidParameter(f"--set {pair}: NAME=VALUE was expected.")
        *folders, last = name.split(".")
        place = fields
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = _value(text)
    return fields


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with changes; a changed value None is left out, so that its default counts."""
    merged = dict(values)
    for name, change in changes.items():
        if isinstance(change, Mapping):
            merged[name] = merge(merged.get(name) or {}, change)
        elif change is None:
            merged.pop(name, None)
        else:
            merged[name] = change
    return merged


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None and value != []}


def values_of(entry: Entry) -> dict[str, Any]:
    """Return all values of an entry, with its secrets, so that they can be changed and validated again."""
    return entry.model_dump(exclude_none=True)


def complete_url(url: str, password_file: str | None) -> str:
    """Return an address with its password, if it names a user without one.

    Args:
        url: the address.
        password_file: file with the password, ``-`` for stdin; None asks on a terminal.
    """
    parts = urlsplit(url)
    if not parts.username or parts.password is not None:
        return url
    password = read_secret(password_file, f"Password of {parts.username} at {parts.hostname}")
    if password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{host}"))


def read_secret(file: str | None, prompt: str) -> str | None:
    """Return a secret from a file or the terminal; None without a file and without a terminal.

    Raises:
        InvalidParameter: the file cannot be read.
    """
    if file is None:
        return str(typer.prompt(prompt, hide_input=True, err=True)) if sys.stdin.isatty() else None
    try:
        text: str = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidParameter(f"The secret cannot be read from {file}: {reason}.") from error
    first = text.partition("\n")[0].strip()
    if not first:
        raise InvalidParameter(f"The first line of {file} is empty; the secret was expected.")
    return first


def name_from(text: str, taken: Sequence[str]) -> str:
    """Return a free name for an entry, made of a text such as the name of a host.

    Example:
        >>> name_from("Broker.local", ["broker.local"])
        'broker.local-2'
    """
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-._")[: LONGEST_NAME - 4] or "sink"
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def listener_status(home: Path) -> ListenerStatus | None:
    """Return the state of the listener; None if it does not run."""
    try:
        return ListenerClient(home).status()
    except ListenerNotRunning:
        return None


def print_problems(found: Entries) -> None:
    """Print on stderr which entries of a file are not used, and why."""
    for problem in found.problems:
        typer.echo(f"{typer.style('warning:', fg='yellow')} {problem}", err=True)


def print_json(values: Any) -> None:
    """Print JSON for programs."""
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False))


def entry_as_json(entry: Entry, state: SourceStatus | SinkStatus | None) -> dict[str, Any]:
    """Return an entry, without secrets, with its state as ``now``; None if the listener does not run."""
    return shown_values(entry) | {"now": None if state is None else state_values(state)}


def state_values(state: SourceStatus | SinkStatus) -> dict[str, Any]:
    """Return the values of a state that its entry does not have."""
    return {name: getattr(state, name) for name in state.__slots__ if name not in ("name", "kind", "machine_id")}


def print_entry(entry: Entry, states: Sequence[SourceStatus | SinkStatus] | None, json_wanted: bool) -> None:
    """Print all values of an entry, without secrets, and its state.

    Args:
        entry: the source or sink.
        states: states of all of its kind; None if the listener does not run.
        json_wanted: print JSON for programs.
    """
    state = next((each for each in states or () if each.name == entry.name), None)
    if json_wanted:
        print_json(entry_as_json(entry, state))
        return
    print_table(value_table(entry, {} if state is None else {"now": state_values(state)}), "")
    if states is None:
        print_note(NOT_RUNNING)


def value_table(entry: Entry, state: Mapping[str, Any]) -> Table:
    """Return a table of the values of an entry, without secrets, and of its state."""
    table = Table("field", "value", box=None, show_header=False)
    for name, value in [*_flat(shown_values(entry)), *_flat(state)]:
        table.add_row(name, value)
    return table


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{above}{name}.")
        elif value not in (None, "", []):
            rows.append((f"{above}{name}", value if isinstance(value, str) else json.dumps(value)))
    return rows


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str, list)) else text
