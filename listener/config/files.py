"""Files of sources and sinks: ``sources.toml`` and ``sinks.toml`` in ``<home>/listener``.

A user may edit both files by hand; the command line and the API change one entry and keep the comments. Each entry is a
table ``[[source]]`` or ``[[sink]]``. An entry that cannot be used is reported with a sentence and left out; the others
are not affected.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from tomlkit.exceptions import TOMLKitError

from listener.config.entry import HIDDEN, Entry, hide_credentials
from listener.config.sink_types import SINKS
from listener.config.source_types import SOURCES
from listener.options import LISTENER_FOLDER
from ml.errors import EntryExists, EntryNotFound, InvalidListenerConfig
from ml.system.atomic import file_lock, make_folder, translate_disk_full, write_atomic
from ml.system.audit import record_change
from ml.system.validation import EXPECTED, shorten

SOURCES_FILE, SINKS_FILE = "sources.toml", "sinks.toml"
OWNER_ONLY = 0o600  # both files can contain passwords
# What a person reads instead of a regular expression.
FORMS = {
    "name": "a name of lower-case letters, digits, '.', '_' and '-', at most 40,",
    "device": "default, pulse:NAME or alsa:NAME",
    "topic": "a topic without + and #",
    "discovery_topic": "a topic without + and #",
    "sender": "an e-mail address",
}
KINDS = ("device", "stream", "folder", "pipe", "mqtt", "webhook", "email", "service")


class Entries(NamedTuple):
    """Entries of one file.

    Attributes:
        entries: usable entries, by name, in the order of the file.
        problems: a sentence for each entry that is not used, or for the whole file.
        whole: whether the file could be read; if not, ``entries`` is empty and does not state what is wanted.
    """

    entries: dict[str, Any]
    problems: tuple[str, ...]
    whole: bool = True


class EntryFile:
    """File of sources or sinks.

    Args:
        home: SIGNALML_HOME.
        file: name of the file.
        table: name of its tables, ``source`` or ``sink``.
        adapter: validator of an entry.
    """

    def __init__(self, home: Path, file: str, table: str, adapter: TypeAdapter[Any]) -> None:
        self.path = home / LISTENER_FOLDER / file
        self._home = home
        self._table = table
        self._adapter = adapter

    def read(self) -> Entries:
        """Read all entries. Never raises because of the content."""
        try:
            listed = tomllib.loads(self.path.read_text(encoding="utf-8")).get(self._table, [])
        except FileNotFoundError:
            return Entries({}, ())
        except (OSError, ValueError) as error:  # also of TOML and of UTF-8
            return Entries(
                {}, (f"{self.path.name} cannot be read: {error}. The entries read before stay in use.",), False
            )
        if not isinstance(listed, list):
            problem = f"{self.path.name}: tables [[{self._table}]] were expected, with two brackets."
            return Entries({}, (problem,), False)
        return self._validated(listed)

    def get(self, name: str) -> Any:
        """Return one entry.

        Raises:
            EntryNotFound, InvalidListenerConfig
        """
        found = self._require_whole().entries.get(name)
        if found is None:
            raise EntryNotFound(f"There is no {self._table} {name!r}.")
        return found

    def add(self, values: Mapping[str, Any]) -> Any:
        """Add an entry.

        Returns:
            The entry.

        Raises:
            InvalidListenerConfig: the values or the file cannot be used.
            EntryExists: there is an entry of this name.
            StorageFull
        """
        entry = self.validate(values)
        with self._changing() as document:
            if self._position(document, entry.name) is not None:
                raise EntryExists(
                    f"There is a {self._table} {entry.name!r} already; change it, or choose another name."
                )
            tables = document.setdefault(self._table, tomlkit.aot())
            table = _table_of(entry)
            table.trivia.indent = "\n" if tables else ""  # a free line between two entries
            tables.append(table)
        record_change(self._home, f"{self._table}.add", entry.name, after=_stated_values(entry))
        return entry

    def replace(self, name: str, values: Mapping[str, Any]) -> Any:
        """Replace the values of an entry; its name stays.

        Raises:
            InvalidListenerConfig, EntryNotFound, StorageFull
        """
        entry = self.validate({**values, "name": name})
        with self._changing() as document:
            position = self._position(document, name)
            if position is None:
                raise EntryNotFound(f"There is no {self._table} {name!r}.")
            before, after = _changed_values(self.read().entries.get(name), entry)
            present, wanted = document[self._table][position], _table_of(entry)
            for key in [key for key in present if key not in wanted]:
                del present[key]
            for key, value in wanted.items():
                if key not in present or present[key] != value:
                    present[key] = value
        record_change(self._home, f"{self._table}.change", name, before=before, after=after)
        return entry

    def remove(self, name: str) -> None:
        """Remove an entry.

        Raises:
            InvalidListenerConfig, EntryNotFound, StorageFull
        """
        with self._changing() as document:
            position = self._position(document, name)
            if position is None:
                raise EntryNotFound(f"There is no {self._table} {name!r}.")
            del document[self._table][position]
            if not document[self._table]:  # else an empty array is left, to which no table can be added
                del document[self._table]
        record_change(self._home, f"{self._table}.remove", name)

    def validate(self, values: Mapping[str, Any]) -> Any:
        """Return an entry of these values.

        Raises:
            InvalidListenerConfig: a value cannot be used; the message has its name and what was expected.
        """
        try:
            return self._adapter.validate_python(dict(values))
        except ValidationError as error:
            raise InvalidListenerConfig(f"This {self._table} cannot be used: {_sentence(error)}.") from error

    def check_json(self, values: Mapping[str, Any]) -> None:
        """Check values that came as JSON: 1 is not true there, and a number is no text.

        Raises:
            InvalidListenerConfig: a value cannot be used; the message has its name and what was expected.
        """
        try:
            self._adapter.validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            raise InvalidListenerConfig(f"This {self._table} cannot be used: {_sentence(error)}.") from error

    def _validated(self, listed: list[Any]) -> Entries:
        entries: dict[str, Any] = {}
        problems = []
        for number, values in enumerate(listed, 1):
            shown = values.get("name", f"number {number}") if isinstance(values, dict) else f"number {number}"
            try:
                entry = self._adapter.validate_python(values)
            except ValidationError as error:
                problems.append(f"{self.path.name}: the {self._table} {shown!r} is not used: {_sentence(error)}.")
                continue
            if entry.name in entries:
                problems.append(f"{self.path.name}: a second {self._table} {entry.name!r} is not used.")
                continue
            entries[entry.name] = entry
        return Entries(entries, tuple(problems))

    def _require_whole(self) -> Entries:
        found = self.read()
        if not found.whole:
            raise InvalidListenerConfig(found.problems[0])
        return found

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        """Read the file with its comments, and write it whole after the change."""
        make_folder(self.path.parent)
        with file_lock(self.path.with_name(f".{self.path.name}.lock")):
            try:
                text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
                document = tomlkit.parse(text)
            except (OSError, ValueError, TOMLKitError) as error:
                raise InvalidListenerConfig(
                    f"{self.path.name} cannot be read: {error}. Mend it by hand first."
                ) from error
            yield document
            with translate_disk_full(Path(self.path.name), "it is unchanged"):
                write_atomic(self.path, tomlkit.dumps(document).encode(), OWNER_ONLY)

    def _position(self, document: Any, name: str) -> int | None:
        names = [each.get("name") for each in document.get(self._table, [])]
        return names.index(name) if name in names else None


def source_file(home: Path) -> EntryFile:
    """Return the file of the sources."""
    return EntryFile(home, SOURCES_FILE, "source", SOURCES)


def sink_file(home: Path) -> EntryFile:
    """Return the file of the sinks."""
    return EntryFile(home, SINKS_FILE, "sink", SINKS)


def shown_values(entry: Entry) -> dict[str, Any]:
    """Return the values of an entry as JSON types, without secrets, as answers and tables show them."""
    values = entry.model_dump(mode="json")
    for field in ("url", "server"):
        if field in values:
            values[field] = hide_credentials(values[field])
    for field in ("secret", "api_key"):
        if values.get(field) is not None:
            values[field] = HIDDEN
    if (values.get("schedule") or {}).get("broker"):
        values["schedule"]["broker"] = hide_credentials(values["schedule"]["broker"])
    return values


def _stated_values(entry: Entry) -> dict[str, Any]:
    """Return the values that differ from their defaults, without secrets."""
    return {name: value for name, value in shown_values(entry).items() if name in {"kind", *_plain(entry)}}


def _changed_values(before: Entry | None, after: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values before and after that differ, without secrets: a changed secret is not shown."""
    old, new = ({} if each is None else shown_values(each) for each in (before, after))
    fields = [field for field in new if old.get(field) != new[field]]
    return {field: old.get(field) for field in fields}, {field: new[field] for field in fields}


