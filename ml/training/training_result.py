"""Result of a training, its cache key, and the search for an existing result."""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.errors import ModelError
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import Evaluation
from ml.features.spec import FeatureSpec
from ml.models.registry import Registry
from ml.reports.expectations import Expectations
from ml.reports.facts import ReportFacts
from ml.reports.page import write_report
from ml.system.atomic import passing_lock, to_json
from ml.training import records
from ml.training.card import library_versions
from ml.training.held_out_result import HeldOutResult
from ml.training.options import TrainingOptions
from ml.training.paths import FOLDER, REPORT, records_folder
from ml.training.verdicts import read_verdicts, write_verdicts

RECORDS, LAST_STEP = "records", "model and report"
KEPT = "no model was made, and the next run continues from the files that are complete"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        version: version of the candidate in the registry.
        evaluation: figures of the test side.
        records: folder with the split, the figures and the report.
        split: the sides.
        judged: verdicts of the measured model on the test side; the model of the final fit gives none.
        judged_with_gain: verdicts with a random gain on each recording.
        unlearned: recordings of faults without a class, because all recordings of the fault were held out.
        expectations: what to expect of the served model; None for a training of an earlier release.
    """

    version: str
    evaluation: Evaluation
    records: Path
    split: Split
    judged: tuple[JudgedRecording, ...]
    judged_with_gain: tuple[JudgedRecording, ...]
    unlearned: tuple[Entry, ...] = ()
    expectations: Expectations | None = None

    @classmethod
    def of(
        cls,
        version: str,
        folder: Path,
        split: Split,
        result: HeldOutResult,
        unlearned: tuple[Entry, ...],
        expectations: Expectations,
    ) -> Self:
        """Return the result of a training whose records are in ``folder``."""
        judged, gained = result.judged, result.judged_with_gain
        return cls(version, result.evaluation, folder, split, judged, gained, unlearned, expectations)


def cache_key(dataset: Dataset, spec: FeatureSpec, options: TrainingOptions) -> dict[str, Any]:
    """Return everything that decides the result, as plain values. The same key gives the same version."""
    recordings = json.dumps([entry.to_dict() for entry in dataset.entries])
    return {
        "recordings": hashlib.sha256(recordings.encode()).hexdigest(),
        "spec": spec.fingerprint,
        "options": options.to_dict(),
        "recipe": options.recipe.to_dict(),
        "libraries": {"signalml": version("signalml"), **library_versions()},
    }


def find_existing(home: Path, key: Mapping[str, Any], split: Split) -> TrainingResult | None:
    """Find a training with this cache key; None if version, figures or verdicts are missing or damaged."""
    registry = Registry(home)
    for candidate in registry.versions():
        if not records.matches_cache_key(home, candidate, key):
            continue
        with suppress(ModelError, ValueError, KeyError, TypeError):  # a damaged version or record is trained again
            evaluation = records.read_evaluation(home, candidate)
            judged, gained = (read_verdicts(home, candidate, split.test, gain) for gain in ("none", "random"))
            if evaluation is not None and len(judged) == len(gained) == len(split.test):
                faults = registry.read(candidate).content.card.get("classes", {}).get("not_learned", ())
                unlearned = tuple(entry for _, entry in split.sides() if entry.annotation.fault in faults)
                folder, expected = records_folder(home, candidate), records.read_expectations(home, candidate)
                return TrainingResult(candidate, evaluation, folder, split, judged, gained, unlearned, expected)
    return None


def write_records(
    work: Path,
    split: Split,
    result: HeldOutResult,
    expectations: Expectations,
    key: Mapping[str, Any],
    facts: ReportFacts,
    *,
    learned: Collection[Entry],
) -> None:
    """Write the records of a training to its work folder.

    Args:
        work: the work folder.
        split: the sides.
        result: verdicts and figures of the test side.
        expectations: what to expect of the served model.
        key: cache key of the training.
        facts: content of the report.
        learned: test recordings that the final fit has learned from.
    """
    folder = work / RECORDS
    folder.mkdir(exist_ok=True)
    records.write_split(folder, split, learned=learned)
    records.write_evaluation(folder, result.evaluation)
    records.write_expectations(folder, expectations)
    records.write_cache_key(folder, key)
    write_verdicts(folder, result.judged, result.judged_with_gain)
    write_report(folder / REPORT, facts)


@contextmanager
def work_folder(home: Path, key: Mapping[str, Any]) -> Iterator[Path]:
    """Lock and yield the folder for the checkpoints of this training; delete it after success."""
    folder = home / FOLDER / f".work-{hashlib.sha256(to_json(key)).hexdigest()[:16]}"
    lock = folder.parent / ".locks" / folder.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with passing_lock(lock):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
