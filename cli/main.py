"""The command ``signalml``."""

import json
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from cli import download, jobs, keys, models
from cli.compare import compare
from cli.doctor import doctor
from cli.evaluate import evaluate
from cli.inspect import inspect
from cli.machines import machines
from cli.output import describe_validation_error
from cli.score import score
from cli.simulate import simulate
from cli.thresholds import thresholds
from cli.train import demo, train
from cli.work import run, worker
from ml.errors import SignalMLError


class _Commands(TyperGroup):
    """Says what is wrong with a value in plain words, and which value it is."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = describe_validation_error(error.__cause__.errors()[0])
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    epilog="Settings come from the environment or .env: SIGNALML_HOME, SIGNALML_PORT, ...: see docs/settings.md.",
)
app.add_typer(models.app, name="models", help="Import models, and say which of them answers.")
app.add_typer(keys.app, name="keys", help="API keys, for a service that requires them.")
app.add_typer(jobs.app, name="jobs", help="Long work: asked for, watched, ended, and what came of it.")
app.add_typer(download.app, name="download", help="Public recordings, fetched, checked and unpacked.")
app.command(epilog="Example:  `signalml simulate data/fans`,  then  `signalml inspect data/fans`")(simulate)
app.command(epilog="Example:  `signalml inspect data/fans`,  or  `signalml inspect data/fans --csv > sounds.csv`")(
    inspect
)
app.command(
    epilog="Example:  `signalml train data/fans --name fan-hall-3`,  then  `signalml models promote fan-hall-3`"
)(train)
app.command()(demo)
app.command(
    epilog="Example:  `signalml score recordings/`,  or  "
    "`signalml score *.wav --machine fan/id_00 --format csv > scores.csv`"
)(score)
app.command(epilog="Example:  `signalml evaluate champion data/fans --format json > evaluation.json`")(evaluate)
app.command(
    epilog="Example:  `signalml compare data/fans --report detectors.html`,  or  "
    "`signalml compare data/fans --snr 0 --engine distance --engine distance+fluctuation`"
)(compare)
app.command(
    epilog="Examples:  `signalml thresholds champion`,  `signalml thresholds fan-hall-3 --sensitivity high`,  "
    "`signalml thresholds champion --false-alarm-rate 0.02`,  `signalml thresholds champion --reset`"
)(thresholds)
app.command(epilog='Example:  `signalml machines`,  then  `signalml machines fan-3 --acknowledge "Bearing ordered"`')(
    machines
)
app.command(epilog="Example:  `signalml doctor`,  or  `signalml doctor --json` for a script")(doctor)
app.command(epilog="Example:  `SIGNALML_PORT=8080 signalml run`,  data in ./var or SIGNALML_HOME")(run)
app.command(
    epilog="Example:  `SIGNALML_REDIS_URL=redis://:secret@queue:6379/0 signalml worker --queues extraction,scoring`"
)(worker)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"signalml {version('signalml')}")
        raise typer.Exit


@app.callback()
def signalml(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Listens to a machine and says whether it sounds healthy and, if not, what is wrong with it."""


@app.command(epilog="Example:  `SIGNALML_PORT=8080 signalml serve`,  or  `signalml serve --port 8080 --processes 2`")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else SIGNALML_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else SIGNALML_PORT, else 5000.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="API processes; else SIGNALML_PROCESSES, else one per core, at most 4.")
    ] = None,
) -> None:
    """Answer uploads over HTTP."""
    from api.processes import serve as listen
    from api.settings import Settings

    given: dict[str, Any] = {"host": host, "port": port, "processes": processes}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    shown = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host  # noqa: S104 - compared only
    banner = f"Signal Machine Learning on http://{shown}:{settings.port}  (docs: /docs, home: {settings.home})"
    listen(settings, lambda: typer.echo(banner, err=True))


@app.command()
def openapi() -> None:
    """Print the OpenAPI schema, as it is frozen in docs/openapi.json."""
    from api.main import create_app

    print(json.dumps(create_app().openapi(), indent=2, sort_keys=True, ensure_ascii=False))  # noqa: T201 - its output


@app.command()
def settings() -> None:
    """Print every setting, its default and its meaning, as docs/settings.md has them."""
    from api.settings import render_reference

    print(render_reference(), end="")  # noqa: T201 - its output


@app.command()
def errors() -> None:
    """Print every error code, its HTTP status and its meaning, as docs/errors.md has them."""
    from api.errors import render_reference

    print(render_reference(), end="")  # noqa: T201 - its output


def main() -> None:
    """Entry point: an error of ours is one sentence on stderr and exit status 1."""
    try:
        app()
    except ValidationError as error:  # only settings are validated here
        # A default that is made from other settings fails with them, and says nothing of its own.
        for entry in (entry for entry in error.errors() if entry["type"] != "default_factory_not_called"):
            _complain(f"SIGNALML_{'_'.join(map(str, entry['loc'])).upper()}={entry['input']}: {entry['msg']}")
    except (SignalMLError, OSError) as error:
        _complain(str(error))
    else:
        return
    sys.exit(1)


def _complain(sentence: str) -> None:
    typer.echo(f"{typer.style('error:', fg='red')} {sentence}", err=True)


if __name__ == "__main__":
    main()
