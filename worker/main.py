"""A worker: Celery's prefork pool with the settings of this project."""

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
FORK_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Options of a worker.

    Attributes:
        url: address of the broker.
        home: SIGNALML_HOME.
        queues: queues that it takes work from.
        children: number of processes that work at the same time.
        niceness: niceness of these processes, 0 to 19; 19 gives other processes the priority.
        retention_s: how long records of ended jobs are kept, in seconds.
        log_level: lowest level that is logged.
        alive: file that is touched while the worker is alive; None for no file.
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
    """Work until a signal stops the worker; return the exit status.

    On SIGTERM and SIGINT the worker returns its running work, so that another worker continues it, and ends.
    """
    # The log has its own file descriptor, because a training redirects stderr to hide TensorFlow's messages.
    configure_logging(options.log_level, os.fdopen(os.dup(2), "w", buffering=1))
    # Celery warns against running as root because of pickled messages. No pickled message is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # The log lines of the work are more useful than Celery's.
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
    app.conf.worker_proc_alive_timeout = FORK_TIMEOUT_S
    parent, standard = os.getpid(), multiprocessing.current_process()

    def on_fork(**_: Any) -> None:
        _start_child(parent, standard, options.niceness)

    def on_stop(**_: Any) -> None:
        stopping.set()
        recovery.deregister()

    def keep_logging(**_: Any) -> None:
        """Do nothing. With a receiver for this signal, Celery does not configure logging."""

    signals.setup_logging.connect(keep_logging)
    signals.worker_process_init.connect(on_fork)
    signals.worker_shutting_down.connect(on_stop)
    logger.info("starting", extra={"facts": {"queues": options.queues, "children": options.children}})
    worker = app.Worker(
        queues=",".join(options.queues),
        concurrency=options.children,
        pool="prefork",
        # A process keeps TensorFlow and its memory after a training, so each training gets a new process.
        max_tasks_per_child=1 if "training" in options.queues else None,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    logger.info("stopped")
    return int(worker.exitcode or 0)


def _start_child(parent: int, standard: BaseProcess, niceness: int) -> None:
    """Prepare a process that was just forked."""
    signal_on_parent_death(parent, signal.SIGKILL)
    # Celery replaces the standard library's current process with its own. This one is a daemon, which may not have
    # children, and its key cannot be passed on. But a training starts its own processes (ml.system.parallel).
    multiprocessing.process._current_process = standard  # type: ignore[attr-defined]  # no public interface exists
    os.nice(niceness)
    reuse_memory()
