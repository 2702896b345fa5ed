"""The same work in several processes that start together, as workers and API processes of one home do."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

from testing.servers import PATIENCE_S


def at_once(
    work: Callable[..., object],
    calls: Sequence[tuple[Any, ...]],
    meanwhile: Callable[[], object] = lambda: time.sleep(0.01),
) -> None:
    """Call ``work`` with each of ``calls``, each in a process of its own; none may fail or stay.

    Args:
        work: a function of a module, which a new process can import.
        calls: its arguments, one tuple for each process.
        meanwhile: called here again and again until all processes have ended.
    """
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(len(calls) + 1, timeout=PATIENCE_S)
    workers = [spawn.Process(target=_begin, args=(start, work, call), daemon=True) for call in calls]
    for worker in workers:
        worker.start()
    start.wait()
    deadline = time.monotonic() + PATIENCE_S
    while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
        meanwhile()
    ended = [worker.exitcode for worker in workers]
    assert ended == [0] * len(calls), f"the processes ended with {ended}"


def _begin(start: Barrier, work: Callable[..., object], call: tuple[Any, ...]) -> None:
    start.wait()
    work(*call)
