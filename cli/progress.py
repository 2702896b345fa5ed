"""Long work as a person sees it: bars on a terminal, a line for each step in a log. All on stderr."""

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

ROOMY, CRAMPED = 110, 60  # columns of a terminal: from the first, everything is shown; below the other, no bar


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[ProgressCallback]:
    """Show what is reported until the work is done.

    Args:
        console: where to; stderr if left out.

    Yields:
        The report to hand to the work.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        with _bars(console) as bars:
            yield _BarReport(bars)
    else:
        yield _LineReport(console)


def _bars(console: Console) -> Bars:
    """Step, count and time left are whole on any terminal; the note has what room they leave."""
    columns: list[ProgressColumn] = [TextColumn("{task.description:<22}", markup=False)]
    if console.width >= CRAMPED:
        columns.append(BarColumn(24 if console.width >= ROOMY else 10, table_column=Column(no_wrap=True)))
    columns.append(MofNCompleteColumn(table_column=Column(no_wrap=True)))
    if console.width >= ROOMY:
        columns.append(TimeElapsedColumn(table_column=Column(no_wrap=True)))
    columns.append(TimeRemainingColumn(table_column=Column(no_wrap=True)))
    room = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns.append(TextColumn("{task.fields[note]}", markup=False, table_column=room))
    return Bars(*columns, console=console, expand=True)


class _BarReport:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.step not in self._tasks:
            self._tasks[progress.step] = self._bars.add_task(progress.step, note="")
        self._bars.update(self._tasks[progress.step], completed=progress.done, total=progress.total, note=progress.note)


class _LineReport:
    """One line when a step is done; its note is its last word."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, progress: Progress) -> None:
        if progress.done == progress.total:
            line = f"{progress.step}: {progress.done} of {progress.total} {progress.note}"
            self._console.print(line.rstrip(), markup=False, highlight=False)
