"""What is kept of a training beside the bundle, in ``<home>/training/<version>/``.

::

    split.csv         audio_hash, side, path: on which side each recording was
    verdicts.csv      what the measured network said of each recording of the test side, see verdicts.py
    evaluation.json   the figures on the held-out side
    training.json     what it was made from: all that decides what a training comes to
    report.html       everything, to look at
    comparison.json   how it stood beside the champion, where it was compared with one
"""

import csv
import io
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml.dataset.entries import Entry
from ml.dataset.splitting.sides import Split
from ml.evaluation.results import Evaluation
from ml.system.atomic import sync_folder, to_json, write_atomic
from ml.training.paths import records_folder
from ml.training.recorded_split import TEST_THEN_FITTED

SPLIT, EVALUATION = "split.csv", "evaluation.json"
CACHE_KEY, COMPARISON = "training.json", "comparison.json"
COLUMNS = ("audio_hash", "side", "path")


def read_evaluation(home: Path, version: str) -> Evaluation | None:
    """The figures of a version's training on its held-out side; None where none were kept."""
    file = records_folder(home, version) / EVALUATION
    return Evaluation.from_dict(json.loads(file.read_bytes())) if file.is_file() else None


def write_split(folder: Path, split: Split, *, learned: Collection[Entry] = ()) -> None:
    """The split, as a table.

    Args:
        folder: where.
        split: the sides.
        learned: recordings of the test side that were learned from after they had been judged.
    """
    write_table(folder / SPLIT, COLUMNS, _rows(split, {entry.path for entry in learned}))


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, as CSV; a path's bytes that are no UTF-8 are written as they are."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_atomic(file, text.getvalue().encode("utf-8", "surrogateescape"))


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """The figures, as JSON."""
    write_atomic(folder / EVALUATION, to_json(evaluation.to_dict()))


def write_cache_key(folder: Path, made_from: Mapping[str, Any]) -> None:
    """What a training was made from, as JSON."""
    write_atomic(folder / CACHE_KEY, to_json(made_from))


def matches_cache_key(home: Path, version: str, made_from: Mapping[str, Any]) -> bool:
    """Whether a version's training was made from just this."""
    file = records_folder(home, version) / CACHE_KEY
    return file.is_file() and file.read_bytes() == to_json(made_from)


def write_comparison(home: Path, version: str, comparison: Mapping[str, Any]) -> None:
    """How a version stood beside the champion, as JSON, beside the other records of its training."""
    write_atomic(records_folder(home, version) / COMPARISON, to_json(comparison))


def move_records(work_folder: Path, home: Path, version: str) -> Path:
    """Move a folder of records to its place; those of an earlier training that made the same version give way."""
    target = records_folder(home, version)
    if target.exists():
        earlier = work_folder.with_name("earlier")
        shutil.rmtree(earlier, ignore_errors=True)
        target.rename(earlier)
    work_folder.rename(target)
    sync_folder(target.parent)
    return target


def _rows(split: Split, learned: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for side, entry in split.sides():
        then_fitted = side == "test" and entry.path in learned
        yield entry.audio_hash, TEST_THEN_FITTED if then_fitted else side, entry.path
    for entry, _ in split.left_out:
        yield entry.audio_hash, "left out", entry.path
