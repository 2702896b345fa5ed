"""``signalml score``: verdicts of a model on recordings, each printed as soon as it is ready."""

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
from cli.output import print_note, print_text
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
from ml.system.text import printable
from worker.results import as_csv, as_json

ERROR, UNUSABLE = "error", "unusable"
JUDGED = ("normal", "anomalous")
# States in which a recording is judged as its model was trained.
REFERENCE_AS_TRAINED = ("used", "unused")
MOST_REASONS = 50
MACHINE_ID_EXPECTED = (
    f"1 to {MAX_MACHINE_ID} letters, digits, dots, hyphens and underscores were expected, or two such names with a "
    "slash between them."
)
REASON_WIDTH = 24  # smallest width of the message: the longest common error code
OutputFormat = Literal["table", "csv", "json"]
FORMATS: Mapping[str, Callable[[Iterable[Mapping[str, Any]]], Iterator[bytes]]] = {"csv": as_csv, "json": as_json}


def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders with .wav and .flac files, at any depth.")
    ],
    model: Annotated[str, typer.Option(help="A version, or champion, challenger, previous.")] = "champion",
    machine: Annotated[
        str | None,
        typer.Option(help="Machine of all recordings, fan/id_00 or id_00; default: from their folders or manifest."),
    ] = None,
    form: Annotated[
        OutputFormat,
        typer.Option("--format", help="table for people; csv or json with one row for each recording."),
    ] = "table",
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
) -> None:
    """Score recordings with a model: one row for each.

    Where the label of a recording is known, its row has it as the truth, and the counts below compare both. A recording
    that cannot be judged has a row and a sentence with the reason; the exit status is then 1. It is 0 if every
    recording was judged, normal or anomalous, right or wrong.
    """
    if machine is not None and not is_machine_id(machine):
        raise InvalidParameter(f"--machine {machine}: {MACHINE_ID_EXPECTED}")
    items = find_items(paths, machine, on_refusal=_print_refusal)
    reuse_memory()
    with quiet_native_stderr():
        predictor = Registry(Settings().home).load_predictor(model)
    # On a terminal, the rows show the progress; a bar would be printed between them.
    bar = sys.stderr.isatty() and not sys.stdout.isatty()
    tally = _Tally()
    with show_progress() if bar else nullcontext(ignore_progress) as report:
        rows = _tallied(judge(predictor, items, processes=processes, report=report), tally)
        if form == "table":
            machines = {machine_name(item.annotation.machine, item.annotation.machine_id) for item in items}
            names = [item.name for item in items]
            has_truth = any(item.annotation.label is not None for item in items)
            output = as_table(rows, predictor, max(map(cell_len, machines)), _common_folder(names), has_truth=has_truth)
        else:
            output = FORMATS[form](row.to_dict() for row in rows)
        for block in output:
            sys.stdout.buffer.write(block)
            sys.stdout.flush()
    if form == "table":
        _print_summary(tally, predictor)
    raise typer.Exit(int(tally.verdicts[ERROR] + tally.verdicts[UNUSABLE] > 0))


def _print_refusal(refusal: FileRefusal) -> None:
    typer.echo(printable(f"refused row: {refusal.path}: {refusal.reason}"), err=True)


class _Cause(NamedTuple):
    """Reason why a recording was not judged: a short form, and a sentence."""

    short: str
    sentence: str


