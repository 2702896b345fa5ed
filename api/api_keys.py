"""API keys: random secrets that are shown once, stored as hashes, and compared in constant time.

A key has 32 random bytes, so one SHA-256 protects it; slow hashes are for passwords that people choose. The scope
``predict`` allows verdicts and reading; ``admin`` also allows changes.
"""

import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from ml.errors import SignalMLError
from ml.system.atomic import file_lock, make_folder, to_json, write_atomic

ApiKeyScope = Literal["predict", "admin"]
PREFIX = "sml_"


class KeyNotFound(SignalMLError):
    """There is no API key with this name."""

    code = "api_key_not_found"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Stored key: its name, its scope, and the SHA-256 of its secret."""

    name: str
    scope: ApiKeyScope
    sha256: str
    created: str

    def allows(self, scope: ApiKeyScope) -> bool:
        """Return whether the key has ``scope``; admin includes every scope."""
        return self.scope in ("admin", scope)


class ApiKeyStore:
    """Keys of one home, in ``api-keys.json``."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file = home / "api-keys.json"

    def list_keys(self) -> list[ApiKey]:
        """Return all keys, the oldest first."""
        try:
            return [ApiKey(**entry) for entry in json.loads(self._file.read_bytes())]
        except FileNotFoundError:
            return []

    def create(self, name: str, scope: ApiKeyScope) -> str:
        """Create a key and return its secret, which is not stored and cannot be shown again.

        Raises:
            ValueError: a key with this name exists.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        make_folder(self._home)
        with file_lock(self._home / ".api-keys.lock"):
            keys = self.list_keys()
            if any(key.name == name for key in keys):
                raise ValueError(f"There is already a key called {name!r}; revoke it first.")
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self._write([*keys, ApiKey(name, scope, _digest(secret), created)])
        return secret

    def revoke(self, name: str) -> None:
        """Remove a key; the next request with it is refused.

        Raises:
            KeyNotFound
        """
        with file_lock(self._home / ".api-keys.lock"):
            keys = self.list_keys()
            kept = [key for key in keys if key.name != name]
            if len(kept) == len(keys):
                raise KeyNotFound(f"There is no key called {name!r}.")
            self._write(kept)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None. Every stored key is compared, also after a match."""
        digest = _digest(secret)
        matches = [key for key in self.list_keys() if hmac.compare_digest(key.sha256, digest)]
        return matches[0] if matches else None

    def _write(self, keys: list[ApiKey]) -> None:
        write_atomic(self._file, to_json([asdict(key) for key in keys]), mode=0o600)


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
