"""Work on many recordings: planned once, done in parts by all workers, merged at the end.

A lost part costs only seconds of work, and the overhead of a part is small. Doing a part twice gives the same rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ml.errors import Cancelled
from worker.lease import Lease
from worker.results import JobFolder, ResultRow

RECORDINGS_PER_PART = 32
# Finished rows are written at this interval, so that a part of long recordings does not start again from its beginning.
WRITE_INTERVAL_S = 2.0
Item = TypeVar("Item")


def split_into_parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Split items into parts of at most :data:`RECORDINGS_PER_PART`."""
    return [items[at : at + RECORDINGS_PER_PART] for at in range(0, len(items), RECORDINGS_PER_PART)]


def process_part(lease: Lease, folder: JobFolder, items: Sequence[Item], work: Callable[[Item], ResultRow]) -> None:
    """Do the remaining items of a part, and write their rows to files that the record lists.

    Raises:
        Cancelled: the work must end. If only the worker stops, finished rows are kept.
        LeaseLost: another worker has the part.
    """
    unit = lease.unit
    at, rows, written_s = unit.at, list[ResultRow](), time.monotonic()

    def write(stop: int) -> None:
        part = folder.write_part(unit.name, at, unit.token, rows)
        lease.retry_and_notify(lambda: lease.store.advance(unit, stop, part))
        rows.clear()

    for position in range(unit.at, unit.stop):
        try:
            lease.check()
        except Cancelled:
            if lease.stopping and rows:
                write(position)
            raise
        rows.append(work(items[position]))
        if position + 1 == unit.stop or time.monotonic() - written_s >= WRITE_INTERVAL_S:
            write(position + 1)
            at, written_s = position + 1, time.monotonic()


def gather_parts(lease: Lease, home: Path, summarise: Callable[[Iterator[dict[str, Any]]], dict[str, Any]]) -> None:
    """Merge the rows of all parts into one result, and end the job.

    Raises:
        LeaseLost: another worker has the unit.
        StorageFull: the disk is full.
    """
    unit, folder = lease.unit, JobFolder(home, lease.unit.job_id)
    files = lease.retry(lambda: lease.store.part_files(unit))
    result = folder.merge_parts(files, unit.token)
    summary = summarise(folder.rows(result))
    lease.retry(lambda: lease.store.succeed(unit, summary, result))
    folder.keep_only(result)
