"""``signalml serve``: the API without workers."""

from typing import Annotated, Any

import typer

from api import processes as api_processes
from api.settings import Settings
from cli.home import protect_home
from cli.output import warn_of_unknown_variables

EVERY_ADDRESS, LOCAL_ADDRESS = "0.0.0.0", "127.0.0.1"  # noqa: S104 - compared only


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: SIGNALML_HOST, or 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: SIGNALML_PORT, or 5000.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="Number of API processes; default: SIGNALML_PROCESSES, or one per core, at most 4."),
    ] = None,
) -> None:
    """Run the API."""
    given: dict[str, Any] = {"host": host, "port": port, "processes": processes}
    warn_of_unknown_variables()
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    protect_home(settings)
    shown = "localhost" if settings.host in (EVERY_ADDRESS, LOCAL_ADDRESS) else settings.host
    banner = f"Signal Machine Learning on http://{shown}:{settings.port}  (docs: /docs, home: {settings.home})"
    api_processes.serve(settings, lambda: typer.echo(banner, err=True))
