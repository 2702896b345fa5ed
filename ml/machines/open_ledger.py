"""Record of machines that stays open between uses, and follows a file that was replaced."""

from collections.abc import Callable

from ml.machines.ledger import Ledger


class OpenLedger:
    """Record of machines, for one thread at a time. It is opened at the first use.

    Args:
        open_ledger: opens the record.
    """

    def __init__(self, open_ledger: Callable[[], Ledger]) -> None:
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None

    def current(self) -> Ledger:
        """Return the record; a user can delete the file to start again, and then the new one is opened.

        Raises:
            MachinesUnavailable
        """
        if self._ledger is not None and not self._ledger.is_current():
            self.close()
        if self._ledger is None:
            self._ledger = self._open_ledger()
        return self._ledger

    def close(self) -> None:
        """Close the record; the next use opens it again."""
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None
