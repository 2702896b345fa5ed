"""What was heard of machines, in one SQLite file: ``<home>/machines/health.sqlite3``.

**Bounded.** Of each version at each machine the first 100 verdicts are kept, which drift is measured from, and the
last 900; of each machine the 3 versions heard last and the last 100 alarms; of machines as many as are asked for: of
those that are not in alarm, the one that was silent longest makes room. Of recordings that could not be judged, the
last 100 of each machine.

**In order.** Verdicts count in the order they are recorded in, whichever process does it: each is numbered, and raises
or clears an alarm, within one transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from ml.errors import MachinesUnavailable, NothingToAcknowledge, StorageFull
from ml.machines import insertion, queries, rows
from ml.machines.alarms import DEFAULT_RULE, Acknowledgement, Alarm, AlarmState, KOfNRule
from ml.machines.health import Health, HealthSummary
from ml.machines.limits import MACHINES_KEPT
from ml.machines.observation import Observation
from ml.machines.schema import open_for_reading, open_for_writing


@contextmanager
def _translate_errors(writes: bool = False) -> Iterator[None]:
    """Say what cannot be done where SQLite only has its own words."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if writes and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(
                "The disk filled up while the record of machines was written: it is as before."
            ) from error
        # Without the path that the system's own words name: a client is told this.
        said = error.strerror if isinstance(error, OSError) else error
        raise MachinesUnavailable(f"machines/health.sqlite3 in the home cannot be used: {said}.") from error


class Ledger:
    """The record of machines, for one thread; to be closed.

    Args:
        home: the folder that holds ``machines/``.
        create: whether the file is made where it is not there; to whoever only reads, nothing was heard yet then.
        rule: when a machine is in alarm.
        machines_kept: how many machines are remembered.

    Raises:
        MachinesUnavailable: the file cannot be read, or not be made.
    """

    @_translate_errors()
    def __init__(
        self,
        home: Path,
        create: bool = False,
        rule: KOfNRule = DEFAULT_RULE,
        machines_kept: int = MACHINES_KEPT,
    ) -> None:
        self.rule = rule
        self._file = home / "machines" / "health.sqlite3"
        self._machines_kept = machines_kept
        self._db = open_for_writing(self._file) if create else open_for_reading(self._file)
        self._place = self._place_now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @_translate_errors()
    def is_current(self) -> bool:
        """Whether its file is the one that is there: somebody may have removed that to begin anew.

        Raises:
            MachinesUnavailable: that cannot be seen.
        """
        return self._place == self._place_now()

    def _place_now(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino)

    @_translate_errors(writes=True)
    def record(self, observations: Iterable[Observation]) -> None:
        """Add verdicts, all or none; the end of a process takes none of them back, a power cut may take the last.

        Raises:
            StorageFull, MachinesUnavailable: none was added.
        """
        with self._writing(synchronous="NORMAL"):  # no fsync for each: there may be a hundred a second
            for observation in observations:
                insertion.insert_observation(self._db, observation, self.rule, self._machines_kept)

    @_translate_errors(writes=True)
    def acknowledge(self, machine_id: str, acknowledgement: Acknowledgement, alarm_id: int | None = None) -> Alarm:
        """Note that somebody has seen a machine's alarm; it is on the disk when this returns.

        Args:
            machine_id: which machine.
            acknowledgement: who, when and what.
            alarm_id: the alarm that they have seen; by default whichever lasts.

        Raises:
            MachineNotFound, StorageFull, MachinesUnavailable
            NothingToAcknowledge: the machine is in no alarm, or in another, or that was acknowledged before.
        """
        with self._writing(synchronous="FULL"):
            rows.require_machine(self._db, machine_id)
            lasting = _unseen(machine_id, rows.active_alarm(self._db, machine_id), alarm_id)
            self._db.execute(
                "UPDATE alarms SET acknowledged_at = ?, acknowledged_by = ?, acknowledged_key = ?, note = ? "
                "WHERE id = ?",
                (acknowledgement.at, acknowledgement.by, acknowledgement.key, acknowledgement.note, lasting.id),
            )
        return replace(lasting, acknowledged=acknowledgement)

    @_translate_errors()
    def states(self) -> dict[str, AlarmState]:
        """The state of each machine, by their names."""
        with self._reading():
            return queries.states(self._db, self.rule)

    @_translate_errors()
    def summaries(self) -> list[HealthSummary]:
        """Every machine in one line, by their names."""
        with self._reading():
            return queries.summaries(self._db, self.rule)

    @_translate_errors()
    def has_machine(self, machine_id: str) -> bool:
        """Whether anything was heard of a machine, and is not forgotten.

        Raises:
            MachinesUnavailable
        """
        return rows.machine_exists(self._db, machine_id)

    @_translate_errors()
    def health(self, machine_id: str, latest: int) -> Health:
        """A machine, whole, with at most so many of its last verdicts.

        Raises:
            MachineNotFound, MachinesUnavailable
        """
        with self._reading():
            return queries.health(self._db, machine_id, self.rule, latest)

    @contextmanager
    def _writing(self, synchronous: str) -> Iterator[None]:
        """All or nothing, and no other writer in between."""
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Everything as it was at one moment."""
        with self._db:
            self._db.execute("BEGIN")
            yield


def _unseen(machine_id: str, lasting: Alarm | None, alarm_id: int | None) -> Alarm:
    """The alarm that may be acknowledged.

    Raises:
        NothingToAcknowledge
    """
    if lasting is None:
        raise NothingToAcknowledge(f"{machine_id} is in no alarm; one that lasts was expected.")
    if alarm_id not in (None, lasting.id):
        raise NothingToAcknowledge(f"{machine_id} is in alarm {lasting.id} by now; {alarm_id} was to be acknowledged.")
    if (said := lasting.acknowledged) is not None:
        raise NothingToAcknowledge(f"{said.by} has acknowledged alarm {lasting.id} of {machine_id} at {said.at}.")
    return lasting
