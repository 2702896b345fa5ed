"""The process pool: order, errors, and no process left after its work."""

import operator
import time
from functools import partial

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ml.system.parallel import ordered_map
from ml.system.progress import Progress


def blas_threads(_: int) -> list[int]:
    import numpy as np

    assert np.dot(np.ones(2), np.ones(2)) == 2  # loads BLAS where the process has none yet
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def slowly(item: int) -> int:
    time.sleep(0.05)
    return item


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_are_reported(processes: int) -> None:
    """One process and two give the same results and reports."""
    reports: list[Progress] = []
    results = ordered_map(partial(operator.mul, 2), range(40), step="x", processes=processes, report=reports.append)
    assert list(results) == [2 * item for item in range(40)]
    assert [report.done for report in reports] == list(range(41))


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_at_its_item(processes: int) -> None:
    """Earlier results come first."""
    results = ordered_map(partial(operator.truediv, 1), [1, 2, 0, 4], step="x", processes=processes)
    assert (next(results), next(results)) == (1, 0.5)
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_item_has_one_blas_thread(processes: int) -> None:
    """Sums are then equal to the bit; the caller keeps its own threads."""
    with threadpool_limits(2):
        found = list(ordered_map(blas_threads, range(2), step="x", processes=processes))
        assert 2 in blas_threads(0)
    assert [set(threads) for threads in found] == [{1}, {1}]


def test_no_process_continues_when_the_report_stops_the_work() -> None:
    """The pool has ended when the error arrives, though its traceback still exists."""
    import psutil

    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyError

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyError):
        list(ordered_map(slowly, range(40), step="x", processes=2, report=stop))
    left = [
        p for p in set(psutil.Process().children(recursive=True)) - before if "forkserver" not in " ".join(p.cmdline())
    ]
    assert [p for p in left if "resource_tracker" not in " ".join(p.cmdline())] == []
