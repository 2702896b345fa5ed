"""Detection rate of the served detector at each sensitivity.

The figures of a training belong to a detector that has not learned from the test side. The served detector learned from
that side too, and its thresholds differ. But no detector learns from abnormal recordings. So the share that the served
detector finds can be counted. It shows whether faults score above the threshold at all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.detectors.detector import Detector
from ml.detectors.thresholds import SENSITIVITIES, operating_point_at_rate
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.metrics import Floats, divide_or_nan
from ml.evaluation.results import Estimate
from ml.training.detector_stage import MeasuredRecording


def operating_points(detector: Detector, faults: Sequence[MeasuredRecording], seed: int) -> dict[str, Any]:
    """Return the share of abnormal recordings above each threshold, as plain values for the card.

    Args:
        detector: the served detector.
        faults: abnormal recordings, each with the result of the clip that is farthest from normal.
        seed: seed of the bootstrap. It draws sessions, or recordings if there are fewer than three sessions.
    """
    thresholds = {
        name: operating_point_at_rate(detector.calibration, rate).threshold for name, rate in SENSITIVITIES.items()
    }
    detected = detected_shares(faults, list(thresholds.values()), seed)
    return {
        "abnormal": len(faults),
        "points": [
            {
                "sensitivity": name,
                "false_alarm_rate": SENSITIVITIES[name],
                "threshold": threshold,
                "detected": [estimate.value, estimate.low, estimate.high],
            }
            for (name, threshold), estimate in zip(thresholds.items(), detected, strict=True)
        ],
    }


def detected_shares(
    faults: Sequence[MeasuredRecording], thresholds: Sequence[float], seed: int
) -> tuple[Estimate, ...]:
    """Return the share of abnormal recordings above each threshold, with its interval; see :func:`operating_points`."""
    scores = np.array([novelty.score for _, novelty in faults])
    above = np.stack([scores > threshold for threshold in thresholds], axis=1)
    return estimate_shares(above, np.array([entry.session for entry, _ in faults]), seed)


def estimate_shares(flags: NDArray[np.bool_], sessions: NDArray[Any], seed: int) -> tuple[Estimate, ...]:
    """Estimate the share of recordings with each flag, with 95 % intervals from draws of sessions.

    Args:
        flags: bool ``(recordings, flags)``.
        sessions: ``(recordings,)``: name or number of the session of each recording. With
            fewer than three sessions, recordings are drawn.
        seed: seed of the bootstrap.
    """
    numbers = np.unique(sessions, return_inverse=True)[1]
    plan = BootstrapPlan.of(np.zeros(len(flags), np.int64), numbers, seed)

    def shares(weights: Floats) -> Floats:
        return divide_or_nan(weights @ flags.astype(float), weights.sum(axis=1)[:, None])

    return bootstrap_estimates(shares, plan, [plan.units(0)] * flags.shape[1])
