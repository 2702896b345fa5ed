"""How far a long piece of work is: one callback, from the deepest room to whoever is waiting."""

from collections.abc import Callable
from dataclasses import dataclass

from ml.errors import Cancelled


@dataclass(frozen=True, slots=True)
class Progress:
    """One report.

    Attributes:
        step: which step is under way, in the words a person is shown (``features``, ``epochs``).
        done, total: how much of that step is behind us, in whatever it counts.
        note: a few words more, such as an epoch's loss.
    """

    step: str
    done: int
    total: int
    note: str = ""


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """A report that nobody reads."""


def cancellable(report: ProgressCallback, cancelled: Callable[[], bool]) -> ProgressCallback:
    """The same report, which stops the work at its next step once ``cancelled`` says so.

    Raises:
        Cancelled: from the report that is made next.
    """

    def report_or_cancel(progress: Progress) -> None:
        if cancelled():
            raise Cancelled(f"Stopped at {progress.step} {progress.done} of {progress.total}, as was asked.")
        report(progress)

    return report_or_cancel
