"""Sources and sinks that clients send: folders of this computer, and values that were hidden in an answer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from listener.config.entry import HIDDEN, Entry
from listener.config.files import EntryFile, shown_values
from ml.errors import InvalidListenerConfig
from ml.system.private import ENTRIES
from ml.system.validation import shorten

FOLDERS = ("path", "move_to", "ca_file")  # fields that name a file or folder of this computer
STDIN = "-"
ADDRESSES = ("url", "server", "broker")
SECRETS = ("secret", "api_key")


def new_values(file: EntryFile, sent: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Return the values of a new entry, with the paths of folders resolved.

    Args:
        file: file of the entry.
        sent: values of the client.
        folders: folders in which files and folders may lie; the first is the home.

    Raises:
        InvalidListenerConfig
    """
    _refuse_hidden(sent)
    file.check_json(sent)
    return _with_folders(dict(sent), sent, folders)


def changed_values(file: EntryFile, entry: Entry, sent: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Return the values of an entry after a change. Null is the default of a field.

    A value that equals the one of an answer, with its hidden parts, stays as it is.

    Args:
        file: file of the entry.
        entry: the entry as it is.
        sent: values of the client.
        folders: folders in which files and folders may lie; the first is the home.

    Raises:
        InvalidListenerConfig
    """
    present = _values(entry)
    sent = _without_shown(sent, shown_entry(entry, folders[0]))
    _refuse_renaming(entry, sent)
    _refuse_hidden(sent)
    _require_key_again(present, sent)
    values = _merge(present, sent)
    file.check_json(values)
    return _with_folders(values, sent, folders)


def shown_entry(entry: Entry, home: Path) -> dict[str, Any]:
    """Return the values of an entry as answers show them: without secrets, and paths in the home without the home."""
    values = shown_values(entry)
    for name in FOLDERS:
        if values.get(name):
            values[name] = _shown_path(values[name], home)
    return values


def _values(entry: Entry) -> dict[str, Any]:
    """Return the values of an entry that are no defaults, as JSON types, with secrets."""
    plain: dict[str, Any] = json.loads(entry.model_dump_json(exclude_defaults=True))
    secrets = {name: getattr(entry, name) for name in SECRETS if getattr(entry, name, None) is not None}
    named = {"name": entry.name, "kind": entry.kind}  # type: ignore[attr-defined]  # every entry of the unions has it
    return plain | {name: secret.get_secret_value() for name, secret in secrets.items()} | named


def _without_shown(sent: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client has changed: values that equal those of an answer are left out."""
    changed = {name: value for name, value in sent.items() if name not in shown or value != shown[name]}
    return {
        name: _without_shown(value, shown[name])
        if isinstance(value, Mapping) and isinstance(shown.get(name), Mapping)
        else value
        for name, value in changed.items()
    }


def _merge(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values after a change; null takes a value away, and objects are merged (RFC 7396)."""
    merged = dict(present)
    for name, change in changes.items():
        if isinstance(change, Mapping):
            before = merged.get(name)
            merged[name] = _merge(before if isinstance(before, Mapping) else {}, change)
        elif change is None:
            merged.pop(name, None)
        else:
            merged[name] = change
    return merged


def _refuse_renaming(entry: Entry, sent: Mapping[str, Any]) -> None:
    for field in ("name", "kind"):
        present = getattr(entry, field)
        if sent.get(field, present) != present:
            raise InvalidListenerConfig(f"The {field} of {entry.name!r} is {present!r} and cannot be changed.")


def _refuse_hidden(sent: Mapping[str, Any]) -> None:
    """Refuse hidden parts of other values: the password behind them is not known for another address."""
    schedule = sent.get("schedule")
    for values in (sent, schedule if isinstance(schedule, Mapping) else {}):
        for field in (*ADDRESSES, *SECRETS):
            if HIDDEN in str(values.get(field, "")):
                raise InvalidListenerConfig(
                    f"{field} has {HIDDEN} in place of a hidden part; the whole value was expected."
                )


def _require_key_again(present: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
    """Refuse to send a stored API key to another service."""
    if "api_key" in present and "api_key" not in sent and "url" in sent:
        old, new = (urlsplit(str(values["url"])) for values in (present, sent))
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise InvalidListenerConfig("url names another service; api_key was expected, too.")


def _with_folders(values: dict[str, Any], sent: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """Return the values with the paths that were sent, resolved and checked.

    Raises:
        InvalidListenerConfig: a path is outside of the folders, or recordings would be moved or deleted in a folder of
            the service.
    """
    for field in FOLDERS:
        if isinstance(sent.get(field), str):
            values[field] = str(_resolve(field, sent[field], folders))
    if values.get("after", "leave") != "leave" and {"after", "path", "move_to"} & sent.keys():
        for field in ("path", "move_to"):
            if isinstance(values.get(field), str):
                _refuse_own_folder(field, _resolve(field, values[field], folders), folders[0])
    return values


def _resolve(field: str, text: str, folders: Sequence[Path]) -> Path:
    """Return a path without links; a relative one is in the home."""
    if text == STDIN:
        raise InvalidListenerConfig(f"{field} is {STDIN}, the input of the listener; a named pipe was expected.")
    home, *_ = roots = [folder.resolve() for folder in folders]
    try:
        found = (home / text).resolve()
    except (OSError, ValueError, RuntimeError):  # a name that is too long or has a zero, a circle of links
        raise InvalidListenerConfig(f"{field} is {shorten(repr(text))}, which is no path.") from None
    if not any(found != root and found.is_relative_to(root) for root in roots):
        raise InvalidListenerConfig(
            f"{field} is {shorten(repr(text))}; a path in the home or in a folder of SIGNALML_LISTEN_FOLDERS was "
            "expected."
        )
    return found


def _refuse_own_folder(field: str, found: Path, home: Path) -> None:
    own = [home.resolve() / name for name in ENTRIES]  # what the service itself writes
    if any(found.is_relative_to(each) or each.is_relative_to(found) for each in own):
        raise InvalidListenerConfig(
            f"{field} is in a folder of the service, where recordings are not moved or deleted; another one was "
            "expected."
        )


def _shown_path(text: str, home: Path) -> str:
    path = Path(text)
    for folder in (home.absolute(), home.resolve()):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return text
