"""``signalml score``: what a model says of recordings, a line for each as soon as it is known."""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.cells import cell_len, set_cell_size

from api.settings import Settings
from cli.output import print_note, print_text, printable
from cli.progress import show_progress
from cli.thresholds import fault_rule_note
from ml.dataset.entries import FileRefusal, machine_name
from ml.errors import InvalidParameter
from ml.machines.observation import MAX_MACHINE_ID, is_machine_id
from ml.models.labels import UNKNOWN_FAULT
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.scoring import ScoreRow, find_items
from ml.models.scoring import score_items as judge
from ml.models.verdict import NOT_JUDGED
from ml.system.native import quiet_native_stderr, reuse_memory
from ml.system.progress import ignore_progress
from worker.results import as_csv, as_json

ERROR, UNUSABLE = "error", "unusable"
MACHINE_ID_EXPECTED = (
    f"1 to {MAX_MACHINE_ID} letters, digits, dots, hyphens and underscores were expected, or two such names with a "
    "slash between them."
)
REASON_WIDTH = 24  # of the message, at least: the longest codes of errors that are met with
OutputFormat = Literal["table", "csv", "json"]
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
        OutputFormat,
        typer.Option("--format", help="table for a person; csv, or a json array, with a row per recording."),
    ] = "table",
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; else one per core.")] = None,
) -> None:
    """Score recordings with a model: one row for each.

    A recording that cannot be judged has a row with the reason; the exit status is then 1."""
    if machine is not None and not is_machine_id(machine):
        raise InvalidParameter(f"--machine {machine}: {MACHINE_ID_EXPECTED}")
    items = find_items(paths, machine, on_refusal=_print_refusal)
    reuse_memory()
    with quiet_native_stderr():
        predictor = Registry(Settings().home).load_predictor(model)
    # On a terminal the rows themselves are the progress; a bar would be written between them.
    bar = sys.stderr.isatty() and not sys.stdout.isatty()
    tally = _Tally()
    with show_progress() if bar else nullcontext(ignore_progress) as report:
        rows = _tallied(judge(predictor, items, processes=processes, report=report), tally)
        if form == "table":
            machines = {machine_name(item.annotation.machine, item.annotation.machine_id) for item in items}
            names = [item.name for item in items]
            written = as_table(rows, predictor, max(map(cell_len, machines)), _folder_of_all(names))
        else:
            written = FORMATS[form](row.to_dict() for row in rows)
        for block in written:
            sys.stdout.buffer.write(block)
            sys.stdout.flush()
    if form == "table":
        _print_summary(tally, predictor)
    raise typer.Exit(int(tally.verdicts[ERROR] + tally.verdicts[UNUSABLE] > 0))


def _print_refusal(refusal: FileRefusal) -> None:
    typer.echo(printable(f"refused row: {refusal.path}: {refusal.reason}"), err=True)


class _Cause(NamedTuple):
    """Why recordings were not judged: in a word or two, and as a sentence."""

    short: str
    sentence: str


@dataclass(slots=True)
class _Tally:
    """What is said below the table.

    Attributes:
        verdicts: how many rows have each verdict, or an error.
        by_classifier: anomalous at a score that is not above the threshold, by the classifier beside the detector.
        strangers: of a machine that was named and that the detector has not learned.
        causes: how many were not judged for the same cause, by the first sentence that said so.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    by_classifier: int = 0
    strangers: int = 0
    causes: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, row: ScoreRow) -> None:
        """Count a row in."""
        self.verdicts[row.verdict or ERROR] += 1
        self.by_classifier += row.verdict == "anomalous" and (row.score or 0.0) <= (row.threshold or 0.0)
        self.strangers += row.machine_known is False and bool(row.annotation.machine_name)
        if (cause := _cause(row)) is not None:
            alike = re.sub(r"[\d.]+", "", cause.short)
            sentence, count = self.causes.get(alike, (cause.sentence, 0))
            self.causes[alike] = sentence, count + 1


def _tallied(rows: Iterable[ScoreRow], tally: _Tally) -> Iterator[ScoreRow]:
    for row in rows:
        tally.add(row)
        yield row


def _cause(row: ScoreRow) -> _Cause | None:
    """Why a row has no score; an error's code says it in short, and a sentence of ours by its beginning."""
    if row.error is not None:
        return _Cause(row.error.partition(":")[0], row.error)
    if row.verdict == UNUSABLE and row.message is not None:
        return _Cause(row.message.removeprefix(NOT_JUDGED), row.message)
    return None


