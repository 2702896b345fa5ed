"""``signalml serve``: the API alone."""

from typing import Annotated, Any

import typer

from api import processes as api_processes
from api.settings import Settings

EVERY_ADDRESS, LOCAL_ADDRESS = "0.0.0.0", "127.0.0.1"  # noqa: S104 - compared only


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else SIGNALML_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else SIGNALML_PORT, else 5000.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="API processes; else SIGNALML_PROCESSES, else one per core, at most 4.")
    ] = None,
) -> None:
    """Run the API."""
    given: dict[str, Any] = {"host": host, "port": port, "processes": processes}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    shown = "localhost" if settings.host in (EVERY_ADDRESS, LOCAL_ADDRESS) else settings.host
    banner = f"Signal Machine Learning on http://{shown}:{settings.port}  (docs: /docs, home: {settings.home})"
    api_processes.serve(settings, lambda: typer.echo(banner, err=True))
