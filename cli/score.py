"""``signalml score``: what a model says of recordings, a line for each as soon as it is known."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.cells import cell_len, set_cell_size

from api.settings import Settings
from cli.progress import shown_progress
from ml.labels import ClassLabel
from ml.progress import silent
from ml.registry import Registry
from ml.scoring import Row, recordings
from ml.scoring import score as judge

COLUMNS = ("path", "anomaly", "message", "score", "threshold", "probabilities", "duration_s", "error")
Format = Literal["table", "csv", "json"]
Classes = tuple[ClassLabel, ...]


def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders: their .wav and .flac files, at any depth.")
    ],
    model: Annotated[str, typer.Option(help="A version, or champion, challenger, previous.")] = "champion",
    form: Annotated[
        Format, typer.Option("--format", help="table for a person; csv, or a json array, with a row per recording.")
    ] = "table",
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; else one per core.")] = None,
) -> None:
    """Judge recordings. A file that cannot be judged is a row with its error; the exit status is then 1."""
    from ml.native import notes_held_back, reuse_memory

    files = recordings(paths)
    reuse_memory()
    with notes_held_back():
        predictor = Registry(Settings().home).predictor(model)
    _write_any_name()
    # On a terminal the rows themselves are the progress; a bar would be written between them.
    bar = sys.stderr.isatty() and not sys.stdout.isatty()
    tally: Counter[str] = Counter()
    with shown_progress() if bar else nullcontext(silent) as report:
        rows = _tallied(judge(predictor, files, processes=processes, report=report), tally)
        for text in FORMATS[form](rows, predictor.labels.classes):
            sys.stdout.write(text)
            sys.stdout.flush()
    if form == "table":
        typer.echo(f"\n{_summary(tally)} Model {predictor.bundle.version}.")
    raise typer.Exit(int(tally["error"] > 0))


def _write_any_name() -> None:
    """A file's name may be bytes that are no text: they are written as escapes, not refused."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _tallied(rows: Iterable[Row], tally: Counter[str]) -> Iterator[Row]:
    for row in rows:
        tally["error" if row.error else "anomaly" if row.anomaly else "ok"] += 1
        yield row


def _summary(tally: Counter[str]) -> str:
    total = tally.total()
    counted = f"{total} recording" if total == 1 else f"{total} recordings"
    anomalous = f"{tally['anomaly']} anomaly" if tally["anomaly"] == 1 else f"{tally['anomaly']} anomalies"
    return f"{counted}: {anomalous}, {tally['ok']} healthy, {tally['error']} not judged."


def as_csv(rows: Iterable[Row], _: Classes) -> Iterator[str]:
    """Header and rows. Numbers are written so that they read back as the same; probabilities are joined by ``;``."""
    yield _csv_line(COLUMNS)
    for row in rows:
        anomaly = None if row.anomaly is None else str(row.anomaly).lower()
        probabilities = None if row.probabilities is None else ";".join(map(repr, row.probabilities))
        numbers = (row.score, row.threshold, probabilities, row.duration_s)
        yield _csv_line((row.path, anomaly, row.message, *numbers, row.error))


def _csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def as_json(rows: Iterable[Row], classes: Classes) -> Iterator[str]:
    """One array, an object per line; probabilities by the names of their classes. Plain ASCII: any name is escaped."""
    before = "[\n"
    for row in rows:
        values = {column: getattr(row, column) for column in COLUMNS} | {"path": str(row.path)}
        if row.probabilities:  # none where the model is a detector alone
            names = (label.name for label in classes)
            values["probabilities"] = dict(zip(names, row.probabilities, strict=True))
        yield before + json.dumps(values, allow_nan=False)
        before = ",\n"
    yield "\n]\n"


def as_table(rows: Iterable[Row], classes: Classes) -> Iterator[str]:
    """Aligned lines. The path comes last, so that no row has to wait for the longest of them."""
    width = max(cell_len(label.message) for label in classes)
    yield f"{'verdict':8} {'score':>6} {'length':>8}  {set_cell_size('message', width)}  path\n"
    for row in rows:
        if row.score is None or row.duration_s is None:
            yield f"{'error':8} {'-':>6} {'-':>8}  {set_cell_size('-', width)}  {_printable(row)}\n"
            continue
        verdict = f"{'anomaly' if row.anomaly else 'ok':8}"
        if row.anomaly and sys.stdout.isatty():
            verdict = typer.style(verdict, fg="red")
        message = set_cell_size(row.message or "", width)
        yield f"{verdict} {row.score:6.3f} {row.duration_s:6.1f} s  {message}  {_printable(row)}\n"


def _printable(row: Row) -> str:
    """The path, and why it was not judged: on one line, whatever a file is called."""
    text = f"{row.path}: {row.error}" if row.error else str(row.path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


FORMATS: dict[Format, Callable[[Iterable[Row], Classes], Iterator[str]]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}
