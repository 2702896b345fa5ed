"""Uploads that are recorded already, or are about to be: whether a further one counts.

The record of machines is read, never written, before an answer. A reader does not wait for writers. If the record
cannot be read at once, the answer states that it is not known.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from ml.errors import MachinesUnavailable
from ml.machines.ledger import Ledger
from ml.machines.observation import KeyedRequest, Observation, RecordEntry
from ml.machines.open_ledger import OpenLedger
from ml.system.idempotency import require_same_request

# Another thread reads for less than a millisecond; a disk that hangs must not delay all uploads.
PATIENCE_S = 0.05
# After an error, the record is not read for this time.
BACKOFF_S = 1.0
T = TypeVar("T")


class RecordedUploads:
    """Uploads in the record of machines, and those that wait to be written by this process.

    Args:
        home: folder of the record.
    """

    def __init__(self, home: Path) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], str] = {}
        self._keys: dict[str, str] = {}
        self._reading = threading.Lock()
        self._ledger = OpenLedger(lambda: Ledger(home))
        self._backoff_until = 0.0

    def require_same_request(self, request: KeyedRequest) -> None:
        """Refuse a request whose key was used for another request.

        Raises:
            IdempotencyConflict
        """
        with self._lock:
            known = self._keys.get(request.key)
        if known is None:
            _, known = self._read(lambda ledger: ledger.find_request(request.key))
        require_same_request(known, request.digest)

    def enter(self, observation: Observation) -> RecordEntry:
        """Remember an upload until it is written, and return its place in the record."""
        with self._lock:
            known = self._waiting.get(_identity(observation))
            self._waiting.setdefault(_identity(observation), observation.at)
            if observation.request is not None:
                self._keys.setdefault(*observation.request)
        counted, first_at = (False, known) if known is not None else self._find_repeat(observation)
        return RecordEntry(observation.machine_id, observation.recorded_at, observation.time_from, counted, first_at)

    def enter_request(self, request: KeyedRequest) -> None:
        """Remember the key of a request until it is written."""
        with self._lock:
            self._keys.setdefault(*request)

    def remove(self, written: Iterable[Observation | KeyedRequest]) -> None:
        """Forget uploads and keys: from now on, the record decides."""
        with self._lock:
            for each in written:
                request = each if isinstance(each, KeyedRequest) else each.request
                if isinstance(each, Observation):
                    self._waiting.pop(_identity(each), None)
                if request is not None:
                    self._keys.pop(request.key, None)

    def _find_repeat(self, observation: Observation) -> tuple[bool | None, str | None]:
        """Return whether an upload counts, None if it is not known, and the time of the answer that counts instead."""
        readable, repeat = self._read(lambda ledger: ledger.find_repeat(observation))
        if not readable:
            return None, None
        return repeat is None, None if repeat is None else repeat.at

    def close(self) -> None:
        """Close the record."""
        if self._reading.acquire(timeout=PATIENCE_S):
            self._ledger.close()
            self._reading.release()

    def _read(self, query: Callable[[Ledger], T | None]) -> tuple[bool, T | None]:
        """Return whether the record can be read now, and the result of a query."""
        if time.monotonic() < self._backoff_until or not self._reading.acquire(timeout=PATIENCE_S):
            return False, None
        try:
            return True, query(self._ledger.current())
        except MachinesUnavailable:
            self._ledger.close()
            self._backoff_until = time.monotonic() + BACKOFF_S
            return False, None
        finally:
            self._reading.release()


def _identity(observation: Observation) -> tuple[str, str]:
    return observation.machine_id, observation.digest or ""
