"""Facts of an event that come from its clips, as JSON can hold them."""

from dataclasses import asdict
from typing import Any

from listener.judged_clip import JudgedClip
from ml.detectors.deviations import Deviations

MAX_REASONS = 3
REASON_DIGITS = 4
JUDGED_FIELDS = (
    *("state", "ended", "updated", "clips", "anomalous", "score", "threshold", "label", "reasons", "version"),
    *("labels_revision", "threshold_revision", "quality", "cause"),
)
"""Fields that change with judged clips. Clips, persons and deliveries change the others."""


def facts_of(clip: JudgedClip) -> dict[str, Any]:
    """Return the fields of an event of which a clip is the most anomalous one."""
    verdict = clip.verdict
    return {
        "score": verdict.worst.score,
        "threshold": verdict.threshold,
        "label": verdict.worst.label.name,
        "version": verdict.version,
        "labels_revision": verdict.labels_revision,
        "threshold_revision": verdict.threshold_revision,
        "reasons": _reasons(verdict.explanation),
        "quality": asdict(verdict.quality),
    }


def _reasons(explanation: Deviations | None) -> tuple[dict[str, Any], ...]:
    """Return the bands that deviate most, with numbers that JSON can hold."""
    bands = () if explanation is None else explanation.band_deviations[:MAX_REASONS]
    return tuple({name: _round(value) for name, value in asdict(band).items()} for band in bands)


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), REASON_DIGITS)
