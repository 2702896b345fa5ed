"""Parallel map over many items, in one process per core, with a bounded number of items in work."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import cache
from itertools import islice
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from ml.errors import ProcessLost
from ml.system.native import reuse_memory
from ml.system.progress import Progress, ProgressCallback, ignore_progress

Item = TypeVar("Item")
Result = TypeVar("Result")
# Submitted items per process: enough that no process is idle between two reports, few enough to bound the results.
WAITING_PER_PROCESS = 8
# A BLAS reads these when it is loaded: OpenBLAS, MKL, and libraries with OpenMP.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
# With fewer items, the start of processes (a second, mostly the import of scipy) costs more time than it saves.
WORTH_A_PROCESS = 32


def process_count(items: int, requested: int | None = None) -> int:
    """Return the number of processes: ``requested``, or one per usable core from 32 items on, else 1."""
    if requested is not None:
        return max(1, requested)
    return len(os.sched_getaffinity(0)) if items >= WORTH_A_PROCESS else 1


def ordered_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    step: str,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Iterator[Result]:
    """Apply a function to each item and yield the results in the order of the items.

    An error of ``function`` is raised when its item is due. Items that are not started yet are dropped.

    Args:
        function: the function; picklable, like items and results (a function of a module, or a partial of one).
        items: the items.
        step: name of this work in progress reports.
        processes: number of processes; 1 works in this process; None decides by cores and items.
        report: called at the start and after each item.

    Raises:
        ProcessLost: a process was killed from outside.
    """
    count = process_count(len(items), processes)
    report(Progress(step, 0, len(items)))
    # Closed here, not when a traceback is deleted: no process continues to work after an error was reported.
    with closing(_map_serially(function, items) if count == 1 else _map_in_pool(function, items, count)) as results:
        for done, result in enumerate(results, 1):
            report(Progress(step, done, len(items)))
            yield result


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread: with more, the order of sums and the last digits depend on the machine."""
    with ThreadpoolController().limit(limits=1):
        yield


def _map_serially(function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    """Apply the function in this process, with one BLAS thread as in a pool: results are equal to the bit.

    A BLAS that is first loaded by ``function`` is not limited.
    """
    threads = ThreadpoolController()
    for item in items:
        # The limit is lifted between items, when the caller works.
        with threads.limit(limits=1):
            result = function(item)
        yield result


def _map_in_pool(
    function: Callable[[Item], Result], items: Sequence[Item], count: int
) -> Generator[Result, None, None]:
    # Not forked: the parent can have threads of TensorFlow, and a fork copies their locks without the threads.
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("forkserver"), initializer=_initialise_process)
    remaining = iter(items)
    waiting: deque[Future[Result]] = deque(
        pool.submit(_call_single_threaded, function, item) for item in islice(remaining, count * WAITING_PER_PROCESS)
    )
    try:
        while waiting:
            try:
                result = waiting.popleft().result()
            except BrokenProcessPool as error:
                raise ProcessLost(
                    f"One of {count} processes was killed, perhaps because memory was full: "
                    "try again with fewer processes."
                ) from error
            waiting.extend(pool.submit(_call_single_threaded, function, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _call_single_threaded(function: Callable[[Item], Result], item: Item) -> Result:
    """Call the function with one BLAS thread: more would compete for the cores, and add in another order."""
    with _loaded_threads().limit(limits=1):
        return function(item)


@cache
def _loaded_threads() -> ThreadpoolController:
    """Return a controller of the libraries that are loaded now, for example by the parent's main module.

    Libraries that are loaded later take their number of threads from the environment.
    """
    return ThreadpoolController()


def _initialise_process() -> None:
    """Set one thread for each BLAS loaded later, keep freed memory, end this process with its parent."""
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    reuse_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent.

    The process keeps its own queue open. After a kill of the parent it would wait forever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
