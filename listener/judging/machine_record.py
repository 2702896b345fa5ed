"""Record of the verdicts of this listener on its machines, and the state of a machine's alarm after each.

The state is that of the ledger, which the API and other processes write too. If the ledger cannot be written, such as
on a full disk, the state is computed from the last verdicts in memory, and these verdicts are recorded later.
"""

import logging
import threading
from collections import deque

from listener.options import ListenerOptions
from ml.detectors.alarm_rule import KOfNRule
from ml.errors import SignalMLError
from ml.machines.alarms import AlarmState
from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.machines.open_ledger import OpenLedger

logger = logging.getLogger("signalml.machines")
MOST_PENDING = 1000


class RecentVerdicts:
    """State of a machine by its last verdicts in memory.

    Args:
        rule: alarm rule.

    Example:
        >>> recent = RecentVerdicts(KOfNRule(raise_at=2, n_verdicts=3, clear_at=0))
        >>> [recent.add(verdict) for verdict in ("anomalous", "anomalous", "normal", "normal", "normal")]
        ['normal', 'alarm', 'alarm', 'alarm', 'normal']
    """

    def __init__(self, rule: KOfNRule) -> None:
        self._rule = rule
        self._judged: deque[bool] = deque(maxlen=rule.n_verdicts)  # whether anomalous, newest first
        self._unusable: deque[bool] = deque(maxlen=rule.n_verdicts)
        self._in_alarm = False

    def add(self, verdict: str) -> AlarmState:
        """Add ``normal``, ``anomalous`` or ``unusable``, and return the state after it."""
        self._unusable.appendleft(verdict == "unusable")
        if verdict != "unusable":
            self._judged.appendleft(verdict == "anomalous")
            self._in_alarm = self._rule.is_in_alarm(tuple(self._judged), self._in_alarm)
        if self._in_alarm:
            return "alarm"
        return "unheard" if sum(self._unusable) >= self._rule.raise_at else "normal"


class MachineRecord:
    """Record of verdicts, safe from any thread.

    Args:
        options: home, alarm rule and number of machines.

    Attributes:
        lost: verdicts that were never recorded.
    """

    def __init__(self, options: ListenerOptions) -> None:
        self._options = options
        self._ledger = OpenLedger(self._open)
        self._recent: dict[str, RecentVerdicts] = {}
        self._pending: deque[Observation] = deque()
        self._failure: str | None = None
        self._lock = threading.Lock()
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Number of verdicts that wait until the ledger can be written again."""
        return len(self._pending)

    def add(self, observation: Observation) -> AlarmState | None:
        """Record a verdict. Never raises.

        Returns:
            State of the machine after it; None if the same bytes counted before, and this verdict does not.
        """
        with self._lock:
            try:
                state = self._write(observation)
            except SignalMLError as error:
                self._note_failure(str(error))
            except Exception:  # a bug must not end the judging
                logger.exception("unexpected error")
                self._note_failure("unexpected error")
            else:
                self._note_success()
                if state is not None:
                    self._remember(observation)
                return state
            self._keep(observation)
            return self._remember(observation)

    def close(self) -> None:
        """Record what waits, if that is possible now, and close the ledger."""
        with self._lock:
            try:
                if self._pending:
                    self._ledger.current().record(self._pending)
                    self._pending.clear()
            except SignalMLError as error:
                logger.error("%d verdicts are not recorded: %s", len(self._pending), error)
            self._ledger.close()

    def _write(self, observation: Observation) -> AlarmState | None:
        ledger = self._ledger.current()
        if self._pending:
            ledger.record(self._pending)
            self._pending.clear()
        counted = observation.digest is None or ledger.find_repeat(observation) is None
        ledger.record([observation])
        return ledger.state(observation.machine_id) if counted else None

    def _remember(self, observation: Observation) -> AlarmState:
        recent = self._recent.setdefault(observation.machine_id, RecentVerdicts(self._options.alarm_rule))
        return recent.add(observation.verdict)

    def _keep(self, observation: Observation) -> None:
        self._pending.append(observation)
        if len(self._pending) > MOST_PENDING:
            self._pending.popleft()
            self.lost += 1

    def _note_failure(self, failure: str) -> None:
        self._ledger.close()  # a disk that was away returns with the same file, which must be opened again
        if failure != self._failure:
            logger.error("verdicts on machines wait to be recorded: %s", failure)
        self._failure = failure

    def _note_success(self) -> None:
        if self._failure is not None:
            logger.info("verdicts on machines are recorded again")
        self._failure = None

    def _open(self) -> Ledger:
        options = self._options
        return Ledger(options.home, True, options.alarm_rule, options.machines_kept)
