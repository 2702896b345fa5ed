"""From healthy recordings to a candidate that holds a detector alone, step by step, as :mod:`ml.training.run`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.dataset.entries import NORMAL, Dataset
from ml.dataset.splitting.sides import Split
from ml.dataset.summary import summary
from ml.detectors.detector import Detector
from ml.detectors.thresholds import at_rate
from ml.evaluation.results import Evaluation
from ml.features.feature_specs import spec_for
from ml.models.bundle import Bundle, Content, GoldenClip
from ml.models.golden import golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.publishing import publish
from ml.models.registry import Registry
from ml.models.thresholds import decision_at
from ml.reports.facts import ReportFacts
from ml.system.atomic import full_disk_named
from ml.system.progress import Progress, Report
from ml.training import records
from ml.training.card import dataset_facts, detector_facts, figures_in_short, library_versions, split_summary
from ml.training.detecting import Detecting, counted, split_healthy
from ml.training.operating import operating_points
from ml.training.options import Options
from ml.training.tested import Tested
from ml.training.trained import (
    KEPT,
    LAST_STEP,
    RECORDS,
    Trained,
    found_again,
    made_from,
    work_folder,
    write_records,
)

DETECTOR_LIMITS = (
    "It knows how its machines sound when they are healthy, as they were when it learned them. A machine that was "
    "repaired, moved or set to run otherwise is novel too. What it finds has no name."
)
REFITTED_DETECTOR = (
    "The figures are those of a detector that never heard the held-out side. The one that is served learned from all "
    "healthy recordings, and its threshold from scores of recordings that were left out in turn."
)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A detector, and what it is worth on recordings it has not learned from."""

    detector: Detector
    tested: Tested


def run_detector(
    options: Options, home: Path, dataset: Dataset, notes: Sequence[str], processes: int | None, report: Report
) -> Trained:
    """Train a detector and add it to the registry; the arguments and errors are those of :func:`ml.training.run`."""
    started = time.monotonic()
    sides = split_healthy(dataset, options)
    spec = spec_for(sides.train, options.kind)
    facts = made_from(dataset, spec, options)
    making = Detecting(dataset, spec, options, processes, report)
    with full_disk_named(home, KEPT), work_folder(home, facts) as work:
        if (before := found_again(home, facts, sides)) is not None:
            report(Progress(LAST_STEP, 1, 1, f"{before.version}, trained before"))
            return before
        found = _measure(making, sides)
        version = _published(making, sides, found, facts, work, home, notes, started)
        folder = records.keep(work / RECORDS, home, version)
    return Trained.of(version, folder, sides, found.tested)


def _measure(making: Detecting, sides: Split) -> _Measured:
    """Learn from the healthy recordings that are not on the test side, and judge that."""
    options = making.options
    detector = making.detector((*sides.train, *sides.validation))
    decision = decision_at(at_rate(detector.calibration, options.false_alarm_rate))
    content = Content(making.spec, DETECTOR_LABELS, decision, {}, None, GoldenClip(golden_clip(), ()), detector)
    predictor = Predictor(Bundle("candidate", "", content))
    return _Measured(
        detector, Tested.of(predictor, making.dataset, sides.test, options, making.processes, making.report)
    )


def _published(
    making: Detecting,
    sides: Split,
    found: _Measured,
    facts: dict[str, Any],
    work: Path,
    home: Path,
    notes: Sequence[str],
    started: float,
) -> str:
    """The version, in the registry; its records lie ready in the work folder."""
    options = making.options
    detector, learned = found.detector, (*sides.train, *sides.validation)
    if options.refit:
        learned = (*learned, *sides.test)
        detector = making.detector(learned)
    decision = decision_at(at_rate(detector.calibration, options.false_alarm_rate))
    about = detector_facts(detector) | {
        "healthy": counted(learned),
        "operating": operating_points(detector, making.faults(detector, sides.test), options.seed),
        "seconds": round(time.monotonic() - started, 1),
    }
    card = _card(making, sides, found.tested.evaluation, about, notes)
    making.report(Progress(LAST_STEP, 0, 1))

    def before_add(version: str) -> None:
        """Whatever may fail or be cancelled comes before the version is there; only renames come after."""
        shown = ReportFacts(
            version=version,
            card=card,
            labels=DETECTOR_LABELS,
            decision=decision,
            spec=detector.spec,
            evaluation=found.tested.evaluation,
            dataset_summary=summary(making.dataset),
            split_summary=card["split"],
            notes=(*notes, *((REFITTED_DETECTOR,) if options.refit else ())),
        )
        healthy = [entry for entry in sides.test if entry.label == NORMAL]
        write_records(work, sides, found.tested, facts, shown, learned=healthy if options.refit else ())
        making.report(Progress(LAST_STEP, 1, 1, version))

    return publish(
        None,
        name=options.name,
        spec=making.spec,
        labels=DETECTOR_LABELS,
        decision=decision,
        card=card,
        registry=Registry(home),
        detector=detector,
        before_add=before_add,
    )


def _card(
    making: Detecting, sides: Split, evaluation: Evaluation, detector: dict[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    """The card, as plain values."""
    return {
        "source": {"kind": "trained here", "options": making.options.to_dict(), "notes": list(notes)},
        "dataset": dataset_facts(making.dataset),
        "split": split_summary(sides),
        "detector": detector,
        "metrics": figures_in_short(evaluation),
        "libraries": library_versions(),
        "limits": DETECTOR_LIMITS,
    }
