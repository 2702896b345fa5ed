"""``signalml evaluate``: figures of a model on recordings that it has not learned from."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from api.settings import Settings
from cli.output import print_note, print_table, print_text
from cli.progress import show_progress
from ml.classifier.recipe import Recipe
from ml.dataset.entries import Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.paths import features_folder, index_cache_file
from ml.dataset.splitting.methods import split
from ml.errors import DatasetEmpty
from ml.evaluation.evaluating import evaluate as weigh
from ml.evaluation.results import Estimate, Evaluation, Slice
from ml.experiments.original_protocol import ProtocolResult, compare_protocols
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr, reuse_memory
from ml.system.progress import ProgressCallback
from ml.system.text import csv_row
from ml.training.label_check import contradictions_note
from ml.training.recorded_split import RecordedSplit
from ml.training.records import read_evaluation

FIGURES = ("auc", "pauc", "detection_rate", "false_alarm_rate", "auc_gain_randomised", "auc_level_only")
COUNTS = ("n", "normal", "abnormal", "groups", "normal_groups", "abnormal_groups")
WHAT = ("name", "kind", "machine", "machine_id", "snr_db")
SUMMARY = {
    "harmonic_mean_auc": "AUC, harmonic mean over machine ids",
    "harmonic_mean_pauc": "pAUC, harmonic mean over machine ids",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
PROBABILITY = ("brier", "ece")  # left out if the score is no probability


def evaluate(
    model: Annotated[str, typer.Argument(help="A version, or champion, challenger, previous.")],
    source: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A folder of recordings, or a manifest (.csv), with both classes.")
    ],
    form: Annotated[
        Literal["table", "json", "csv"],
        typer.Option("--format", help="table for people; json with all figures; csv with a row for each slice."),
    ] = "table",
    snr: Annotated[float | None, typer.Option(help="Only the recordings at this signal-to-noise ratio, in dB.")] = None,
    gain_db: Annotated[
        float, typer.Option(min=0, max=60, help="Judge again with a random gain of up to so many dB; 0 turns it off.")
    ] = 6.0,
    all_: Annotated[
        bool, typer.Option("--all", help="Also count recordings of the model's own training; this measures memory.")
    ] = False,
    protocol: Annotated[
        Literal["held-out", "original"],
        typer.Option(
            help="original: also train the same network again, and measure it in the original's way and in an honest "
            "way."
        ),
    ] = "held-out",
    seed: Annotated[int, typer.Option(help="Seed of the random gains and of the intervals.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
) -> None:
    """Measure a model on the recordings of a dataset that it was not trained on."""
    reuse_memory()
    home = Settings().home
    with quiet_native_stderr():
        predictor = Registry(home).load_predictor(model)
    with quiet_native_stderr() as stderr, show_progress(Console(file=stderr)) as report:
        dataset = index(source, snr_db=snr, cache=index_cache_file(home), processes=processes, report=report)
        kept = read_evaluation(home, predictor.model.version)
        entries, notes = _select_entries(
            dataset, RecordedSplit.read(home, predictor.model.version), all_, kept is not None
        )
        if entries or kept is None:
            evaluation = _evaluated(predictor, dataset, entries, gain_db, seed, processes, report)
        else:
            evaluation = kept
        outcomes = _protocols(predictor, dataset, home, seed, processes, report) if protocol == "original" else ()
    evaluation = replace(evaluation, notes=(*contradictions_note(dataset), *notes, *evaluation.notes))
    if form == "json":
        facts = {
            "version": predictor.model.version,
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "gain_db": gain_db,
            "seed": seed,
        }
        if outcomes:
            facts["protocols"] = [outcome.to_dict() for outcome in outcomes]
        typer.echo(json.dumps(facts | evaluation.to_dict(), indent=2, allow_nan=False))
    elif form == "csv" and outcomes:
        csv.writer(sys.stdout, lineterminator="\n").writerows(
            [list(outcomes[0].to_dict()), *(csv_row(outcome.to_dict().values()) for outcome in outcomes)]
        )
    elif form == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(map(csv_row, _csv_rows(evaluation)))
    else:
        print_text(f"{predictor.model.version} on {dataset.name}: {_judged_on(len(entries), evaluation)}")
        typer.echo()
        print_tables(evaluation)
        _print_protocols(outcomes)


def _protocols(
    predictor: Predictor, dataset: Dataset, home: Path, seed: int, processes: int | None, report: ProgressCallback
) -> tuple[ProtocolResult, ...]:
    """Train the network of the model again on the dataset, and measure it in both ways."""
    spec = predictor.model.bundle.content.spec
    recipe = Recipe.original(seed) if spec == FeatureSpec.original() else Recipe.spectrum(seed)
    sides = split(dataset, seed=seed)
    return compare_protocols(
        dataset, sides, spec, recipe, FeatureStore(features_folder(home)), processes=processes, report=report
    )


def _print_protocols(outcomes: Sequence[ProtocolResult]) -> None:
    if not outcomes:
        return
    typer.echo()
    print_text("The same network, trained again on these recordings and measured in two ways:")
    heads = ("clips", "copies in training", "accuracy", "always normal", "macro-F1", "AUC")
    table = Table("protocol", *heads, box=None)
    for each in outcomes:
        figures = (each.near_copies, each.accuracy, each.always_normal, each.macro_f1, each.auc)
        shown = (f"{each.near_copies:.0%}", *(f"{figure:.3f}" for figure in figures[1:]))
        table.add_row(each.protocol, str(each.n), *shown)
    print_table(table, "")
    for each in outcomes:
        print_note(f"{each.protocol}: {each.description}.")


def _evaluated(
    predictor: Predictor,
    dataset: Dataset,
    entries: Sequence[Entry],
    gain_db: float,
    seed: int,
    processes: int | None,
    report: ProgressCallback,
) -> Evaluation:
    judged = judge(predictor, dataset, entries, seed=seed, processes=processes, report=report)
    gained = None
    if gain_db:
        gained = judge(predictor, dataset, entries, gain_db=gain_db, seed=seed, processes=processes, report=report)
    return weigh(
        judged,
        judged_with_gain=gained,
        threshold=predictor.model.decision.threshold,
        classes=predictor.verdict_labels,
        score_is_probability=predictor.detector is None,
        seed=seed,
    )


def _select_entries(
    dataset: Dataset, fitted: RecordedSplit | None, all_: bool, kept: bool
) -> tuple[tuple[Entry, ...], list[str]]:
    """Return the recordings that count, each once, and notes about the others.

    Args:
        dataset: dataset of the evaluation.
        fitted: split of the model's training; None if it is not recorded here.
        all_: whether recordings of the training count, too.
        kept: whether the figures of the training are stored; then no recording has to remain.

    Raises:
        DatasetEmpty: no recording remains.
    """
    notes = []
    if dataset.refusals:
        notes.append(f"{_counted(len(dataset.refusals), 'file')} could not be read; signalml inspect lists them.")
    once = {entry.audio_hash: entry for entry in reversed(dataset.entries)}
    if len(once) < len(dataset.entries):
        copies = _counted(len(dataset.entries) - len(once), "exact copy", "exact copies")
        notes.append(f"{copies} of other recordings left out.")
    entries = tuple(entry for entry in dataset.entries if once[entry.audio_hash] is entry)
    if fitted is None:
        notes.append("The training recordings of this model are not known here: some of them may be counted.")
        return entries, notes
    sides = Counter(fitted.side(entry) for entry in entries)
    seen = {side: count for side, count in sides.items() if side not in ("test", None)}
    if not seen:
        return entries, notes
    shown = ", ".join(f"{side}: {count}" for side, count in sorted(seen.items()))
    total = _counted(sum(seen.values()), "recording")
    if all_:
        warning = f"NOT HELD OUT: --all counts {total} of the model's own training ({shown}). The figures are too good."
        notes.insert(0, warning)
        return entries, notes
    notes.append(f"{total} of the model's own training left out ({shown}).")
    entries = tuple(entry for entry in entries if not fitted.served_model_saw(entry))
    if not entries and kept:
        notes = [
            f"Every recording of {dataset.name} belongs to the model's own training. The figures are from that "
            "training: they were measured on its test side, before the final fit to all recordings."
        ]
    elif not entries:
        raise DatasetEmpty(
            f"Every recording of {dataset.name} belongs to the model's own training ({shown}); other recordings were "
            "expected. With --all, these are counted, and the figures measure memory."
        )
    return entries, notes


def _judged_on(judged: int, evaluation: Evaluation) -> str:
    if judged:
        return _counted(judged, "recording")
    kept = _counted(evaluation.pooled.n, "recording")
    return f"no recording is left to judge; figures of its training, from {kept} that were held out"


def _csv_rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    parts = ("value", "low", "high")
    yield [*WHAT, *COUNTS, *(f"{figure}{'' if p == 'value' else '_' + p}" for figure in FIGURES for p in parts)]
    for each in evaluation.slices:
        figures = (getattr(getattr(each, figure), part) for figure in FIGURES for part in parts)
        yield [*(getattr(each, name) for name in (*WHAT, *COUNTS)), *figures]


def print_tables(evaluation: Evaluation) -> None:
    """Print all figures and notes of an evaluation."""
    _print_slices(evaluation.slices)
    typer.echo()
    figures = Table("", "", box=None, show_header=False)
    for name, title in SUMMARY.items():
        if name not in PROBABILITY or evaluation.brier.value is not None:
            figures.add_row(title, _format_estimate(getattr(evaluation, name)))
    print_table(figures, "")
    typer.echo()
    print_text(f"Rows: true class. Columns: predicted class. A score above {evaluation.threshold:g} is anomalous.")
    confusion = Table("", *evaluation.classes, box=None)
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        confusion.add_row(name, *map(str, row))
    print_table(confusion, "")
    typer.echo()
    for note in evaluation.notes:
        print_note(note)


def _print_slices(slices: Sequence[Slice]) -> None:
    heads = ("AUC", "pAUC", "detection", "false alarms", "AUC, random gain", "AUC, level only")
    table = Table("recordings", "normal", "abnormal", "sessions", *heads, box=None)
    for each in slices:
        figures = (_format_estimate(getattr(each, figure)) for figure in FIGURES)
        table.add_row(each.name, str(each.normal), str(each.abnormal), str(each.groups), *figures)
    print_table(table, "")


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
