"""The model card: origin, figures and limits of a version."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.detectors.detector import Detector
from ml.detectors.reference_benefit import ReferenceBenefit
from ml.evaluation.results import Estimate, Evaluation
from ml.models.demonstration import DEMONSTRATION
from ml.training.candidate import FittedModel
from ml.training.classes import TrainingClasses
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording, count_by_machine
from ml.training.held_out_result import HeldOutResult
from ml.training.operating_points import operating_points

if TYPE_CHECKING:
    from ml.classifier.fitting import FittedNetwork

LIBRARIES = ("keras", "numpy", "scipy", "scikit-learn")
NETWORK_LIMITS = (
    "The classifier knows only the machines and faults that it was trained on. For another machine, another microphone "
    "position or another fault, its answer can be wrong and its probability high all the same."
)
DETECTOR_LIMITS = (
    "The detector compares each machine with its normal recordings. A machine that was repaired, moved or set to "
    "another load is far from normal too. The detector does not name faults."
)


def build_card(
    context: TrainingContext,
    classes: TrainingClasses,
    measured: FittedModel,
    served: FittedModel,
    result: HeldOutResult,
    abnormal: Sequence[MeasuredRecording],
) -> dict[str, Any]:
    """Return the card as plain values.

    See :func:`ml.training.publication.publish_candidate` for the arguments.
    """
    seconds = round(time.monotonic() - context.started, 1)
    kind = DEMONSTRATION if context.demonstration else "trained here"
    card = {
        "source": {"kind": kind, "options": context.options.to_dict(), "notes": list(context.notes)},
        "dataset": dataset_facts(context.dataset),
        "split": split_summary(context.split),
        "metrics": metrics_summary(result.evaluation),
        "libraries": library_versions(),
        "limits": DETECTOR_LIMITS if measured.network is None else NETWORK_LIMITS,
    }
    if served.detector is None:
        detector = None
    else:
        points = operating_points(served.detector, abnormal, context.options.seed)
        detector = detector_facts(served.detector) | {
            "healthy": count_by_machine(context.final_side),
            "operating": points,
        }
    if measured.network is None:
        return card | {"detector": {**(detector or {}), "seconds": seconds}}
    return card | {"detector": detector} | _classifier_facts(context, classes, measured.network, seconds)


def _classifier_facts(
    context: TrainingContext, classes: TrainingClasses, network: "FittedNetwork", seconds: float
) -> dict[str, Any]:
    """Return classes, groups, recipe and fit."""
    return {
        "classes": {
            "from": classes.source,
            "names": [label.name for label in classes.labels.classes],
            "not_learned": dict(Counter(str(entry.annotation.fault) for entry in classes.unlearned)),
        },
        "groups": groups_summary(classes),
        "recipe": context.options.recipe.to_dict(),
        "fit": {
            "epochs": len(network.history),
            "best_epoch": network.best_epoch,
            "temperature": round(network.temperature, 4),
            "served": "fitted again to all sides, for the best number of epochs"
            if context.options.refit
            else "the measured network",
            "seconds": seconds,
        },
    }


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return name, fingerprint and size of the dataset."""
    return {
        "name": dataset.name,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
        "recordings": len(dataset.entries),
        "refused": len(dataset.refusals),
        "hours": round(sum(entry.info.duration_s for entry in dataset.entries) / 3600, 3),
    }


def detector_facts(detector: Detector) -> dict[str, Any]:
    """Return engines, contrast of each, machines and calibration of a detector, and its odd normal recordings."""
    benefit = None if detector.benefit is None else reference_facts(detector, detector.benefit)
    facts = {} if benefit is None else {"reference_channel": benefit}
    return facts | {
        "engines": [engine.name for engine in detector.engines],
        "contrast": {name: round(each, 2) for name, each in detector.contrast.items()},
        "machines": list(detector.machines),
        "calibrated_on": len(detector.calibration.named),
        "sessions": detector.calibration.n_sessions,
        "rate_holds_for": detector.calibration.rate_holds_for,
        "odd_recordings": [odd._asdict() for odd in detector.odd_recordings],
    }


def reference_facts(detector: Detector, benefit: ReferenceBenefit) -> dict[str, Any]:
    """Return channel, use and benefit of the reference channel."""
    return {
        "channel": detector.spec.reference_channel,
        "used": detector.pair is not None,
        "explained": round(benefit.explained, 3),
        "main_contrast": None if benefit.main_contrast is None else round(benefit.main_contrast, 2),
        "pair_contrast": None if benefit.pair_contrast is None else round(benefit.pair_contrast, 2),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries. TensorFlow can be installed as tensorflow-cpu."""
    try:
        tensorflow = version("tensorflow")
    except PackageNotFoundError:
        tensorflow = version("tensorflow-cpu")
    return {"tensorflow": tensorflow, **{name: version(name) for name in LIBRARIES}}


def split_summary(split: Split) -> dict[str, Any]:
    """Return method, seed and counts of a split."""
    return {
        "method": split.method,
        "seed": split.seed,
        **{side: _counts(entries) for side, entries in _sides(split)},
        "left_out": dict(Counter(reason for _, reason in split.left_out)),
    }


def groups_summary(classes: TrainingClasses) -> dict[str, Any] | None:
    """Return number and agreement of the fault groups; None if none were searched for."""
    groups, agreed = classes.groups, classes.agreement
    if groups is None:
        return None
    return {"k": groups.k, "chosen_by": groups.chosen_by, "agreement": None if agreed is None else asdict(agreed)}


def _sides(split: Split) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    return (("train", split.train), ("validation", split.validation), ("test", split.test))


def _counts(entries: Sequence[Entry]) -> dict[str, int]:
    labels = Counter(entry.label for entry in entries)
    return {"normal": labels["normal"], "abnormal": labels["abnormal"], "groups": len({e.session for e in entries})}


def metrics_summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the counts and the main figures of the test side, each figure with its 95 % interval."""
    pooled = evaluation.pooled
    return {
        "n": pooled.n,
        "normal": pooled.normal,
        "abnormal": pooled.abnormal,
        "groups": pooled.groups,
        "auc": _figures(pooled.auc),
        "pauc": _figures(pooled.pauc),
        "auc_gain_randomised": _figures(evaluation.auc_gain_randomised),
        "auc_level_only": _figures(evaluation.auc_level_only),
        "detection_rate": _figures(pooled.detection_rate),
        "false_alarm_rate": _figures(pooled.false_alarm_rate),
        "macro_f1": _figures(evaluation.macro_f1),
    }


def _figures(estimate: Estimate) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in (estimate.value, estimate.low, estimate.high)]
