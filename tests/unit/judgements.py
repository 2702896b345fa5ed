"""Judged recordings for tests, without a model: the scores are given."""

from collections.abc import Sequence

import numpy as np

from ml.dataset.entries import Entry, Label
from ml.evaluation.judged import JudgedRecording
from tests.unit import datasets

CLASSES = ("normal", "imbalance", "clogging")


def entry(number: int, label: Label = "normal", **known: object) -> Entry:
    """One recording, of a session of its own unless ``known`` has another."""
    facts = {
        "path": f"{label}/{number:08d}.wav",
        "group": f"{label} {number}",
        "audio_hash": f"{number:032x}",
        "peak_dbfs": -10.0,
    }
    return datasets.entry(label=label, **(facts | known))  # type: ignore[arg-type]  # whatever a test sets


def verdict(recording: Entry, score: float, threshold: float = 0.5, predicted: str | None = None) -> JudgedRecording:
    """The judged recording of a model with :data:`CLASSES` at that score."""
    anomaly = score > threshold
    truth = "normal" if recording.label == "normal" else recording.annotation.fault
    predicted = predicted or ("imbalance" if anomaly else "normal")
    return JudgedRecording(recording, score, anomaly, (1 - score, score, 0.0), predicted, truth)


def judgements(normal: Sequence[float], abnormal: Sequence[float], **known: object) -> list[JudgedRecording]:
    """Recordings with these scores; the abnormal ones have the fault imbalance."""
    normal_ones = [verdict(entry(i, **known), score) for i, score in enumerate(normal)]
    known = {"fault": "imbalance"} | known
    abnormal_ones = [verdict(entry(10_000 + i, "abnormal", **known), score) for i, score in enumerate(abnormal)]
    return normal_ones + abnormal_ones


def drawn(count: int, seed: int = 0, apart: float = 0.3) -> tuple[list[float], list[float]]:
    """Overlapping scores of ``count`` recordings of each class."""
    rng = np.random.Generator(np.random.PCG64(seed))
    normal = np.clip(rng.normal(0.35, 0.2, count), 0, 1)
    return normal.tolist(), np.clip(rng.normal(0.35 + apart, 0.2, count), 0, 1).tolist()