def _print_summary(tally: _Tally, predictor: Predictor) -> None:
    words = ("normal", "anomalous", UNUSABLE, ERROR)
    counted = ", ".join(f"{tally.verdicts[word]} {word}" for word in words if tally.verdicts[word] or word in words[:2])
    typer.echo()
    print_text(f"{counted}. Model {predictor.model.version}, threshold {predictor.model.decision.threshold:.4g}.")
    if tally.by_classifier and (said := fault_rule_note(predictor.model.bundle.content)) is not None:
        print_text(f"Of the anomalous, {tally.by_classifier} scored no higher than the threshold. {said}")
    if tally.strangers:
        print_text(
            f"Its detector has not heard the machine of {tally.strangers} of them: those were compared with the "
            "machine that each is most like."
        )
    for sentence, count in tally.causes.values():
        print_note(printable(f"{count} x {sentence}"))


def _folder_of_all(names: Sequence[str]) -> str:
    """The folder that all of several files are in, with its slash; empty where there is none but the whole disk."""
    try:  # of strings: a path of pathlib would lose the "./" that somebody gave
        folder = os.path.commonpath([os.path.dirname(name) for name in names]) if len(names) > 1 else ""  # noqa: PTH120
    except ValueError:  # some from the root, some from here
        return ""
    return f"{folder}/" if folder.strip("/") else ""


def as_table(rows: Iterable[ScoreRow], predictor: Predictor, machine_width: int, folder: str = "") -> Iterator[bytes]:
    """Aligned lines. The name comes last, so that no row has to wait for the longest of them.

    Args:
        rows: what to show.
        predictor: the model; its messages say how wide that column is.
        machine_width: of the longest machine's name; 0 where no machine is known, and then there is no such column.
        folder: what all names begin with, with a slash at its end: said once, in the head.
    """
    messages = [label.message for label in (*predictor.model.labels.classes, UNKNOWN_FAULT)]
    width = max(REASON_WIDTH, *map(cell_len, messages))
    machine_width = machine_width and max(machine_width, len("machine"))

    def line(verdict: str, score: str, duration: str, message: str, machine: str, name: str) -> bytes:
        cells = [f"{verdict:9} {score:>6} {duration:>8}", _fitted(message, width)]
        if machine_width:
            cells.append(set_cell_size(machine, machine_width))
        return f"{'  '.join([*cells, name])}\n".encode(errors="backslashreplace")

    yield line(
        "verdict", "score", "duration", "message", "machine", printable(f"name in {folder}" if folder else "name")
    )
    for row in rows:
        cause = _cause(row)
        shown = line(
            row.verdict or ERROR,
            "-" if row.score is None else f"{row.score:.3f}",
            "-" if row.duration_s is None else f"{row.duration_s:.1f} s",
            row.message or "-" if cause is None else printable(cause.short),
            row.annotation.machine_name or "-",
            printable(row.name.removeprefix(folder)),
        )
        alarm = row.verdict == "anomalous" and sys.stdout.isatty()
        yield typer.style("anomalous", fg="red").encode() + shown[len("anomalous") :] if alarm else shown


def _fitted(text: str, width: int) -> str:
    """A text in so many columns, with an ellipsis for what has no room."""
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "\N{HORIZONTAL ELLIPSIS}"
    return set_cell_size(text, width)