@dataclass(slots=True)
class _Tally:
    """Counts for the summary below the table.

    Attributes:
        verdicts: number of rows for each verdict, and for errors.
        by_classifier: anomalous recordings with a score at or below the threshold; the classifier raised the alarm.
        unknown_machines: recordings of a named machine that the detector has not learned.
        references: number of judged recordings for each state of the reference channel in which it was not used.
        judged: number of rows for each truth and verdict, where the truth is known.
        causes: the first sentence and the number of recordings, by cause without its numbers.
        reasons: name and reason of the first recordings without a score.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    by_classifier: int = 0
    unknown_machines: int = 0
    references: Counter[str] = field(default_factory=Counter)
    judged: Counter[tuple[str, str]] = field(default_factory=Counter)
    causes: dict[str, tuple[str, int]] = field(default_factory=dict)
    reasons: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: ScoreRow) -> None:
        """Count a row."""
        self.verdicts[row.verdict or ERROR] += 1
        if row.annotation.label is not None:
            self.judged[row.annotation.label, row.verdict or ERROR] += 1
        self.by_classifier += row.verdict == "anomalous" and (row.score or 0.0) <= (row.threshold or 0.0)
        self.unknown_machines += row.machine_known is False and bool(row.annotation.machine_name)
        if row.verdict in JUDGED and row.reference not in (None, *REFERENCE_AS_TRAINED):
            self.references[str(row.reference)] += 1
        if (cause := _cause(row)) is not None:
            key = re.sub(r"[\d.]+", "", cause.short)
            sentence, count = self.causes.get(key, (cause.sentence, 0))
            self.causes[key] = sentence, count + 1
            if len(self.reasons) < MOST_REASONS:
                self.reasons.append((row.name, cause.sentence))


def _tallied(rows: Iterable[ScoreRow], tally: _Tally) -> Iterator[ScoreRow]:
    for row in rows:
        tally.add(row)
        yield row


def _cause(row: ScoreRow) -> _Cause | None:
    """Return the reason why a row has no score. The short form is an error code, or the message itself."""
    if row.error is not None:
        return _Cause(row.error.partition(":")[0], row.error)
    if row.verdict == UNUSABLE and row.message is not None:
        return _Cause(row.message.removeprefix(NOT_JUDGED), row.message)
    return None


def _print_summary(tally: _Tally, predictor: Predictor) -> None:
    kinds = (*JUDGED, UNUSABLE, ERROR)
    counted = ", ".join(f"{tally.verdicts[kind]} {kind}" for kind in kinds if tally.verdicts[kind] or kind in JUDGED)
    typer.echo()
    print_text(f"{counted}. Model {predictor.model.version}, threshold {predictor.model.decision.threshold:.4g}.")
    for truth, right, name in (("normal", "normal", "false alarms"), ("abnormal", "anomalous", "missed")):
        if (sentence := _truth_sentence(tally, truth, right, name)) is not None:
            print_text(sentence)
    if tally.by_classifier and (note := fault_rule_note(predictor.model.bundle.content)) is not None:
        print_text(f"Anomalous with a score at or below the threshold: {tally.by_classifier}. {note}")
    if tally.unknown_machines:
        print_text(
            f"Recordings of a machine that the detector has not learned: {tally.unknown_machines}. Each was compared "
            "with the most similar machine."
        )
    if tally.references:
        states = ", ".join(f"{count} {state}" for state, count in tally.references.items())
        print_text(f"Judged by the main channel alone, because of the reference channel: {states}.")
    for sentence, count in tally.causes.values():
        print_note(printable(f"{count} x {sentence}"))
    n_failed = tally.verdicts[ERROR] + tally.verdicts[UNUSABLE]
    if n_failed > 1:  # the reason of a single one stands above
        print_text(f"Recordings without a score: {n_failed}.")
        for name, sentence in tally.reasons:
            print_note(printable(f"{name}: {sentence}"))
    if n_failed > len(tally.reasons):
        print_text(f"... and {n_failed - len(tally.reasons)} more: --format csv  prints the reason of each.")


def _truth_sentence(tally: _Tally, truth: str, right: str, wrong_name: str) -> str | None:
    """Return how many recordings of a label were judged right; None without such recordings."""
    counts = {verdict: count for (label, verdict), count in tally.judged.items() if label == truth}
    n_judged = counts.get("normal", 0) + counts.get("anomalous", 0)
    if not counts:
        return None
    others = sum(counts.values()) - n_judged
    left = f"; {others} without a score" if others else ""
    return (
        f"Truth {truth}: {counts.get(right, 0)} of {n_judged} are judged {right}, {n_judged - counts.get(right, 0)} "
        f"{wrong_name}{left}."
    )


def _common_folder(names: Sequence[str]) -> str:
    """Return the folder of all files, with its slash; empty for one file, or if only the root is common."""
    try:  # as strings: pathlib would drop a leading "./"
        folder = os.path.commonpath([os.path.dirname(name) for name in names]) if len(names) > 1 else ""  # noqa: PTH120 - as text
    except ValueError:  # absolute and relative paths
        return ""
    return f"{folder}/" if folder.strip("/") else ""


def as_table(
    rows: Iterable[ScoreRow], predictor: Predictor, machine_width: int, folder: str = "", *, has_truth: bool = False
) -> Iterator[bytes]:
    """Yield aligned lines. The name is the last column, so that no row has to wait for the longest name.

    Args:
        rows: rows to show.
        predictor: model; its longest message sets the width of that column.
        machine_width: width of the longest machine name; 0 leaves the column out.
        folder: common beginning of all names, with a slash at its end; it is printed once, in the head.
        has_truth: whether there is a column with the label of each recording.
    """
    messages = [label.message for label in (*predictor.model.labels.classes, UNKNOWN_FAULT)]
    width = max(REASON_WIDTH, *map(cell_len, messages))
    machine_width = machine_width and max(machine_width, len("machine"))

    def line(verdict: str, truth: str, score: str, duration: str, message: str, machine: str, name: str) -> bytes:
        known = f"{truth:8} " if has_truth else ""
        cells = [f"{verdict:9} {known}{score:>6} {duration:>8}", _fitted(printable(message), width)]
        if machine_width:
            cells.append(set_cell_size(printable(machine), machine_width))
        return f"{'  '.join([*cells, name])}\n".encode(errors="backslashreplace")

    yield line(
        "verdict",
        "truth",
        "score",
        "duration",
        "message",
        "machine",
        printable(f"name in {folder}" if folder else "name"),
    )
    for row in rows:
        cause = _cause(row)
        shown = line(
            row.verdict or ERROR,
            row.annotation.label or "-",
            "-" if row.score is None else f"{row.score:.3f}",
            "-" if row.duration_s is None else f"{row.duration_s:.1f} s",
            row.message or "-" if cause is None else printable(cause.short),
            row.annotation.machine_name or "-",
            printable(row.name.removeprefix(folder)),
        )
        alarm = row.verdict == "anomalous" and sys.stdout.isatty()
        yield typer.style("anomalous", fg="red").encode() + shown[len("anomalous") :] if alarm else shown


def _fitted(text: str, width: int) -> str:
    """Return a text with exactly ``width`` columns; a longer text ends with an ellipsis."""
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "\N{HORIZONTAL ELLIPSIS}"
    return set_cell_size(text, width)
