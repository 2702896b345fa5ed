"""What is kept of a training beside the bundle, in ``<home>/training/<version>/``.

::

    split.csv         audio_hash, side, path: on which side each recording was
    evaluation.json   the figures on the held-out side
    report.html       everything, to look at
"""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from ml.dataset import Split
from ml.errors import ReportNotFound
from ml.evaluation import Evaluation
from ml.files import sync_folder, to_json, write_whole

FOLDER, SPLIT, EVALUATION, REPORT = "training", "split.csv", "evaluation.json", "report.html"
COLUMNS = ("audio_hash", "side", "path")
# The side of what the recipe was measured on, and the served network then fitted to.
MEASURED_THEN_FITTED = "test, then fitted"


def folder_of(home: Path, version: str) -> Path:
    """Where the records of a version are; it need not exist."""
    return home / FOLDER / version


def evaluation_of(home: Path, version: str) -> Evaluation | None:
    """The figures of a version's training on its held-out side; None where none were kept."""
    file = folder_of(home, version) / EVALUATION
    return Evaluation.from_dict(json.loads(file.read_bytes())) if file.is_file() else None


def report_of(home: Path, version: str) -> Path:
    """The report of a version's training.

    Raises:
        ReportNotFound: there is none.
    """
    file = folder_of(home, version) / REPORT
    if not file.is_file():
        raise ReportNotFound(
            f"There is no report of {version}: signalml train writes one, beside the home's models; versions that were "
            "imported have none."
        )
    return file


def write_split(folder: Path, split: Split, *, refitted: bool) -> None:
    """The split, as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_rows(split, refitted=refitted))
    write_whole(folder / SPLIT, text.getvalue().encode("utf-8", "surrogateescape"))


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """The figures, as JSON."""
    write_whole(folder / EVALUATION, to_json(evaluation.to_dict()))


def keep(aside: Path, home: Path, version: str) -> Path:
    """Move a folder of records to its place; those of an earlier training that made the same version give way."""
    target = folder_of(home, version)
    if target.exists():
        earlier = aside.with_name("earlier")
        shutil.rmtree(earlier, ignore_errors=True)
        target.rename(earlier)
    aside.rename(target)
    sync_folder(target.parent)
    return target


def _rows(split: Split, *, refitted: bool) -> Iterator[tuple[str, str, str]]:
    for side, entry in split.sides():
        yield entry.audio_hash, MEASURED_THEN_FITTED if refitted and side == "test" else side, entry.path
    for entry, _ in split.left_out:
        yield entry.audio_hash, "left out", entry.path
