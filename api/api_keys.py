"""API keys: random secrets that are shown once, stored as hashes, and compared in constant time.

A key has 32 random bytes: nobody can find it by trying, so one SHA-256 protects it, and wrong keys need no delay. Slow
hashes are for passwords that people choose. A key has scopes (:mod:`api.scopes`), may end at a time, and may be bound
to machines and datasets.

**Bindings.** A key with a binding reaches only the machines and datasets that its patterns name. If it is bound to
datasets only, it reaches no machine, and the other way round. In a pattern, ``*`` stands for any characters of one
part of a name: ``hall-3/*`` is every machine of the kind ``hall-3``.
"""

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from api.scopes import Scope
from ml.errors import InvalidParameter, SignalMLError
from ml.system.atomic import file_lock, make_folder, to_json, write_atomic
from ml.system.audit import record_change

PREFIX = "sml_"
MAX_NAME = 100
# Characters of a digest that name an unknown key in the log: enough to recognise it, useless to find it.
SHOWN_DIGEST = 8
LIFETIME = re.compile(r"(\d{1,6})([dh])")
UNITS = {"d": "days", "h": "hours"}
PATTERN = re.compile(r"[A-Za-z0-9._*-]+(/[A-Za-z0-9._*-]+)?")


class KeyNotFound(SignalMLError):
    """There is no API key with this name."""

    code = "api_key_not_found"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Stored key.

    Attributes:
        name: name of the key.
        scopes: what it allows.
        sha256: hash of its secret.
        created: time, ISO 8601, UTC.
        expires: time from which the key is refused, ISO 8601, UTC; None without an end.
        machines: patterns of the machines that the key is bound to.
        datasets: patterns of the datasets that the key is bound to.
    """

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created: str
    expires: str | None = None
    machines: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Self:
        """Read an entry of the file; one of an earlier version has a single ``scope``.

        An unknown field is an error: it could limit the key. So is a value of another type.

        Raises:
            TypeError, ValueError
        """
        values = dict(entry)
        if "scope" in values:
            values["scopes"] = [values.pop("scope")]
        for name in ("scopes", "machines", "datasets"):
            values[name] = _texts(values.get(name, ()))
        key = cls(**values)
        _texts((key.name, key.sha256, key.created))
        if not key.sha256.isascii() or (key.expires is not None and datetime.fromisoformat(key.expires).tzinfo is None):
            raise ValueError("its hash is no hash, or its end has no time zone")
        return key

    @property
    def is_bound(self) -> bool:
        """Whether the key is bound to machines or datasets."""
        return bool(self.machines or self.datasets)

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has ``scope``; admin includes every scope."""
        return scope in self.scopes or "admin" in self.scopes

    def has_expired(self) -> bool:
        """Return whether the end of the key is over."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC)

    def reaches_machine(self, machine_id: str) -> bool:
        """Return whether the bindings allow a machine, by the name of its record."""
        return not self.is_bound or any(matches(pattern, machine_id) for pattern in self.machines)

    def reaches_dataset(self, name: str | None) -> bool:
        """Return whether the bindings allow a dataset; None is a job without a dataset."""
        return not self.is_bound or (name is not None and any(matches(pattern, name) for pattern in self.datasets))


# Stands for every client of a service that requires no keys.
LOCAL = ApiKey(name="", scopes=("admin",), sha256="", created="")


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern names a machine or a dataset; ``*`` matches no slash.

    >>> matches("hall-3/*", "hall-3/fan"), matches("*", "hall-3/fan")
    (True, False)
    """
    patterns, parts = pattern.split("/"), name.split("/")
    return len(patterns) == len(parts) and all(map(fnmatchcase, parts, patterns))


