"""The same work on many things, in as many processes as there are cores, a bounded number at a time."""

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
# Enough waiting work that no process idles between two reports; few enough that results do not pile up.
WAITING_PER_PROCESS = 8
# Read by a BLAS when it is loaded: OpenBLAS, MKL, and those built with OpenMP.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
# Below this, starting processes (a second, most of it importing scipy) takes longer than they save.
WORTH_A_PROCESS = 32


def process_count(items: int, requested: int | None = None) -> int:
    """How many processes to use: what was asked for, else one per core that this process may use, if it is worth it."""
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
    """``function`` of each item, in the order of the items.

    Args:
        function: what to do; picklable, as are items and results (a module's function, or a partial of one).
        items: on what.
        step: its name in the reports.
        processes: how many; 1 does the work here; None decides by cores and items.
        report: told after each item.

    Raises:
        ProcessLost: a process was killed from outside.
        Whatever ``function`` raises, at its item; work not yet begun is dropped.
    """
    count = process_count(len(items), processes)
    report(Progress(step, 0, len(items)))
    # Closed here, and not when a traceback is forgotten: no process works on after an error has been answered.
    with closing(_map_serially(function, items) if count == 1 else _map_in_pool(function, items, count)) as results:
        for done, result in enumerate(results, 1):
            report(Progress(step, done, len(items)))
            yield result


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread: with more it sums in another order, and the last digits depend on the machine."""
    with ThreadpoolController().limit(limits=1):
        yield


def _map_serially(function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    """One after another, with one BLAS thread as in a pool's process: the same numbers, to the bit.

    A BLAS that ``function`` loads only while it runs keeps its own number of threads.
    """
    threads = ThreadpoolController()
    for item in items:
        # Between items the caller works, with as many threads as it likes.
        with threads.limit(limits=1):
            result = function(item)
        yield result


def _map_in_pool(
    function: Callable[[Item], Result], items: Sequence[Item], count: int
) -> Generator[Result, None, None]:
    # Never forked: the parent may hold TensorFlow's threads, and their locks would be copied without them.
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
                    f"One of {count} processes was killed, perhaps for want of memory: try again with fewer of them."
                ) from error
            waiting.extend(pool.submit(_call_single_threaded, function, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _call_single_threaded(function: Callable[[Item], Result], item: Item) -> Result:
    """The processes are the parallelism: BLAS threads inside them would only compete, and sum in another order."""
    with _loaded_threads().limit(limits=1):
        return function(item)


@cache
def _loaded_threads() -> ThreadpoolController:
    """Of what was loaded before :func:`_initialise_process`, such as by the parent's main module; the rest has its environment."""
    return ThreadpoolController()


def _initialise_process() -> None:
    """One thread for every BLAS still to be loaded, memory kept for the next item, and an end with the parent's."""
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    reuse_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's processes hold their own queue open, so a parent that was killed would leave them waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
