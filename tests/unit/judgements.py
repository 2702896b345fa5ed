"""Judged recordings for tests, without a model: scores are given, everything else follows."""

from collections.abc import Sequence

import numpy as np

from ml.dataset.entries import Entry
from ml.evaluation.judged import JudgedRecording

CLASSES = ("normal", "imbalance", "clogging")


def entry(number: int, label: str = "normal", **known: object) -> Entry:
    """One recording, of a group of its own unless ``known`` says otherwise."""
    facts: dict[str, object] = {
        "path": f"{label}/{number:08d}.wav",
        "label": label,
        "machine": None,
        "machine_id": None,
        "snr_db": None,
        "fault": None,
        "group": f"{label} {number}",
        "audio_hash": f"{number:032x}",
        "duration_s": 10.0,
        "sample_rate_hz": 16_000,
        "channels": 1,
        "bits": 16,
        "codec": "pcm",
        "level_dbfs": -30.0,
        "peak_dbfs": -10.0,
        "clipped_share": 0.0,
        "bytes": 320_044,
    }
    return Entry.from_dict(facts | known)


def verdict(recording: Entry, score: float, threshold: float = 0.5, predicted: str | None = None) -> JudgedRecording:
    """What a model with :data:`CLASSES` would say at that score."""
    anomaly = score > threshold
    truth = "normal" if recording.label == "normal" else recording.annotation.fault
    heard = predicted or ("imbalance" if anomaly else "normal")
    return JudgedRecording(recording, score, anomaly, (1 - score, score, 0.0), heard, truth)


def judgements(normal: Sequence[float], abnormal: Sequence[float], **known: object) -> list[JudgedRecording]:
    """Recordings with these scores; the abnormal ones are out of balance."""
    healthy = [verdict(entry(i, **known), score) for i, score in enumerate(normal)]
    known = {"fault": "imbalance"} | known
    faulty = [verdict(entry(10_000 + i, "abnormal", **known), score) for i, score in enumerate(abnormal)]
    return healthy + faulty


def drawn(count: int, seed: int = 0, apart: float = 0.3) -> tuple[list[float], list[float]]:
    """Scores of ``count`` recordings of each class, which overlap."""
    rng = np.random.Generator(np.random.PCG64(seed))
    normal = np.clip(rng.normal(0.35, 0.2, count), 0, 1)
    return normal.tolist(), np.clip(rng.normal(0.35 + apart, 0.2, count), 0, 1).tolist()