def _table_of(entry: Entry) -> Any:
    """Return an entry as a table of TOML, without values that are the default."""
    table = tomlkit.table()
    table.add("name", entry.name)
    table.add("kind", entry.kind)  # type: ignore[attr-defined]  # every entry of the unions has it
    for key, value in _plain(entry).items():
        if key not in table:
            table.add(key, value)
    return table


def _plain(model: BaseModel) -> dict[str, Any]:
    """Return values that differ from their defaults, as types of TOML."""
    plain: dict[str, Any] = {}
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        if value is None or value == field.get_default():
            continue
        if isinstance(value, BaseModel):
            plain[key] = _plain(value)
        elif isinstance(value, SecretStr):
            plain[key] = value.get_secret_value()
        else:
            plain[key] = list(value) if isinstance(value, tuple) else value
    return plain


def _sentence(error: ValidationError) -> str:
    """Return what is wrong, without the values: they can be secret."""
    found = []
    for each in error.errors(include_input=False, include_url=False):
        fields = each["loc"][1:] if each["loc"] and each["loc"][0] in KINDS else each["loc"]
        place = ".".join(map(str, fields))
        found.append(_what_is_wrong(place, each["type"], each["msg"], each.get("ctx", {})))
    return "; ".join(found)


def _what_is_wrong(place: str, kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "missing":
        return f"{place} is missing"
    if kind == "extra_forbidden":
        return f"{place} is not a field of this kind"
    if kind == "union_tag_not_found":
        return "kind is missing"
    if kind == "union_tag_invalid":
        return f"kind is {shorten(repr(context['tag']))}; {context['expected_tags']} was expected"
    if kind == "string_pattern_mismatch" and place in FORMS:
        return f"{place}: {FORMS[place]} was expected"
    if kind in EXPECTED:
        return f"{place}: {EXPECTED[kind].format_map(context)} was expected"
    return f"{place}: {message.removeprefix('Value error, ')}" if place else message.removeprefix("Value error, ")
