"""``signalml run``: the whole service in one command."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from api.settings import Settings, unknown_variables
from cli.home import protect_home
from cli.output import warn_of_unknown_variables
from cli.supervisor import Process, Supervisor
from listener.config.files import sink_file, source_file
from ml.system.logs import configure_logging
from ml.system.native import start_in_new_session
from worker.broker import LocalBroker, find_queue_url

QUEUES_OF = {"worker": "extraction,scoring", "trainer": "training"}


def run() -> None:
    """Run the whole service on this computer: the API, a worker, a trainer, a listener and, if none is set, a queue.

    If SIGNALML_REDIS_URL is set, its queue is used. The listener starts when there is a source or a sink.
    """
    warn_of_unknown_variables()
    settings = Settings()
    configure_logging(settings.log_level)
    protect_home(settings)
    broker = LocalBroker(settings.home) if settings.redis_url is None else None

    unknown = unknown_variables()

    def launch(*arguments: str) -> subprocess.Popen[bytes]:
        known = {name: value for name, value in os.environ.items() if name not in unknown}  # one warning is enough
        environment = known | {"SIGNALML_REDIS_URL": find_queue_url(settings.redis_url, settings.home)}
        return start_in_new_session([sys.executable, "-m", "cli.main", *arguments], env=environment)

    processes = [
        Process("api", partial(launch, "serve")),
        *(Process(name, partial(launch, "worker", "--queues", queues)) for name, queues in QUEUES_OF.items()),
        Process("listener", partial(launch, "listen", "--quiet"), partial(_needs_listener, settings.home)),
    ]
    if broker is None:
        Supervisor(processes).run()
        return
    with broker.lock():
        Supervisor([Process("queue", broker.start), *processes]).run()


def _needs_listener(home: Path) -> bool:
    """Return whether there is, or was, a source or a sink. Without one, no memory is used for a listener."""
    return any(file.path.exists() for file in (source_file(home), sink_file(home)))
