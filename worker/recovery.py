"""What every worker does beside its work, once a second: it says that it lives, and looks after what others left.

Any number of workers do so at once; the store lets one of them through each time. It runs in the worker's own event
loop, between messages, so that no thread is alive when a process is forked.
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

from worker.jobs import QueueName
from worker.queue import JobQueue
from worker.results import JobFolder
from worker.store import SWEEP_S

logger = logging.getLogger("signalml.recovery")
HEARTBEAT_INTERVAL_S, PRUNE_EVERY_S = 3.0, 60.0


class Recovery:
    """The house-keeping of one worker.

    Args:
        jobs: the queue.
        home: where the folders of forgotten jobs are.
        queues, children: what this worker says of itself.
        kept_s: how long jobs that ended are remembered.
        alive: a file that is touched with every sweep, for whoever restarts workers that hang.
    """

    def __init__(
        self,
        jobs: JobQueue,
        home: Path,
        queues: tuple[QueueName, ...],
        children: int,
        kept_s: float,
        alive: Path | None,
    ) -> None:
        self._jobs, self._home, self._queues, self._children = jobs, home, queues, children
        self._kept_s, self._alive = kept_s, alive
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._beaten = self._pruned = float("-inf")
        self._away = False

    def tick(self) -> None:
        """One round."""
        try:
            self._round(time.monotonic())
        except redis.RedisError as error:
            if not self._away:
                logger.warning("the records cannot be reached: %s", error)
            self._away = True
            return
        if self._away:
            logger.info("the records can be reached again")
        self._away = False

    def deregister(self) -> None:
        """Say that this worker stops."""
        try:
            self._jobs.store.remove_worker(self._name)
        except redis.RedisError as error:
            logger.info("nobody could be told that this worker stops: %s", error)

    def _round(self, now: float) -> None:
        for owed in self._jobs.store.sweep():
            logger.info("sending messages again", extra={"facts": {"queue": owed.queue, "owed": owed.n_messages}})
            self._jobs.nudge(owed)
        if now - self._beaten >= HEARTBEAT_INTERVAL_S:
            self._jobs.store.heartbeat(self._name, self._queues, self._children, version("signalml"))
            self._beaten = now
            if self._alive is not None:
                self._alive.touch()
        if now - self._pruned >= PRUNE_EVERY_S:
            self._pruned = now
            for job in self._jobs.store.prune(self._kept_s):
                JobFolder(self._home, job).delete()


def step_for(recovery: Recovery) -> type[bootsteps.StartStopStep]:
    """The rounds as a part of a Celery worker: begun again with every new connection to the broker."""

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
