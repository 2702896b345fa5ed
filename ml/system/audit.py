"""Audit log: who changed what, one JSON line each in ``<home>/audit.jsonl``.

The functions that change models, datasets, thresholds, labels, keys, machines and jobs call :func:`record_change`, so a
change is recorded alike for HTTP, for the command line and for workers.

**File.** Only its owner can read it. A line is written in one call, under a lock between processes. When the file would
exceed its limit, it becomes ``audit.jsonl.1``, that one ``audit.jsonl.2`` and so on; the oldest is deleted. A line is
not flushed to the disk: it survives the end of the process, and a power cut can lose the last ones.

**A change is never refused because of its line.** If the line cannot be written, such as on a full disk, it is in the
log of the service instead, as an error.
"""

import getpass
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml.system.atomic import file_lock
from ml.system.clock import timestamp
from ml.system.logs import current_job_id, current_request_id

logger = logging.getLogger("signalml.audit")
FILE = "audit.jsonl"
LOCK = ".audit.lock"
DONE = "done"
MAX_TEXT = 2000  # characters of a value, so that one line stays short
ActorKind = Literal["key", "local", "user", "worker"]


@dataclass(slots=True)
class _Limits:
    max_bytes: int = 10 * 2**20
    files: int = 10


_limits = _Limits()


@dataclass(slots=True)
class Actor:
    """Who makes a change.

    Attributes:
        kind: ``key``: a client with an API key; ``local``: a client of a service that requires no key; ``user``: a user
            of the command line; ``worker``: a job.
        name: name of the key, the user or the worker.
        address: network address of the client; None without one.
        n_changes: number of changes that were recorded for this actor.
    """

    kind: ActorKind
    name: str
    address: str | None = None
    n_changes: int = 0


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


def configure_audit(max_bytes: int, files: int) -> None:
    """Set the limits of the audit log in this process.

    Args:
        max_bytes: largest size of one file, in bytes.
        files: number of full files that are kept.
    """
    _limits.max_bytes, _limits.files = max_bytes, files


@contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Set who makes the changes within this context; without it, it is the user of the process."""
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)


def user_name() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return f"user {os.getuid()}"


def record_change(
    home: Path, action: str, target: str, *, before: Any = None, after: Any = None, outcome: str = DONE
) -> None:
    """Add a line to the audit log. Never raises because of the disk.

    Args:
        home: SIGNALML_HOME.
        action: what was done, such as ``model.promote``.
        target: what it was done to, such as ``champion``.
        before: small value before the change.
        after: small value after the change.
        outcome: ``done``, or the code of the error that prevented the change.
    """
    actor = _actor.get() or Actor("user", user_name())
    actor.n_changes += 1
    entry = {
        "time": timestamp(),
        "actor_kind": actor.kind,
        "actor": actor.name,
        "address": actor.address,
        "action": action,
        "object": target[:MAX_TEXT],
        "before": _short(before),
        "after": _short(after),
        "outcome": outcome,
        "request_id": current_request_id(),
        "job": current_job_id(),
    }
    # ASCII only: a name with control characters or line separators cannot change how a line reads.
    line = json.dumps(entry, default=str).encode() + b"\n"
    try:
        _append(home, line)
    except OSError as error:
        logger.error("the audit log cannot be written: %s", error.strerror, extra={"facts": {"audit": entry}})


def read_entries(home: Path) -> Iterator[dict[str, Any]]:
    """Yield all lines of the audit log, the oldest first. Damaged lines are passed over."""
    for file in reversed(_files(home)):
        try:
            lines = file.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def _files(home: Path) -> list[Path]:
    """Return the present file and the full ones, the newest first."""
    kept = [home / f"{FILE}.{number}" for number in range(1, _limits.files + 1)]
    return [home / FILE, *kept]


def _append(home: Path, line: bytes) -> None:
    home.mkdir(parents=True, exist_ok=True)
    with file_lock(home / LOCK):
        _rotate(home, len(line))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(home / FILE, flags, 0o600)
        try:
            _write_whole(descriptor, line)
        finally:
            os.close(descriptor)


def _write_whole(descriptor: int, line: bytes) -> None:
    """Write a line completely or not at all."""
    size = os.fstat(descriptor).st_size
    # A process that was killed within a write leaves a part of a line, which must not join the next one.
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    whole = b"\n" + line if torn else line
    if os.write(descriptor, whole) < len(whole):
        os.ftruncate(descriptor, size)
        raise OSError(0, "the disk took only a part of the line")


def _rotate(home: Path, needed: int) -> None:
    present, *kept = _files(home)
    try:
        if present.stat().st_size + needed <= _limits.max_bytes:
            return
    except FileNotFoundError:
        return
    if not kept:
        present.unlink()
        return
    for newer, older in zip(reversed([present, *kept[:-1]]), reversed(kept), strict=True):
        if newer.exists():
            newer.replace(older)


def _short(value: Any) -> Any:
    """Return a value, or the beginning of its text if it is long."""
    text = json.dumps(value, default=str)
    return value if len(text) <= MAX_TEXT else text[:MAX_TEXT]
