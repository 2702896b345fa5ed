"""Diagnostic job: does nothing, to test a queue and its workers."""

import time
from pathlib import Path

from ml.system.progress import Progress
from worker.jobs import DiagnosticParameters
from worker.lease import Lease

TICK_S = 0.1


def begin(lease: Lease, _: Path, parameters: DiagnosticParameters) -> None:
    """Wait for the requested time."""
    ticks = round(parameters.seconds / TICK_S)
    for tick in range(ticks):
        lease.report(Progress("nothing", tick, ticks))
        time.sleep(TICK_S)
    unit = lease.unit
    lease.retry(lambda: lease.store.succeed(unit, {"through": parameters.through, "seconds": parameters.seconds}, ""))
