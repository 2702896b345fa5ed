"""Sessions of browsers: a person enters an API key once, and the browser gets a cookie in its place.

The cookie has 32 random bytes. ``<home>/sessions.json`` keeps their hash, the hash of the key and the end, so that all
processes know a session, and a restart ends none. Scripts of a page cannot read the cookie (HttpOnly), and requests
from other sites do not have it (SameSite=Strict). A request that may change something must also name its page in
``Origin``, which :mod:`api.hosts` has checked. A session ends at its time, when a person logs out, and with its key.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from api.api_keys import ApiKey, digest_of
from ml.system.atomic import file_lock, make_folder, to_json, translate_disk_full, write_atomic
from ml.system.audit import record_change

FILE, LOCK = "sessions.json", ".sessions.lock"
COOKIE = "signalml_session"
MOST_SESSIONS, MOST_OF_KEY = 1000, 100  # the oldest ends for a further one
OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """Session of one browser.

    Attributes:
        sha256: hash of the cookie.
        key: hash of the API key.
        expires: its end, ISO 8601, UTC.
    """

    sha256: str
    key: str
    expires: str

    def has_ended(self) -> bool:
        """Return whether its end is over."""
        return datetime.fromisoformat(self.expires) <= datetime.now(UTC)


class BrowserSessions:
    """Sessions of one home.

    Args:
        home: SIGNALML_HOME.
        hours: length of a session.
    """

    def __init__(self, home: Path, hours: float) -> None:
        self._home, self._lifetime = home, timedelta(hours=hours)
        self._known: dict[str, BrowserSession] = {}
        self._read_of: tuple[int, int, int] | None = None

    def begin(self, key: ApiKey) -> tuple[str, BrowserSession]:
        """Begin a session, which ends with its key at the latest.

        Returns:
            The content of the cookie, which is not stored, and the session.

        Raises:
            StorageFull
        """
        cookie = secrets.token_urlsafe(32)
        end = datetime.now(UTC) + self._lifetime
        if key.expires is not None:
            end = min(end, datetime.fromisoformat(key.expires))
        session = BrowserSession(digest_of(cookie), key.sha256, end.isoformat(timespec="seconds"))
        with self._changing() as entries:
            current = [each for each in entries if not each.has_ended()]
            of_key = [each for each in current if each.key == key.sha256]
            ending = of_key[: max(0, len(of_key) + 1 - MOST_OF_KEY)]
            entries[:] = [*[each for each in current if each not in ending][1 - MOST_SESSIONS :], session]
        record_change(self._home, "session.begin", key.name)
        return cookie, session

    def find(self, cookie: str) -> BrowserSession | None:
        """Return the session of a cookie; None if there is none, or it has ended."""
        self._read_if_changed()
        found = self._known.get(digest_of(cookie))
        return None if found is None or found.has_ended() else found

    def end(self, cookie: str, name: str) -> None:
        """End the session of a cookie, if there is one.

        Args:
            cookie: content of the cookie.
            name: name of its key, for the audit log.
        """
        digest = digest_of(cookie)
        with self._changing() as entries:
            entries[:] = [each for each in entries if each.sha256 != digest]
        record_change(self._home, "session.end", name)

    @contextmanager
    def _changing(self) -> Iterator[list[BrowserSession]]:
        make_folder(self._home)
        with file_lock(self._home / LOCK):
            entries = self._read()
            yield entries
            with translate_disk_full(Path(FILE), "the sessions are unchanged"):
                write_atomic(self._home / FILE, to_json([asdict(each) for each in entries]), OWNER_ONLY)

    def _read_if_changed(self) -> None:
        """Read the file if it is another one than before: most requests of a page come between two logins."""
        try:
            found = (self._home / FILE).stat()
            state = found.st_ino, found.st_mtime_ns, found.st_size
        except FileNotFoundError:
            state = None
        if state is None or state != self._read_of:
            self._known = {each.sha256: each for each in self._read()}
            self._read_of = state

    def _read(self) -> list[BrowserSession]:
        """Return all sessions; a damaged file has none, so that people log in again."""
        try:
            return [_session(entry) for entry in json.loads((self._home / FILE).read_bytes())]
        except (FileNotFoundError, ValueError, TypeError):
            return []


def _session(entry: Any) -> BrowserSession:
    session = BrowserSession(**entry)
    if not session.sha256.isascii() or datetime.fromisoformat(session.expires).tzinfo is None:
        raise ValueError("its hash is no hash, or its end has no time zone")
    return session
