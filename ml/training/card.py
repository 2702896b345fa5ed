"""What a bundle says of where it comes from, what it was measured on, and what it cannot do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.detectors.detector import Detector
from ml.evaluation.results import Estimate, Evaluation
from ml.training.scene import Measured, Scene

LIBRARIES = ("keras", "numpy", "scipy", "scikit-learn")
NETWORK_LIMITS = (
    "It knows the machines and the faults that it was shown. Another machine, another microphone place or a fault of "
    "another kind may be answered wrongly and with confidence."
)


def card_of(
    scene: Scene, found: Measured, detector: dict[str, Any] | None, notes: Sequence[str], seconds: float
) -> dict[str, Any]:
    """The card, as plain values; ``detector`` is what is said of the one that is served."""
    fitted = found.fitted
    return {
        "source": {"kind": "trained here", "options": scene.options.to_dict(), "notes": list(notes)},
        "dataset": dataset_facts(scene.dataset),
        "split": split_summary(scene.split),
        "classes": {
            "from": scene.classes.source,
            "names": [label.name for label in scene.classes.labels.classes],
            "not_learned": dict(Counter(str(entry.fault) for entry in scene.classes.unlearned)),
        },
        "groups": groups_summary(scene),
        "recipe": scene.options.recipe.to_dict(),
        "fit": {
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "temperature": round(fitted.temperature, 4),
            "served": "fitted once more, to all sides, for as many epochs as the best"
            if scene.options.refit
            else "the network that was measured",
            "seconds": round(seconds, 1),
        },
        "detector": detector,
        "metrics": figures_in_short(found.tested.evaluation),
        "libraries": library_versions(),
        "limits": NETWORK_LIMITS,
    }


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Which recordings it was trained on."""
    return {
        "name": dataset.name,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
        "recordings": len(dataset.entries),
        "refused": len(dataset.refusals),
        "hours": round(sum(entry.duration_s for entry in dataset.entries) / 3600, 3),
    }


def detector_facts(detector: Detector) -> dict[str, Any]:
    """What a detector is made of."""
    return {
        "engines": [engine.name for engine in detector.engines],
        "machines": list(detector.machines),
        "calibrated_on": len(detector.calibration.named),
    }


def library_versions() -> dict[str, str]:
    """What a training was made with; TensorFlow may be installed without its kernels for GPUs, as tensorflow-cpu."""
    try:
        tensorflow = version("tensorflow")
    except PackageNotFoundError:
        tensorflow = version("tensorflow-cpu")
    return {"tensorflow": tensorflow, **{name: version(name) for name in LIBRARIES}}


def split_summary(split: Split) -> dict[str, Any]:
    """How the recordings were divided."""
    return {
        "method": split.method,
        "seed": split.seed,
        **{side: _counts(entries) for side, entries in _sides(split)},
        "left_out": dict(Counter(reason for _, reason in split.left_out)),
    }


def groups_summary(scene: Scene) -> dict[str, Any] | None:
    """What was found in the abnormal recordings, in short; None where nothing was looked for."""
    groups, agreed = scene.classes.groups, scene.classes.agreement
    if groups is None:
        return None
    return {"k": groups.k, "chosen_by": groups.chosen_by, "agreement": None if agreed is None else asdict(agreed)}


def _sides(split: Split) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    return (("train", split.train), ("validation", split.validation), ("test", split.test))


def _counts(entries: Sequence[Entry]) -> dict[str, int]:
    labels = Counter(entry.label for entry in entries)
    return {"normal": labels["normal"], "abnormal": labels["abnormal"], "groups": len({e.group for e in entries})}


def figures_in_short(evaluation: Evaluation) -> dict[str, Any]:
    """The figures in short, on the held-out side; each with its 95 % interval."""
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
