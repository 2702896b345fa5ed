"""``signalml worker``: a worker for the jobs of some queues."""

from typing import Annotated

import typer

from api.settings import Settings
from cli.home import protect_home
from cli.output import warn_of_unknown_variables
from worker import main as worker_main
from worker.broker import find_queue_url
from worker.jobs import QUEUES

SECONDS_A_DAY = 24 * 3600


def worker(
    queues: Annotated[
        str, typer.Option(help="Queues of the worker: extraction,scoring or, for a worker of its own, training.")
    ] = "extraction,scoring",
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Recordings processed at the same time; default: SIGNALML_WORKER_PROCESSES, or one per core."
        ),
    ] = None,
) -> None:
    """Run a worker, which does the jobs that wait in the queue.

    At SIGTERM or SIGINT, it hands back unfinished work, and another worker continues it.
    """
    warn_of_unknown_variables()
    settings = Settings()
    protect_home(settings)
    chosen = tuple(queue for queue in QUEUES if queue in queues.split(","))
    unknown = set(queues.split(",")) - set(QUEUES)
    if unknown or not chosen:
        raise typer.BadParameter(f"{queues!r}: one or more of {', '.join(QUEUES)} were expected", param_hint="--queues")
    if "training" in chosen and len(chosen) > 1:
        # Trainings run one at a time, and each uses all cores.
        raise typer.BadParameter("training needs a worker of its own: --queues training", param_hint="--queues")
    children = 1 if "training" in chosen else processes or settings.worker_processes
    options = worker_main.WorkerOptions(
        url=find_queue_url(settings.redis_url, settings.home),
        home=settings.home.absolute(),
        queues=chosen,
        children=children,
        niceness=settings.worker_niceness,
        retention_s=settings.jobs_kept_days * SECONDS_A_DAY,
        log_level=settings.log_level,
        alive=settings.worker_alive_file,
    )
    raise typer.Exit(worker_main.run(options))
