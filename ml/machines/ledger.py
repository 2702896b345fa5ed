"""Records of machines in one SQLite file: ``<home>/machines/health.sqlite3``.

**Bounded.** For each version and machine, the first 100 verdicts (the reference of drift) and the last 900 are kept.
For each machine, the 3 versions used last, the last 100 alarms and the last 100 recordings that could not be judged are
kept. If there are more machines than ``machines_kept``, the one without a recording for the longest time is removed;
machines in alarm are removed last. A machine that an API key makes removes only a machine that the same key made: a
client cannot remove the record of others by invented names.

**Ordered.** Verdicts count in the order of the times of their recordings; without such a time, in the order in which
they arrive, at any process. One transaction numbers a verdict and raises or clears an alarm.

**Counted once.** The same bytes for one machine are one verdict (:mod:`ml.machines.repeats`).
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Self

from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.errors import MachinesUnavailable, NothingToAcknowledge, StorageFull
from ml.machines import history, insertion, queries, repeats, rows
from ml.machines.alarms import Acknowledgement, Alarm, AlarmState
from ml.machines.health import Health, HealthSummary
from ml.machines.history import ScorePoint
from ml.machines.limits import INSERTED_AT_ONCE, MACHINES_KEPT, MachineLimits
from ml.machines.observation import KeyedRequest, Observation
from ml.machines.repeats import Repeat
from ml.machines.schema import open_for_reading, open_for_writing
from ml.machines.threshold_preview import MachinePreview, preview_machine
from ml.system.audit import record_change
from ml.system.clock import timestamp


@contextmanager
def _translate_errors(writes: bool = False) -> Iterator[None]:
    """Translate errors of SQLite and the system to errors of this project."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if writes and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(
                "The disk filled up while the record of machines was written: the record is unchanged."
            ) from error
        # strerror has no path: clients see this message.
        reason = error.strerror if isinstance(error, OSError) else error
        raise MachinesUnavailable(f"machines/health.sqlite3 in the home cannot be used: {reason}.") from error