def check_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return patterns of bindings, each once.

    Raises:
        InvalidParameter: a pattern can match no name.
    """
    for pattern in patterns:
        if not PATTERN.fullmatch(pattern):
            raise InvalidParameter(
                f"{pattern!r} is not a pattern of names; letters, digits, dots, hyphens, underscores and *, with at "
                "most one slash, were expected."
            )
    return tuple(dict.fromkeys(patterns))


def parse_expiry(text: str, now: datetime) -> datetime:
    """Return the end of a key: after ``90d`` or ``12h``, or at a date (0:00 UTC) or a time with its zone.

    Raises:
        InvalidParameter: the text has another form, or the time is over.
    """
    problem = InvalidParameter(
        f"{text!r} is not an end of a key; a time from now (90d or 12h) or a later date (2027-03-01) was expected."
    )
    try:
        if found := LIFETIME.fullmatch(text):
            end = now + timedelta(**{UNITS[found[2]]: int(found[1])})
        else:
            end = datetime.fromisoformat(text)
            end = end if end.tzinfo else end.replace(tzinfo=UTC)
        end = end.astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
    if end <= now:
        raise problem
    return end


class ApiKeyStore:
    """Keys of one home, in ``api-keys.json``."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file = home / "api-keys.json"

    def list_keys(self) -> list[ApiKey]:
        """Return all keys, the oldest first. A damaged entry is no key, and does not hide the others."""
        return [key for key in map(_key, self._entries()) if key is not None]

    def count_damaged(self) -> int:
        """Return the number of entries that cannot be read; their keys are refused."""
        return sum(_key(entry) is None for entry in self._entries())

    def _entries(self) -> list[Any]:
        try:
            return list(json.loads(self._file.read_bytes()))
        except FileNotFoundError:
            return []

    def create(
        self,
        name: str,
        *scopes: Scope,
        expires: datetime | None = None,
        machines: Sequence[str] = (),
        datasets: Sequence[str] = (),
    ) -> str:
        """Create a key and return its secret, which is not stored and cannot be shown again.

        Args:
            name: name of the key.
            scopes: what it allows.
            expires: time from which it is refused.
            machines: patterns of machines that the key is bound to.
            datasets: patterns of datasets that the key is bound to.

        Raises:
            ValueError: a key with this name exists.
            InvalidParameter: the name cannot be printed on one line, there is no scope, or a pattern is invalid.
        """
        if not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise InvalidParameter(
                f"{name!r} is not the name of a key; 1 to {MAX_NAME} printable characters were expected."
            )
        if not scopes:
            raise InvalidParameter("The key has no scope; at least one was expected.")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            name=name,
            scopes=tuple(dict.fromkeys(scopes)),
            sha256=digest_of(secret),
            created=_seconds(datetime.now(UTC)),
            expires=None if expires is None else _seconds(expires),
            machines=check_patterns(machines),
            datasets=check_patterns(datasets),
        )
        make_folder(self._home)
        with file_lock(self._home / ".api-keys.lock"):
            if any(each.name == name for each in self.list_keys()):
                raise ValueError(f"There is already a key called {name!r}; revoke it first.")
            self._write([*self._entries(), asdict(key)])
        record_change(self._home, "key.create", name, after=_facts(key))
        return secret

    def revoke(self, name: str) -> None:
        """Remove a key; the next request with it is refused.

        Raises:
            KeyNotFound
        """
        with file_lock(self._home / ".api-keys.lock"):
            revoked = [key for key in self.list_keys() if key.name == name]
            if not revoked:
                raise KeyNotFound(f"There is no key called {name!r}.")
            self._write([entry for entry in self._entries() if _key(entry) not in revoked])
        record_change(self._home, "key.revoke", name, before=_facts(revoked[0]))

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None. Every stored key is compared, also after a match."""
        digest = digest_of(secret)
        matching = [key for key in self.list_keys() if hmac.compare_digest(key.sha256, digest)]
        return matching[0] if matching else None

    def _write(self, entries: list[Any]) -> None:
        write_atomic(self._file, to_json(entries), mode=0o600)


def _key(entry: Any) -> ApiKey | None:
    try:
        return ApiKey.of(entry)
    except (TypeError, ValueError):
        return None


def _texts(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return texts from JSON.

    Raises:
        TypeError: they are no list, or one is no text.
    """
    if isinstance(values, str) or not all(isinstance(each, str) for each in values):
        raise TypeError(f"{values!r} are no texts")
    return tuple(values)


def digest_of(secret: str) -> str:
    """Return the hash of a secret, which is stored instead of it."""
    return sha256(secret.encode()).hexdigest()


def _facts(key: ApiKey) -> dict[str, Any]:
    """Return what the audit log states about a key: neither secret nor hash."""
    return {name: value for name, value in asdict(key).items() if name not in ("name", "sha256", "created") and value}


def _seconds(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
