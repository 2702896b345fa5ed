"""``signalml jobs``: submit, list, watch and cancel jobs, and read their results."""

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
from cli.output import describe_validation_error, print_table
from cli.progress import show_progress
from ml.errors import InvalidParameter
from ml.system.atomic import write_atomic
from ml.system.audit import record_change
from ml.system.progress import Progress
from ml.system.text import printable
from ml.system.validation import suggest
from worker.broker import find_queue_url
from worker.jobs import JOB_KINDS, JOB_STATES, PARAMETERS, Job, JobKind, JobParameters, QueueUnavailable, ResultNotReady
from worker.queue import JobQueue
from worker.results import JobFolder, as_csv, as_json, as_ndjson

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=MARKUP, help="Submit, list, watch and cancel jobs, and read their results."
)
JobIdArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
REQUEST_ID = "command-line"
# Pause before the next attempt while the queue does not answer.
RETRY_S = 1.0
FORMATS = {"json": as_json, "ndjson": as_ndjson, "csv": as_csv}


@app.command(
    epilog="Examples:  `signalml jobs submit feature-extraction hall-3`,  `signalml jobs submit scoring hall-3 --set "
    "model=fan-3-47a1c71740 --watch`,  `signalml jobs submit retraining hall-3 --set promote=never`"
)
def submit(
    kind: Annotated[JobKind, typer.Argument(help="Kind of job.")],
    dataset: Annotated[str | None, typer.Argument(help="Name of the dataset; a diagnostic has none.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of POST /v1/jobs/...; may be repeated."),
    ] = None,
    key: Annotated[str, typer.Option(help="Idempotency key: the same key and parameters return the same job.")] = "",
    watch_: Annotated[bool, typer.Option("--watch", help="Show the progress until the job ends.")] = False,
) -> None:
    """Submit a job and print its id."""
    # It loads the packages of models, which the other commands of jobs do not need.
    from worker.job_checks import check_parameters

    parameters = _parameters(kind, dataset, set_ or [])
    queue = _queue()
    if not (key and _call_queue(lambda: queue.store.has_idempotency_key(key))):
        check_parameters(Settings().home, parameters)
    submitted = _call_queue(lambda: queue.submit(parameters, request_id=REQUEST_ID, idempotency_key=key))
    job = submitted.job
    if submitted.created:
        record_change(Settings().home, "job.submit", job.id, after={"kind": job.kind} | job.parameters)
    typer.echo(job.id)
    if watch_:
        watch(job.id)