class Ledger:
    """Records of machines, for one thread. Close it after use, or use it as a context manager.

    Args:
        home: the folder with the folder ``machines``.
        create: create the file if it is absent; without this, an absent file reads as an empty record.
        rule: alarm rule.
        machines_kept: largest number of machines.
        machines_per_key: largest number of machines that one API key makes; None for ``machines_kept``.

    Raises:
        MachinesUnavailable: the file cannot be read or created.
    """

    @_translate_errors()
    def __init__(
        self,
        home: Path,
        create: bool = False,
        rule: KOfNRule = DEFAULT_RULE,
        machines_kept: int = MACHINES_KEPT,
        machines_per_key: int | None = None,
    ) -> None:
        self.rule = rule
        self._home = home
        self._file = home / "machines" / "health.sqlite3"
        self._limits = MachineLimits(machines_kept, machines_per_key or machines_kept)
        self._db = open_for_writing(self._file) if create else open_for_reading(self._file)
        self._opened = self._file_identity()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @_translate_errors()
    def is_current(self) -> bool:
        """Check that the open file is still the file at its path: a user can delete it to start again.

        Raises:
            MachinesUnavailable: the path cannot be checked.
        """
        return self._opened == self._file_identity()

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino)

    @_translate_errors(writes=True)
    def record(self, observations: Iterable[Observation]) -> list[Observation]:
        """Add verdicts, all or none. They survive the end of the process; a power cut can lose the last ones.

        Returns:
            Verdicts that were left out: there is no place for their machines, and their API key has made no machine
            that could be removed for them.

        Raises:
            StorageFull, MachinesUnavailable: no verdict was added.
        """
        waiting = iter(observations)
        with self._writing(synchronous="NORMAL"):  # no fsync for each call: there can be a hundred a second
            refused: list[Observation] = []
            while part := list(islice(waiting, INSERTED_AT_ONCE)):
                refused += insertion.insert_observations(self._db, part, self.rule, self._limits)
            return refused

    @_translate_errors()
    def find_repeat(self, observation: Observation) -> Repeat | None:
        """Return the verdict that was recorded before for the same bytes; None if the observation would count.

        Raises:
            MachinesUnavailable
        """
        return repeats.find_repeat(self._db, observation)

    @_translate_errors()
    def find_request(self, key: str) -> str | None:
        """Return the digest of the request that an Idempotency-Key was used for within the last day.

        Raises:
            MachinesUnavailable
        """
        return repeats.find_request(self._db, key, timestamp())

    @_translate_errors(writes=True)
    def remember_request(self, request: KeyedRequest, digests: Iterable[str] = ("",)) -> None:
        """Keep an Idempotency-Key for a day, with the digests of the files of its request.

        Raises:
            StorageFull, MachinesUnavailable
        """
        with self._writing(synchronous="NORMAL"):
            for digest in digests:
                repeats.remember_request(self._db, request, digest, timestamp())

    @_translate_errors(writes=True)
    def remove(self, machine_id: str) -> None:
        """Remove the record of a machine: verdicts and alarms.

        Raises:
            MachineNotFound, StorageFull, MachinesUnavailable
        """
        with self._writing(synchronous="FULL"):
            rows.require_machine(self._db, machine_id)
            self._db.execute("DELETE FROM machines WHERE machine_id = ?", (machine_id,))
        record_change(self._home, "machine.remove", machine_id)

    @_translate_errors(writes=True)
    def acknowledge(self, machine_id: str, acknowledgement: Acknowledgement, alarm_id: int | None = None) -> Alarm:
        """Record the acknowledgement of a machine's alarm; it is on the disk when this returns.

        Args:
            machine_id: name of the machine.
            acknowledgement: person, time and note.
            alarm_id: id of the alarm; None for the active one.

        Returns:
            The alarm with its acknowledgement.

        Raises:
            MachineNotFound, StorageFull, MachinesUnavailable
            NothingToAcknowledge: the machine is in no alarm or in another one, or the alarm is acknowledged already.
        """
        with self._writing(synchronous="FULL"):
            rows.require_machine(self._db, machine_id)
            alarm = _require_unacknowledged(machine_id, rows.active_alarm(self._db, machine_id), alarm_id)
            self._db.execute(
                "UPDATE alarms SET acknowledged_at = ?, acknowledged_by = ?, acknowledged_key = ?, note = ? "
                "WHERE id = ?",
                (acknowledgement.at, acknowledgement.by, acknowledgement.key, acknowledgement.note, alarm.id),
            )
        after = {"alarm": alarm.id, "by": acknowledgement.by, "note": acknowledgement.note}
        record_change(self._home, "machine.acknowledge", machine_id, after=after)
        return replace(alarm, acknowledged=acknowledgement)

    @_translate_errors()
    def states(self) -> dict[str, AlarmState]:
        """Return the state of each machine, in the order of names."""
        with self._reading():
            return queries.states(self._db, self.rule)

    @_translate_errors()
    def state(self, machine_id: str) -> AlarmState:
        """Return the state of one machine; ``normal`` without a record.

        Raises:
            MachinesUnavailable
        """
        with self._reading():
            return queries.state(self._db, machine_id, self.rule)

    @_translate_errors()
    def summaries(self) -> list[HealthSummary]:
        """Return the summary of each machine, in the order of names."""
        with self._reading():
            return queries.summaries(self._db, self.rule)

    @_translate_errors()
    def has_machine(self, machine_id: str) -> bool:
        """Check that a machine has a record.

        Raises:
            MachinesUnavailable
        """
        return rows.machine_exists(self._db, machine_id)

    @_translate_errors()
    def health(self, machine_id: str, latest: int) -> Health:
        """Return all facts about a machine.

        Args:
            machine_id: name of the machine.
            latest: largest number of last recordings to return.

        Raises:
            MachineNotFound, MachinesUnavailable
        """
        with self._reading():
            return queries.health(self._db, machine_id, self.rule, latest)

    @_translate_errors()
    def score_points(self, machine_id: str, since: str, until: str, most: int) -> list[ScorePoint]:
        """Return the verdicts on a machine over time as at most ``most`` points.

        Args:
            machine_id: name of the machine.
            since: beginning, ISO 8601.
            until: end, ISO 8601.
            most: largest number of points, at least 1.

        Raises:
            MachineNotFound, MachinesUnavailable
        """
        with self._reading():
            rows.require_machine(self._db, machine_id)
            return history.score_points(self._db, machine_id, since, until, most)

    @_translate_errors()
    def preview_threshold(
        self, version: str, threshold: float, since: str, wanted: Callable[[str], bool] = lambda _: True
    ) -> list[MachinePreview]:
        """Return what another threshold would have meant for each machine, in the order of names.

        Args:
            version: model version; machines without its verdicts are left out.
            threshold: the other threshold, 0 to 1.
            since: beginning, ISO 8601, UTC.
            wanted: whether a machine is wanted, by its name.

        Raises:
            MachinesUnavailable
        """
        with self._reading():  # one machine at a time: there can be a million verdicts
            machines = groupby(rows.judged_since(self._db, version, since), key=lambda each: each.machine_id)
            return [preview_machine(name, list(some), threshold, self.rule) for name, some in machines if wanted(name)]

    @contextmanager
    def _writing(self, synchronous: str) -> Iterator[None]:
        """Open a transaction for writing: all or nothing, and no other writer meanwhile."""
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Open a transaction for reading: all queries see the same moment."""
        with self._db:
            self._db.execute("BEGIN")
            yield


def _require_unacknowledged(machine_id: str, active: Alarm | None, alarm_id: int | None) -> Alarm:
    """Return the active alarm if it can be acknowledged.

    Raises:
        NothingToAcknowledge
    """
    if active is None:
        raise NothingToAcknowledge(f"{machine_id} is not in alarm; an active alarm was expected.")
    if alarm_id not in (None, active.id):
        raise NothingToAcknowledge(
            f"{machine_id} is in alarm {active.id} now; alarm {alarm_id} was to be acknowledged."
        )
    if (earlier := active.acknowledged) is not None:
        raise NothingToAcknowledge(
            f"Alarm {active.id} of {machine_id} is acknowledged already: by {earlier.by} at {earlier.at}."
        )
    return active
