"""Work on many recordings: planned once, done in parts by every worker there is, gathered at the end.

A part is small enough that losing one loses seconds, and large enough that what it costs to hand it over does not
count. Doing a part twice gives the same rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ml.errors import Cancelled
from worker.lease import Lease
from worker.results import JobFolder, ResultRow

RECORDINGS_PER_PART = 32
# Rows that are done are kept at least so often, so that a part of long recordings is not begun from its start again.
KEPT_EVERY_S = 2.0
Item = TypeVar("Item")


def split_into_parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The same items, a part's worth at a time."""
    return [items[at : at + RECORDINGS_PER_PART] for at in range(0, len(items), RECORDINGS_PER_PART)]


def process_part(lease: Lease, folder: JobFolder, items: Sequence[Item], work: Callable[[Item], ResultRow]) -> None:
    """Do what is left of a part, and keep what comes of it, in files that the record names one after another.

    Raises:
        Cancelled: the work is to end. If only its worker is, what was done is kept.
        Fenced: the part is another's now.
    """
    taken = lease.unit
    at, rows, kept = taken.at, list[ResultRow](), time.monotonic()

    def keep(stop: int) -> None:
        part = folder.write_part(taken.name, at, taken.token, rows)
        lease.retry_and_notify(lambda: lease.store.advance(taken, stop, part))
        rows.clear()

    for position in range(taken.at, taken.stop):
        try:
            lease.check()
        except Cancelled:
            if lease.stopping and rows:
                keep(position)
            raise
        rows.append(work(items[position]))
        if position + 1 == taken.stop or time.monotonic() - kept >= KEPT_EVERY_S:
            keep(position + 1)
            at, kept = position + 1, time.monotonic()


def gather_parts(lease: Lease, home: Path, summarise: Callable[[Iterator[dict[str, Any]]], dict[str, Any]]) -> None:
    """Put the rows of all parts into one result, and end the job.

    Raises:
        Fenced, StorageFull
    """
    taken, folder = lease.unit, JobFolder(home, lease.unit.job_id)
    files = lease.retry(lambda: lease.store.part_files(taken))
    result = folder.merge_parts(files, taken.token)
    summary = summarise(folder.rows(result))
    lease.retry(lambda: lease.store.succeed(taken, summary, result))
    folder.keep_only(result)
