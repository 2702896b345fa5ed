"""``signalml jobs``: long work, asked for and watched from the command line."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import redis
import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console
from rich.table import Table

from api.settings import Settings
from cli.lazy import MARKUP
from cli.output import describe_validation_error, print_lines
from cli.progress import show_progress
from ml.errors import InvalidParameter
from ml.system.atomic import write_atomic
from ml.system.progress import Progress
from worker.broker import find_queue_url
from worker.jobs import JOB_KINDS, JOB_STATES, PARAMETERS, Job, JobKind, JobParameters, QueueUnavailable, ResultNotReady
from worker.queue import JobQueue
from worker.results import JobFolder, as_csv, as_json, as_ndjson

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=MARKUP, help="Submit, list, watch and cancel jobs, and read their results."
)
JobIdArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id.")]
REQUEST_ID = "command-line"
AWAY_S = 1.0
FORMATS = {"json": as_json, "ndjson": as_ndjson, "csv": as_csv}


@app.command(
    epilog="Examples:  `signalml jobs submit feature-extraction hall-3`,  `signalml jobs submit scoring hall-3 --set "
    "model=fan-3-47a1c71740 --watch`,  `signalml jobs submit retraining hall-3 --set promote=never`"
)
def submit(
    kind: Annotated[JobKind, typer.Argument(help="What is to be done.")],
    dataset: Annotated[str | None, typer.Argument(help="The dataset; a diagnostic has none.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter, as POST /v1/jobs/... has it; several times."),
    ] = None,
    key: Annotated[str, typer.Option(help="An idempotency key: the same again is answered with the same job.")] = "",
    watch_: Annotated[bool, typer.Option("--watch", help="Stay, and show how far it is.")] = False,
) -> None:
    """Ask for long work; prints the id of the job."""
    parameters = _parameters(kind, dataset, set_ or [])
    queue = _queue()
    job = _call_queue(lambda: queue.submit(parameters, request_id=REQUEST_ID, idempotency_key=key)).job
    typer.echo(job.id)
    if watch_:
        watch(job.id)


@app.command("list", epilog="Example:  `signalml jobs list --state running --state queued`")
def list_(
    state: Annotated[list[str] | None, typer.Option(help=f"Only in these states: {', '.join(JOB_STATES)}.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help=f"Only of these kinds: {', '.join(JOB_KINDS)}.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, the newest first.")] = 20,
) -> None:
    """The latest jobs, and how far they are."""
    queue, kinds, states = _queue(), _some(kind, JOB_KINDS, "--kind"), _some(state, JOB_STATES, "--state")
    page = _call_queue(lambda: queue.store.list_jobs(kinds=kinds, states=states, dataset=dataset, limit=limit))
    table = Table("job", "kind", "dataset", "state", "attempt", "progress", "created", box=None)
    for job in page.jobs:
        asked_of = str(job.parameters.get("dataset", "-"))
        table.add_row(job.id, job.kind, asked_of, job.state, str(job.attempt), _progress(job), job.created[:19])
    nothing = "No jobs yet:  signalml jobs submit KIND DATASET"
    print_lines(table, nothing, dispensable=("attempt", "created", "dataset"), shortened="progress")


@app.command(epilog="Example:  `signalml jobs watch 019ac7d2f1e84c7b9a3e51d0`")
def watch(job: JobIdArgument) -> None:
    """Show how far a job is until it ends; the exit status says whether it succeeded."""
    queue = _queue()
    _call_queue(lambda: queue.store.get(job))
    console = Console(stderr=True)
    with ExitStack() as bars:
        report = bars.enter_context(show_progress(console))
        for event, data in _events(queue, job):
            if event == "progress":
                report(Progress(data["step"], data["done"], data["total"], data["message"]))
            elif event == "log":
                console.print(data["message"], markup=False, highlight=False)
            elif event == "state" and data["state"] != "queued":
                console.print(f"{data['state']}", markup=False, highlight=False)
    found = _call_queue(lambda: queue.store.get(job))
    typer.echo(json.dumps(found.summary, indent=2) if found.summary else _progress(found))
    raise typer.Exit(int(found.state != "succeeded"))


@app.command()
def cancel(job: JobIdArgument) -> None:
    """Ask for the end of a job; one that has ended stays as it is."""
    queue = _queue()
    typer.echo(_call_queue(lambda: queue.cancel(job)).state)


@app.command(epilog="Example:  `signalml jobs result 019ac7d2f1e84c7b9a3e51d0 --format csv --output scores.csv`")
def result(
    job: JobIdArgument,
    form: Annotated[Literal["json", "ndjson", "csv"], typer.Option("--format", help="Of the rows.")] = "csv",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="Write them to this file.")] = None,
) -> None:
    """The rows of a job that succeeded."""
    queue = _queue()
    found, file = _call_queue(lambda: (queue.store.get(job), queue.store.result_file(job)))
    if found.state != "succeeded":
        raise ResultNotReady(f"The job {job} is {found.state}; a job that succeeded was expected.")
    rows = JobFolder(Settings().home, job).rows(file) if file else iter([found.summary or {}])
    if output is not None:
        write_atomic(output, b"".join(FORMATS[form](rows)))
        typer.echo(f"{output}")
        return
    for line in FORMATS[form](rows):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()


def _some(asked: list[str] | None, there: tuple[Any, ...], option: str) -> tuple[Any, ...]:
    if unknown := set(asked or ()) - set(there):
        raise typer.BadParameter(f"{', '.join(unknown)}: some of {', '.join(there)} were expected", param_hint=option)
    return tuple(asked or there)


def _queue() -> JobQueue:
    settings = Settings()
    return JobQueue(find_queue_url(settings.redis_url, settings.home))


def _call_queue(call: Any) -> Any:
    try:
        return call()
    except redis.RedisError as error:
        raise QueueUnavailable(f"The job queue does not answer ({error}):  signalml doctor  says more.") from error


def _parameters(kind: JobKind, dataset: str | None, pairs: list[str]) -> JobParameters:
    values: dict[str, Any] = {} if dataset is None else {"dataset": dataset}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidParameter(f"--set {pair}: NAME=VALUE was expected.")
        values[name] = value
    try:
        return PARAMETERS[kind].model_validate(values, strict=False)
    except ValidationError as error:
        sentences = [f"{'.'.join(map(str, entry['loc']))}: {_wrong(entry)}" for entry in error.errors()]
        raise InvalidParameter(f"{kind}: {'; '.join(sentences)}.") from error


def _wrong(entry: ErrorDetails) -> str:
    if entry["loc"] == ("dataset",) and entry["type"] == "string_pattern_mismatch":
        return (
            f"{entry['input']!r} is no name of a dataset; jobs take the name of one that recordings were put into over "
            "HTTP or of a folder below datasets/ of SIGNALML_HOME, and no path"
        )
    return describe_validation_error(entry)


def _events(queue: JobQueue, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every event until the end, however often the queue's server goes away meanwhile."""
    after = "0"
    while True:
        try:
            found = queue.store.events(job, after)
        except redis.RedisError:
            time.sleep(AWAY_S)
            continue
        for entry, event, data in found:
            after = entry
            yield event, data
            if event == "end":
                return


def _progress(job: Job) -> str:
    if job.error is not None:
        return f"{job.error.code}: {job.error.detail}"
    if job.progress is None:
        return "-"
    eta = "" if job.progress.eta_s is None else f", {job.progress.eta_s:.0f} s to go"
    return f"{job.progress.step} {job.progress.done}/{job.progress.total}{eta}"
