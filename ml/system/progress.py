"""Progress of long work: one callback type, from the innermost function to the user interface."""

from collections.abc import Callable
from dataclasses import dataclass

from ml.errors import Cancelled


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress report.

    Attributes:
        step: name of the present step, as people see it (``features``, ``epochs``).
        done, total: finished and all units of this step.
        note: more details, such as the loss of an epoch.
    """

    step: str
    done: int
    total: int
    note: str = ""


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Do nothing with a report."""


def cancellable(report: ProgressCallback, cancelled: Callable[[], bool]) -> ProgressCallback:
    """Wrap a callback so that its next call stops the work after ``cancelled`` returns true.

    Raises:
        Cancelled: from the wrapped callback.
    """

    def report_or_cancel(progress: Progress) -> None:
        if cancelled():
            raise Cancelled(f"Cancelled at {progress.step} {progress.done} of {progress.total}.")
        report(progress)

    return report_or_cancel
