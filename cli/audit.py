"""``signalml audit``: the last lines of the audit log."""

import json
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer
from rich.table import Table

from api.settings import Settings
from cli.output import print_table
from ml.system.audit import read_entries
from ml.system.text import printable


def audit(
    last: Annotated[int, typer.Option(min=1, help="Largest number of lines, the last ones.")] = 20,
    action: Annotated[str, typer.Option(help="Only actions of this pattern, such as model.promote or 'key.*'.")] = "*",
    actor: Annotated[str, typer.Option(help="Only changes by this key, user or worker; * stands for any text.")] = "*",
    object_: Annotated[
        str, typer.Option("--object", help="Only changes of this object, such as champion or 'hall-3/*'.")
    ] = "*",
    since: Annotated[datetime | None, typer.Option(help="Only changes from this time on, UTC.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are stored, one JSON each.")] = False,
) -> None:
    """Show who changed what: models, datasets, thresholds, labels, keys, machines and jobs."""
    wanted = {"action": action, "actor": actor, "object": object_}
    start = "" if since is None else since.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
    found = deque((entry for entry in read_entries(Settings().home) if _is_wanted(entry, wanted, start)), last)
    if as_json:
        for entry in found:
            typer.echo(json.dumps(entry))
        return
    table = Table("time", "actor", "action", "object", "outcome", "change", box=None)
    for entry in found:
        table.add_row(*map(printable, _cells(entry)))
    print_table(table, "No changes are recorded.")


def _is_wanted(entry: Mapping[str, Any], wanted: Mapping[str, str], start: str) -> bool:
    named = all(fnmatchcase(str(entry.get(name, "")), pattern) for name, pattern in wanted.items())
    return named and str(entry.get("time", "")) >= start


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    actor = " ".join(str(entry[name]) for name in ("actor_kind", "actor") if entry.get(name))
    values = [entry.get("before"), entry.get("after")]
    change = " -> ".join(json.dumps(value) if value is not None else "-" for value in values) if any(values) else ""
    facts = (str(entry.get(name, "")) for name in ("action", "object", "outcome"))
    return (str(entry.get("time", ""))[:19], actor, *facts, change)