@app.command("list", epilog="Example:  `signalml jobs list --state running --state queued`")
def list_(
    state: Annotated[list[str] | None, typer.Option(help=f"Only jobs in this state: {', '.join(JOB_STATES)}.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help=f"Only jobs of this kind: {', '.join(JOB_KINDS)}.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only jobs of this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Largest number of jobs, the newest first.")] = 20,
) -> None:
    """List the latest jobs with their progress."""
    queue, kinds, states = _queue(), _selected(kind, JOB_KINDS, "--kind"), _selected(state, JOB_STATES, "--state")
    page = _call_queue(lambda: queue.store.list_jobs(kinds=kinds, states=states, dataset=dataset, limit=limit))
    table = Table("job", "kind", "state", "dataset", "created", "attempt", "progress", box=None)
    for job in page.jobs:
        name = str(job.parameters.get("dataset", "-"))
        table.add_row(job.id, job.kind, job.state, name, job.created[:19], str(job.attempt), _progress(job))
    print_table(table, "No jobs yet:  signalml jobs submit KIND DATASET")
    for damaged in page.unreadable:
        typer.echo(f"error: the record of the job {damaged} is damaged", err=True)


@app.command(epilog="Example:  `signalml jobs watch 019ac7d2f1e84c7b9a3e51d0`")
def watch(job: JobIdArgument) -> None:
    """Show the progress of a job until it ends. The exit status is 1 if the job did not succeed."""
    queue = _queue()
    _call_queue(lambda: queue.store.get(job))
    console = Console(stderr=True)
    with ExitStack() as bars:
        report = bars.enter_context(show_progress(console))
        for event, data in _events(queue, job):
            if event == "progress":
                report(Progress(data["step"], data["done"], data["total"], data["message"]))
            elif event == "log":
                console.print(printable(data["message"]), markup=False, highlight=False)
            elif event == "state" and data["state"] != "queued":
                console.print(f"{data['state']}", markup=False, highlight=False)
    found = _call_queue(lambda: queue.store.get(job))
    typer.echo(json.dumps(found.summary, indent=2) if found.summary else _progress(found))
    raise typer.Exit(int(found.state != "succeeded"))


@app.command()
def cancel(job: JobIdArgument) -> None:
    """Cancel a job. A job that has ended does not change."""
    queue = _queue()
    before = _call_queue(lambda: queue.store.get(job)).state
    after = _call_queue(lambda: queue.cancel(job)).state
    record_change(Settings().home, "job.cancel", job, before=before, after=after)
    typer.echo(after)


@app.command(epilog="Example:  `signalml jobs result 019ac7d2f1e84c7b9a3e51d0 --format csv --output scores.csv`")
def result(
    job: JobIdArgument,
    form: Annotated[Literal["json", "ndjson", "csv"], typer.Option("--format", help="Format of the rows.")] = "csv",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the rows to this file.")] = None,
) -> None:
    """Print the rows of a job that succeeded."""
    queue = _queue()
    found, file = _call_queue(lambda: (queue.store.get(job), queue.store.result_file(job)))
    if found.state != "succeeded":
        raise ResultNotReady(f"The job {job} is {found.state}; a job that succeeded was expected.")
    folder = JobFolder(Settings().home, job)
    if file and not folder.has(file):
        raise ResultNotReady(f"The result of {job} is not on this disk; it was expected in {folder.path}.")
    rows = folder.rows(file) if file else iter([found.summary or {}])
    if output is not None:
        write_atomic(output, b"".join(FORMATS[form](rows)))
        typer.echo(f"{output}")
        return
    for line in FORMATS[form](rows):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()


def _selected(given: list[str] | None, known: tuple[Any, ...], option: str) -> tuple[Any, ...]:
    if unknown := set(given or ()) - set(known):
        raise typer.BadParameter(f"{', '.join(unknown)}: one of {', '.join(known)} was expected", param_hint=option)
    return tuple(given or known)


def _queue() -> JobQueue:
    settings = Settings()
    return JobQueue(find_queue_url(settings.redis_url, settings.home))


def _call_queue(call: Any) -> Any:
    try:
        return call()
    except redis.RedisError as error:
        raise QueueUnavailable(f"The job queue does not answer ({error}); run  signalml doctor") from error


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
        sentences = [_sentence(kind, entry) for entry in error.errors()]
        raise InvalidParameter(f"{kind}: {' '.join(sentences)}") from error


def _sentence(kind: JobKind, entry: ErrorDetails) -> str:
    name, fields = ".".join(map(str, entry["loc"])), PARAMETERS[kind].model_fields
    if entry["type"] == "extra_forbidden":
        options = ", ".join(field for field in fields if field != "dataset") or "none"
        if name == "dataset":
            return "a dataset was given; this kind of job has none."
        return f"--set {name}: there is no such parameter; the parameters are: {options}.{suggest(name, fields)}"
    if entry["type"] == "missing":
        hint = f": signalml jobs submit {kind} DATASET" if name == "dataset" else f": --set {name}=VALUE"
        return f"{name} is missing{hint}"
    return f"{name}: {_wrong(entry)}." if name else f"{_wrong(entry)}."


def _wrong(entry: ErrorDetails) -> str:
    if entry["loc"] == ("dataset",) and entry["type"] == "string_pattern_mismatch":
        return (
            f"{entry['input']!r} is not the name of a dataset; the name of a folder below datasets/ in SIGNALML_HOME "
            "was expected, not a path"
        )
    return describe_validation_error(entry)


def _events(queue: JobQueue, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every event of a job until its end. While the queue does not answer, wait and try again."""
    after = "0"
    while True:
        try:
            found = queue.store.events(job, after)
        except redis.RedisError:
            time.sleep(RETRY_S)
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
    eta = "" if job.progress.eta_s is None else f", {job.progress.eta_s:.0f} s left"
    return f"{job.progress.step} {job.progress.done}/{job.progress.total}{eta}"
