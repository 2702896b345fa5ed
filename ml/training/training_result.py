"""What came of a training, what that hangs on, and how one that came to its end already is found again."""

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
from ml.reports.facts import ReportFacts
from ml.reports.page import write_report
from ml.system.atomic import file_lock, to_json
from ml.training import records
from ml.training.card import library_versions
from ml.training.held_out_result import HeldOutResult
from ml.training.options import TrainingOptions
from ml.training.paths import FOLDER, REPORT, records_folder
from ml.training.verdicts import read_verdicts, write_verdicts

RECORDS, LAST_STEP = "records", "model and report"
KEPT = "no model was made, and the next run goes on from what is there"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of a training.

    Attributes:
        version: of the candidate, in the registry.
        evaluation: of the recipe on the held-out side.
        records: the folder with the split, the figures and the report.
        split: the sides.
        judged: what the network that was measured said of the test side; not the one that was fitted once more.
        judged_with_gain: the same with a random gain on each recording.
        unlearned: recordings of faults that no class was made of, since all of them were held out.
    """

    version: str
    evaluation: Evaluation
    records: Path
    split: Split
    judged: tuple[JudgedRecording, ...]
    judged_with_gain: tuple[JudgedRecording, ...]
    unlearned: tuple[Entry, ...] = ()

    @classmethod
    def of(
        cls, version: str, folder: Path, split: Split, tested: HeldOutResult, unlearned: tuple[Entry, ...] = ()
    ) -> Self:
        """A training that has come to its end, with its records in a folder."""
        return cls(version, tested.evaluation, folder, split, tested.judged, tested.judged_with_gain, unlearned)


def cache_key(dataset: Dataset, spec: FeatureSpec, options: TrainingOptions) -> dict[str, Any]:
    """All that decides what a training comes to, as plain values: the same again makes the same version."""
    recordings = json.dumps([entry.to_dict() for entry in dataset.entries])
    return {
        "recordings": hashlib.sha256(recordings.encode()).hexdigest(),
        "spec": spec.fingerprint,
        "options": options.to_dict(),
        "recipe": options.recipe.to_dict(),
        "libraries": {"signalml": version("signalml"), **library_versions()},
    }


def find_existing(home: Path, facts: Mapping[str, Any], split: Split) -> TrainingResult | None:
    """The training that was made from these facts, where its version and its records are whole; None to train anew."""
    registry = Registry(home)
    for candidate in registry.versions():
        if not records.matches_cache_key(home, candidate, facts):
            continue
        evaluation = records.read_evaluation(home, candidate)
        judged, gained = (read_verdicts(home, candidate, split.test, gain) for gain in ("none", "random"))
        if evaluation is not None and len(judged) == len(gained) == len(split.test):
            with suppress(ModelError):  # a damaged version is replaced by training it anew
                faults = registry.read(candidate).content.card.get("classes", {}).get("not_learned", ())
                unlearned = tuple(entry for _, entry in split.sides() if entry.annotation.fault in faults)
                folder = records_folder(home, candidate)
                return TrainingResult(candidate, evaluation, folder, split, judged, gained, unlearned)
    return None


def write_records(
    work: Path,
    split: Split,
    tested: HeldOutResult,
    facts: Mapping[str, Any],
    shown: ReportFacts,
    *,
    learned: Collection[Entry],
) -> None:
    """All that is kept of a training, in its work folder until the version is there.

    Args:
        work: the folder.
        split: the sides.
        tested: what was said of the test side.
        facts: what the training was made from.
        shown: what the report shows.
        learned: recordings of the test side that were learned from after they had been judged.
    """
    folder = work / RECORDS
    folder.mkdir(exist_ok=True)
    records.write_split(folder, split, learned=learned)
    records.write_evaluation(folder, tested.evaluation)
    records.write_cache_key(folder, facts)
    write_verdicts(folder, tested.judged, tested.judged_with_gain)
    write_report(folder / REPORT, shown)


@contextmanager
def work_folder(home: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Where checkpoints of this training lie, and of no other; one process at a time, and gone once all went well."""
    folder = home / FOLDER / f".work-{hashlib.sha256(to_json(facts)).hexdigest()[:16]}"
    # Its lock stays: one that was removed while another process waits for it would let in a third.
    lock = folder.parent / ".locks" / folder.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(lock):
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder)
