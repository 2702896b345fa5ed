"""``signalml worker`` and ``signalml run``: whoever does the long work, alone or with all the rest."""

import os
import subprocess
import sys
from functools import partial
from typing import Annotated

import typer

from api.settings import Settings
from worker.broker import LocalBroker, local_broker_url
from worker.jobs import QUEUES, QueueUnavailable

WORKERS = {"worker": "extraction,scoring", "trainer": "training"}
SECONDS_A_DAY = 24 * 3600


def worker(
    queues: Annotated[
        str, typer.Option(help="Whose work it does: extraction,scoring or, with a worker of its own, training.")
    ] = WORKERS["worker"],
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Recordings worked on at once; else SIGNALML_WORKER_PROCESSES, or the cores."),
    ] = None,
) -> None:
    """Do the long work that waits in the queue, until told to stop; what is under way is then handed back."""
    from worker.main import WorkerOptions, run

    settings = Settings()
    chosen = tuple(queue for queue in QUEUES if queue in queues.split(","))
    unknown = set(queues.split(",")) - set(QUEUES)
    if unknown or not chosen:
        raise typer.BadParameter(f"{queues!r}: some of {', '.join(QUEUES)} were expected", param_hint="--queues")
    if "training" in chosen and len(chosen) > 1:
        # Each in a process of its own, one at a time: it uses all the cores that it finds.
        raise typer.BadParameter("a training has a worker of its own: --queues training", param_hint="--queues")
    children = 1 if "training" in chosen else processes or settings.worker_processes
    options = WorkerOptions(
        url=queue_url(settings),
        home=settings.home.absolute(),
        queues=chosen,
        children=children,
        niceness=settings.worker_niceness,
        retention_s=settings.jobs_kept_days * SECONDS_A_DAY,
        log_level=settings.log_level,
        alive=settings.worker_alive_file,
    )
    raise typer.Exit(run(options))


def run() -> None:
    """Run everything on this machine: the API, a worker, a trainer and, unless SIGNALML_REDIS_URL is set, a queue."""
    from cli.supervisor import Process, Supervisor
    from ml.system.logs import configure_logging
    from ml.system.native import start_in_new_session

    settings = Settings()
    configure_logging(settings.log_level)
    url = settings.redis_url
    broker = LocalBroker(settings.home) if url is None else None

    def command(*words: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"SIGNALML_REDIS_URL": url or queue_url(settings)}
        return start_in_new_session([sys.executable, "-m", "cli.main", *words], env=environment)

    parts = [
        Process("api", partial(command, "serve")),
        *(Process(name, partial(command, "worker", "--queues", queues)) for name, queues in WORKERS.items()),
    ]
    if broker is None:
        Supervisor(parts).run()
        return
    with broker.lock():
        Supervisor([Process("queue", broker.start), *parts]).run()


def queue_url(settings: Settings) -> str:
    """Where the queue is: as set, or the one that ``signalml run`` keeps in this home.

    Raises:
        QueueUnavailable: neither.
    """
    url = settings.redis_url or local_broker_url(settings.home)
    if url is None:
        raise QueueUnavailable(
            f"No job queue: SIGNALML_REDIS_URL is not set, and no  signalml run  is under way in {settings.home}."
        )
    return url
