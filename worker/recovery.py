"""Housekeeping of every worker, once a second: sweep, heartbeat, and deletion of old jobs.

All workers do this, and the store accepts one sweep at a time. It runs in Celery's event loop, not in a thread, because
a worker forks at any time: a forked copy of a lock that another thread holds is never released.
"""

import logging
import os
import socket
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from celery import bootsteps

from ml.errors import InvalidName
from worker.jobs import QueueName
from worker.queue import JobQueue
from worker.results import JobFolder
from worker.store import SWEEP_S

logger = logging.getLogger("signalml.recovery")
HEARTBEAT_INTERVAL_S, PRUNE_INTERVAL_S = 3.0, 60.0


class Recovery:
    """Housekeeping of one worker.

    Args:
        jobs: the queue.
        home: home with the folders of the jobs.
        queues, children: queues and number of processes of this worker, for its heartbeat.
        retention_s: how long records of ended jobs are kept, in seconds.
        alive: file that is touched with every heartbeat, for a monitor that restarts hanging workers; None for no file.
    """

    def __init__(
        self,
        jobs: JobQueue,
        home: Path,
        queues: tuple[QueueName, ...],
        children: int,
        retention_s: float,
        alive: Path | None,
    ) -> None:
        self._jobs, self._home, self._queues, self._children = jobs, home, queues, children
        self._retention_s, self._alive = retention_s, alive
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._last_heartbeat_s = self._last_prune_s = float("-inf")
        self._unreachable = False

    def tick(self) -> None:
        """Do the housekeeping that is due."""
        try:
            self._run(time.monotonic())
        except redis.RedisError as error:
            if not self._unreachable:
                logger.warning("the job records cannot be reached: %s", error)
            self._unreachable = True
            return
        if self._unreachable:
            logger.info("the job records can be reached again")
        self._unreachable = False

    def deregister(self) -> None:
        """Remove this worker from the list of workers."""
        try:
            self._jobs.store.remove_worker(self._name)
        except redis.RedisError as error:
            logger.info("this worker could not be removed from the list of workers: %s", error)

    def _run(self, now_s: float) -> None:
        for nudges in self._jobs.store.sweep():
            logger.info("sending nudges again", extra={"facts": {"queue": nudges.queue, "owed": nudges.n_messages}})
            self._jobs.nudge(nudges)
        if now_s - self._last_heartbeat_s >= HEARTBEAT_INTERVAL_S:
            self._jobs.store.heartbeat(self._name, self._queues, self._children, version("signalml"))
            self._last_heartbeat_s = now_s
            if self._alive is not None:
                self._alive.touch()
        if now_s - self._last_prune_s >= PRUNE_INTERVAL_S:
            self._last_prune_s = now_s
            for job in self._jobs.store.prune(self._retention_s):
                self._delete_folder(job)

    def _delete_folder(self, job: str) -> None:
        """Delete the folder of a job; an id that is no id of a job deletes nothing, and does not stop the others."""
        try:
            JobFolder(self._home, job).delete()
        except InvalidName as error:
            logger.warning("a record with an invalid id was deleted: %s", error)


def step_for(recovery: Recovery) -> type[bootsteps.StartStopStep]:
    """Return the housekeeping as a Celery boot step, which starts with every new broker connection."""

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, consumer: Any, **options: Any) -> None:
            super().__init__(consumer, **options)
            self._timer: Any = None

        def start(self, consumer: Any) -> None:
            recovery.tick()
            self._timer = consumer.timer.call_repeatedly(SWEEP_S, recovery.tick)

        def stop(self, _: Any) -> None:
            if self._timer is not None:
                self._timer.cancel()

    return Step
