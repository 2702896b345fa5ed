"""A worker: Celery's prefork pool, with everything that this project does not leave to its defaults."""

import logging
import multiprocessing
import os
import signal
import warnings
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning

from ml.system.logs import configure_logging
from ml.system.native import reuse_memory, signal_on_parent_death
from worker.jobs import QueueName
from worker.lease import StopFlag
from worker.queue import JobQueue, celery_app
from worker.recovery import Recovery, step_for
from worker.retraining import NICENESS
from worker.tasks import register
from worker.transport import use_for_redis

logger = logging.getLogger("signalml.worker")
FORKED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker is run.

    Attributes:
        url: of the broker.
        home: SIGNALML_HOME.
        queues: whose work it does.
        children: processes that work at once.
        niceness: of those processes, 0 to 19; 19 leaves the cores to whoever wants them.
        retention_s: how long jobs that ended are remembered.
        log_level: least severe line that is logged.
        alive: a file to touch while all is well.
    """

    url: str
    home: Path
    queues: tuple[QueueName, ...]
    children: int
    niceness: int = NICENESS
    retention_s: float
    log_level: str = "info"
    alive: Path | None = None


def run(options: WorkerOptions) -> int:
    """Work until told to stop; returns the exit status.

    SIGTERM and SIGINT hand back what is under way, so that another worker goes on with it, and then end this one.
    """
    # On a descriptor of its own: what a training holds back of TensorFlow's notes (ml.system.native) is not this.
    configure_logging(options.log_level, os.fdopen(os.dup(2), "w", buffering=1))
    # It warns of the superuser because of pickled messages, of which none is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # Celery's own lines of each message say less than the work's.
    for name in ("celery", "kombu"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(options.log_level.upper())))
    stopping = StopFlag()
    app = celery_app(options.url)
    use_for_redis(app)
    register(app, options.url, options.home, stopping)
    recovery = Recovery(
        JobQueue(options.url), options.home, options.queues, options.children, options.retention_s, options.alive
    )
    app.steps["consumer"].add(step_for(recovery))
    app.conf.worker_proc_alive_timeout = FORKED_WITHIN_S
    parent, standard = os.getpid(), multiprocessing.current_process()

    def on_fork(**_: Any) -> None:
        _begin_child(parent, standard, options.niceness)

    def on_stop(**_: Any) -> None:
        stopping.set()
        recovery.deregister()

    def keep_logging(**_: Any) -> None:
        """Celery leaves logging alone once somebody listens to this."""

    signals.setup_logging.connect(keep_logging)
    signals.worker_process_init.connect(on_fork)
    signals.worker_shutting_down.connect(on_stop)
    logger.info("starting", extra={"facts": {"queues": options.queues, "children": options.children}})
    worker = app.Worker(
        queues=",".join(options.queues),
        concurrency=options.children,
        pool="prefork",
        # A process that has trained holds TensorFlow and its memory: the next training gets a new one.
        max_tasks_per_child=1 if "training" in options.queues else None,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    logger.info("stopped")
    return int(worker.exitcode or 0)


def _begin_child(parent: int, standard: BaseProcess, niceness: int) -> None:
    """In a process that was just forked."""
    signal_on_parent_death(parent, signal.SIGKILL)
    # Celery passes its own process off as the standard library's: a daemon, which may have no children, with a key that
    # cannot be handed on. A training reads with processes of its own, and those end with it (ml.system.parallel).
    multiprocessing.process._current_process = standard  # type: ignore[attr-defined]  # there is no public way
    os.nice(niceness)
    reuse_memory()
