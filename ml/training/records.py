"""Records of a training: files next to the bundle, in ``<home>/training/<version>/``.

::

    split.csv         audio_hash, side, path: the side of each recording
    verdicts.csv      verdicts of the measured model on the test side, see verdicts.py
    evaluation.json   figures of the test side
    expectations.json what to expect of the served model
    training.json     cache key: recordings, options and library versions
    report.html       report
    comparison.json   result of compare_with_champion, if it was called
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
from ml.reports.expectations import Expectations
from ml.system.atomic import sync_folder, to_json, write_atomic
from ml.system.text import without_formula
from ml.training.paths import SPLIT, records_folder
from ml.training.recorded_split import TEST, TEST_THEN_FITTED

EVALUATION, EXPECTATIONS = "evaluation.json", "expectations.json"
CACHE_KEY, COMPARISON = "training.json", "comparison.json"
COLUMNS = ("audio_hash", "side", "path")


def read_evaluation(home: Path, version: str) -> Evaluation | None:
    """Read the figures of a version's test side; None if there are none."""
    file = records_folder(home, version) / EVALUATION
    return Evaluation.from_dict(json.loads(file.read_bytes())) if file.is_file() else None


def read_expectations(home: Path, version: str) -> Expectations | None:
    """Read what to expect of a version; None if it is not stored, as for versions of earlier releases."""
    file = records_folder(home, version) / EXPECTATIONS
    return Expectations.from_dict(json.loads(file.read_bytes())) if file.is_file() else None


def write_split(folder: Path, split: Split, *, learned: Collection[Entry] = ()) -> None:
    """Write the split as a table.

    Args:
        folder: folder of the records.
        split: the sides.
        learned: test recordings that the final fit has learned from.
    """
    write_table(folder / SPLIT, COLUMNS, _rows(split, {entry.path for entry in learned}))


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV. Bytes of a path that are not UTF-8 are written unchanged, and no text is a formula."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([without_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    write_atomic(file, text.getvalue().encode("utf-8", "surrogateescape"))


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the figures as JSON."""
    write_atomic(folder / EVALUATION, to_json(evaluation.to_dict()))


def write_expectations(folder: Path, expectations: Expectations) -> None:
    """Write what to expect of the served model as JSON."""
    write_atomic(folder / EXPECTATIONS, to_json(expectations.to_dict()))


def write_cache_key(folder: Path, key: Mapping[str, Any]) -> None:
    """Write the cache key of a training as JSON."""
    write_atomic(folder / CACHE_KEY, to_json(key))


def matches_cache_key(home: Path, version: str, key: Mapping[str, Any]) -> bool:
    """Whether a version's training has this cache key."""
    file = records_folder(home, version) / CACHE_KEY
    return file.is_file() and file.read_bytes() == to_json(key)


def write_comparison(home: Path, version: str, comparison: Mapping[str, Any]) -> None:
    """Write the comparison of a version with the champion as JSON."""
    write_atomic(records_folder(home, version) / COMPARISON, to_json(comparison))


def move_records(source: Path, home: Path, version: str) -> Path:
    """Move a folder of records to its final place, and replace earlier records of the same version."""
    target = records_folder(home, version)
    if target.exists():
        earlier = source.with_name("earlier")
        shutil.rmtree(earlier, ignore_errors=True)
        target.rename(earlier)
    source.rename(target)
    sync_folder(target.parent)
    return target


def _rows(split: Split, learned: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for side, entry in split.sides():
        then_fitted = side == TEST and entry.path in learned
        yield entry.audio_hash, TEST_THEN_FITTED if then_fitted else side, entry.path
    for entry, _ in split.left_out:
        yield entry.audio_hash, "left out", entry.path
