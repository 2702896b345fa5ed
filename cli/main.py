"""Command ``signalml``: list of all commands, and its entry point."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.lazy import MARKUP, CommandSpec, LazyGroup
from ml.errors import SignalMLError
from ml.system.text import printable_lines

RECORDINGS, MODELS, LISTENING, SERVICE = "Recordings", "Models", "Live listening", "Service"
REFERENCE = "Reference pages"


class Commands(LazyGroup):
    """All commands of ``signalml``."""

    specs = (
        CommandSpec(
            "simulate",
            "cli.simulate:simulate",
            "Make recordings of simulated fans: healthy, out of balance, clogged, or with a bad supply.",
            RECORDINGS,
            "Example:  `signalml simulate data/fans`,  then  `signalml inspect data/fans`",
        ),
        CommandSpec(
            "download", "cli.download:app", "Download public recordings, check them and unpack them.", RECORDINGS
        ),
        CommandSpec(
            "inspect",
            "cli.inspect:inspect",
            "Summarise a dataset: counts, formats, levels, refused files, copies, channels, and the automatic split.",
            RECORDINGS,
            "Example:  `signalml inspect data/fans`,  or  `signalml inspect data/fans --csv > sounds.csv`",
        ),
        CommandSpec(
            "train",
            "cli.train:train",
            "Train a model on a folder of recordings, evaluate it, and print its version.",
            MODELS,
            "Example:  `signalml train data/fans --name fan-hall-3`,  then  `signalml models promote fan-hall-3`",
        ),
        CommandSpec(
            "demo",
            "cli.train:demo",
            "Train a demonstration model on simulated fans, if no model answers yet; takes about a minute.",
            MODELS,
        ),
        CommandSpec(
            "score",
            "cli.score:score",
            "Score recordings with a model: one row for each.",
            MODELS,
            "Example:  `signalml score recordings/`,  or  "
            "`signalml score *.wav --machine fan/id_00 --format csv > scores.csv`",
        ),
        CommandSpec(
            "evaluate",
            "cli.evaluate:evaluate",
            "Measure a model on the recordings of a dataset that it was not trained on.",
            MODELS,
            "Example:  `signalml evaluate champion data/fans --format json > evaluation.json`",
        ),
        CommandSpec(
            "compare",
            "cli.compare:compare",
            "Compare detectors on a dataset, each tested on recordings that it was not trained on.",
            MODELS,
            "Example:  `signalml compare data/fans --report detectors.html`,  or  "
            "`signalml compare data/fans --snr 0 --engine distance --engine distance+fluctuation`",
        ),
        CommandSpec(
            "thresholds",
            "cli.thresholds:thresholds",
            "Show the threshold of a model, or change it without training again.",
            MODELS,
            "Examples:  `signalml thresholds champion`,  `signalml thresholds fan-hall-3 --sensitivity high`,  "
            "`signalml thresholds champion --false-alarm-rate 0.02`,  `signalml thresholds champion --reset`,  "
            "`signalml thresholds champion --recalibrate hall-4`",
        ),
        CommandSpec("models", "cli.models:app", "Import, list, promote, export, rename and remove models.", MODELS),
        CommandSpec(
            "listen",
            "cli.listen:listen",
            "Record microphones, streams and folders, judge them, and show it live.",
            LISTENING,
            "Examples:  `signalml listen`,  `signalml listen --source device:default --machine fan-3`,  "
            "`signalml listen --devices`,  `arecord -q -t raw -f S16_LE -r 16000 | signalml listen --source pipe:- "
            "--machine fan-3`",
        ),
        CommandSpec(
            "sources",
            "cli.sources:app",
            "Add, list, change and remove the microphones, streams and folders that the listener records.",
            LISTENING,
        ),
        CommandSpec(
            "sinks", "cli.sinks:app", "Add, list, test, mute and remove the places that alerts go to.", LISTENING
        ),
        CommandSpec(
            "events",
            "cli.events:app",
            "Show what happened, when, how long and why; fetch sound, and give a verdict.",
            LISTENING,
        ),
        CommandSpec(
            "run",
            "cli.run:run",
            "Run the whole service on this computer: the API, a worker, a trainer, a listener and, if none is set, a "
            "queue.",
            SERVICE,
            "Example:  `SIGNALML_PORT=8080 signalml run`,  data in ./var or SIGNALML_HOME",
        ),
        CommandSpec(
            "serve",
            "cli.serve:serve",
            "Run the API.",
            SERVICE,
            "Example:  `SIGNALML_PORT=8080 signalml serve`,  or  `signalml serve --port 8080 --processes 2`",
        ),
        CommandSpec(
            "worker",
            "cli.worker:worker",
            "Run a worker, which does the jobs that wait in the queue.",
            SERVICE,
            "Example:  `SIGNALML_REDIS_URL=redis://:secret@queue:6379/0 signalml worker --queues extraction,scoring`",
        ),
        CommandSpec("jobs", "cli.jobs:app", "Submit, list, watch and cancel jobs, and read their results.", SERVICE),
        CommandSpec(
            "machines",
            "cli.machines:app",
            "Show the machines: their alarms, their last verdicts, and whether their scores drift.",
            SERVICE,
        ),
        CommandSpec("keys", "cli.keys:app", "Create, list and revoke API keys.", SERVICE),
        CommandSpec(
            "audit",
            "cli.audit:audit",
            "Show who changed what: models, datasets, thresholds, labels, keys, machines and jobs.",
            SERVICE,
            "Examples:  `signalml audit --action 'model.*'`,  `signalml audit --actor line-3 --last 100 --json`",
        ),
        CommandSpec(
            "doctor",
            "cli.doctor:doctor",
            "Check the home, models, datasets, queue and workers, and more; exit with status 1 if anything is wrong.",
            SERVICE,
            "Example:  `signalml doctor`,  or  `signalml doctor --json` for a script",
        ),
        CommandSpec(
            "settings",
            "cli.reference:settings",
            "Print every setting with its default and its meaning (docs/settings.md).",
            REFERENCE,
        ),
        CommandSpec(
            "errors",
            "cli.reference:errors",
            "Print every error code with its HTTP status and its meaning (docs/errors.md).",
            REFERENCE,
        ),
        CommandSpec(
            "training-options",
            "cli.reference:training_options",
            "Print every option of a training with its meaning (docs/training-options.md).",
            REFERENCE,
        ),
        CommandSpec(
            "openapi", "cli.reference:openapi", "Print the OpenAPI schema of the API (docs/openapi.json).", REFERENCE
        ),
    )


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_show_locals=False,
    epilog="Settings are environment variables, or lines of a file .env: SIGNALML_HOME, SIGNALML_PORT and others, see "
    "docs/settings.md.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"signalml {version('signalml')}")
        raise typer.Exit


@app.callback()
def signalml(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tell from sound whether a machine is healthy and, for a known fault, its name."""


def main() -> None:
    """Run the command line. An error of this project is one sentence on stderr, with exit status 1."""
    try:
        app()
    except ValidationError as error:  # only settings are validated here
        # A default that depends on an invalid setting also fails; its own message would not help.
        for entry in (entry for entry in error.errors() if entry["type"] != "default_factory_not_called"):
            _print_error(f"SIGNALML_{'_'.join(map(str, entry['loc'])).upper()}={entry['input']}: {entry['msg']}")
    except (SignalMLError, OSError) as error:
        _print_error(str(error))
    else:
        return
    sys.exit(1)


def _print_error(sentence: str) -> None:
    typer.echo(f"{typer.style('error:', fg='red')} {printable_lines(sentence)}", err=True)


if __name__ == "__main__":
    main()
