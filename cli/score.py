"""``signalml score``: what a model says of recordings, a line for each as soon as it is known."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.cells import cell_len, set_cell_size

from api.settings import Settings
from cli.progress import shown_progress
from ml.dataset.entries import Refusal, machine_name
from ml.labels import UNKNOWN_FAULT
from ml.predictor import Predictor
from ml.progress import silent
from ml.registry import Registry
from ml.scoring import Row, items_at
from ml.scoring import score as judge
from worker.results import as_csv, as_json

ERROR = "error"
Format = Literal["table", "csv", "json"]
FORMATS: Mapping[str, Callable[[Iterable[Mapping[str, Any]]], Iterator[bytes]]] = {"csv": as_csv, "json": as_json}


def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders: their .wav and .flac files, at any depth.")
    ],
    model: Annotated[str, typer.Option(help="A version, or champion, challenger, previous.")] = "champion",
    machine: Annotated[
        str | None,
        typer.Option(help="The machine that all are of, fan/id_00 or id_00; else what their folders or manifest say."),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="table for a person; csv, or a json array, with a row per recording.")
    ] = "table",
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; else one per core.")] = None,
) -> None:
    """Judge recordings. A file that cannot be judged is a row with its reason; the exit status is then 1."""
    from ml.native import notes_held_back, reuse_memory

    items = items_at(paths, machine, refused=_say_refused)
    reuse_memory()
    with notes_held_back():
        predictor = Registry(Settings().home).predictor(model)
    # On a terminal the rows themselves are the progress; a bar would be written between them.
    bar = sys.stderr.isatty() and not sys.stdout.isatty()
    tally: Counter[str] = Counter()
    with shown_progress() if bar else nullcontext(silent) as report:
        rows = _tallied(judge(predictor, items, processes=processes, report=report), tally)
        if form == "table":
            machines = {machine_name(item.machine, item.machine_id) for item in items}
            written = as_table(rows, predictor, max(map(cell_len, machines)))
        else:
            written = FORMATS[form](row.to_dict() for row in rows)
        for block in written:
            sys.stdout.buffer.write(block)
            sys.stdout.flush()
    if form == "table":
        typer.echo(f"\n{_summary(tally, predictor)}")
    raise typer.Exit(int(tally[ERROR] + tally["unusable"] > 0))


def _say_refused(refusal: Refusal) -> None:
    typer.echo(_printable(f"refused row: {refusal.path}: {refusal.reason}"), err=True)


def _tallied(rows: Iterable[Row], tally: Counter[str]) -> Iterator[Row]:
    for row in rows:
        tally[row.verdict or ERROR] += 1
        tally["of unknown machines"] += row.machine_known is False and bool(row.machine or row.machine_id)
        yield row


def _summary(tally: Counter[str], predictor: Predictor) -> str:
    words = ("normal", "anomalous", "unusable", ERROR)
    counted = ", ".join(f"{tally[word]} {word}" for word in words if tally[word] or word in words[:2])
    summary = f"{counted}. Model {predictor.bundle.version}, threshold {predictor.decision.threshold:.4g}."
    if unknown := tally["of unknown machines"]:
        return (
            f"{summary}\nIts detector has not heard the machine of {unknown} of them: those were compared with the "
            "machine that each is most like."
        )
    return summary


def as_table(rows: Iterable[Row], predictor: Predictor, machine_width: int) -> Iterator[bytes]:
    """Aligned lines. The name comes last, so that no row has to wait for the longest of them.

    Args:
        rows: what to show.
        predictor: the model; its messages say how wide that column is.
        machine_width: of the longest machine's name; 0 where no machine is known, and then there is no such column.
    """
    messages = [label.message for label in (*predictor.labels.classes, UNKNOWN_FAULT)]
    width = max(map(cell_len, messages))
    machine_width = machine_width and max(machine_width, len("machine"))

    def line(verdict: str, score: str, duration: str, message: str, machine: str, name: str) -> bytes:
        cells = [f"{verdict:9} {score:>6} {duration:>8}", set_cell_size(message, width)]
        if machine_width:
            cells.append(set_cell_size(machine, machine_width))
        return f"{'  '.join([*cells, name])}\n".encode(errors="backslashreplace")

    yield line("verdict", "score", "duration", "message", "machine", "name")
    for row in rows:
        shown = line(
            row.verdict or ERROR,
            "-" if row.score is None else f"{row.score:.3f}",
            "-" if row.duration_s is None else f"{row.duration_s:.1f} s",
            "-" if row.score is None else row.message or "-",
            machine_name(row.machine, row.machine_id) or "-",
            _named(row),
        )
        alarm = row.verdict == "anomalous" and sys.stdout.isatty()
        yield typer.style("anomalous", fg="red").encode() + shown[len("anomalous") :] if alarm else shown


def _named(row: Row) -> str:
    """The name, and why it was not judged."""
    why = row.error or (row.message if row.verdict == "unusable" else None)
    return _printable(f"{row.name}: {why}" if why else row.name)


def _printable(text: str) -> str:
    """A text on one line, whatever is in it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
