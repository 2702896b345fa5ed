"""Progress of long work on stderr: bars on a terminal, one line for each step in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column

from ml.system.progress import Progress, ProgressCallback
from ml.system.text import printable

# Widths of a terminal, in characters: from WIDE on, everything is shown; below NARROW, there is no bar.
WIDE, NARROW = 110, 60


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[ProgressCallback]:
    """Show progress until the work is done.

    Args:
        console: output; default: stderr.

    Yields:
        Callback that the work calls with its progress.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        with _bars(console) as bars:
            yield _BarReport(bars)
    else:
        yield _LineReport(console)


def _bars(console: Console) -> Bars:
    """Return the bars. Step, count and time left are always shown; the note gets the remaining width."""
    columns: list[ProgressColumn] = [TextColumn("{task.description:<22}", markup=False)]
    if console.width >= NARROW:
        columns.append(BarColumn(24 if console.width >= WIDE else 10, table_column=Column(no_wrap=True)))
    columns.append(MofNCompleteColumn(table_column=Column(no_wrap=True)))
    if console.width >= WIDE:
        columns.append(TimeElapsedColumn(table_column=Column(no_wrap=True)))
    columns.append(TimeRemainingColumn(table_column=Column(no_wrap=True)))
    remaining = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns.append(TextColumn("{task.fields[note]}", markup=False, table_column=remaining))
    return Bars(*columns, console=console, expand=True)


class _BarReport:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.step not in self._tasks:
            self._tasks[progress.step] = self._bars.add_task(printable(progress.step), note="")
        self._bars.update(
            self._tasks[progress.step], completed=progress.done, total=progress.total, note=printable(progress.note)
        )


class _LineReport:
    """One line at the end of each step, with its last note."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, progress: Progress) -> None:
        if progress.done == progress.total:
            line = f"{progress.step}: {progress.done} of {progress.total} {progress.note}"
            self._console.print(printable(line.rstrip()), markup=False, highlight=False)
