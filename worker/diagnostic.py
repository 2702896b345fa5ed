"""A diagnostic: nothing is done, so that what is left to see is the way through the queue."""

import time
from pathlib import Path

from ml.system.progress import Progress
from worker.jobs import DiagnosticParameters
from worker.lease import Lease

TICK_S = 0.1


def begin(lease: Lease, _: Path, parameters: DiagnosticParameters) -> None:
    """Do nothing for as long as was asked."""
    ticks = round(parameters.seconds / TICK_S)
    for tick in range(ticks):
        lease.report(Progress("nothing", tick, ticks))
        time.sleep(TICK_S)
    taken = lease.unit
    lease.retry(lambda: lease.store.succeed(taken, {"through": parameters.through, "seconds": parameters.seconds}, ""))
