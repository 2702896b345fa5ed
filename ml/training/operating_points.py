"""Detection rate of the served detector at each sensitivity.

The figures of a training belong to a detector that has not learned from the test side. The served detector learned from
that side too, and its thresholds differ. But no detector learns from abnormal recordings. So the share that the served
detector finds can be counted. It shows whether faults score above the threshold at all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.detectors.detector import Detector
from ml.detectors.thresholds import SENSITIVITIES, operating_point_at_rate
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.metrics import Floats, divide_or_nan
from ml.training.detector_stage import MeasuredRecording


def operating_points(detector: Detector, faults: Sequence[MeasuredRecording], seed: int) -> dict[str, Any]:
    """Return the share of abnormal recordings above each threshold, as plain values for the card.

    Args:
        detector: the served detector.
        faults: abnormal recordings, each with the result of the clip that is farthest from normal.
        seed: seed of the bootstrap. It draws sessions, or recordings if there are fewer than three sessions.
    """
    scores = np.array([novelty.score for _, novelty in faults])
    sessions = np.unique([entry.session for entry, _ in faults], return_inverse=True)[1]
    thresholds = {
        name: operating_point_at_rate(detector.calibration, rate).threshold for name, rate in SENSITIVITIES.items()
    }
    above = np.stack([scores > threshold for threshold in thresholds.values()], axis=1).astype(float)
    plan = BootstrapPlan.of(np.zeros(len(faults), np.int64), sessions, seed)

    def share(weights: Floats) -> Floats:
        return divide_or_nan(weights @ above, weights.sum(axis=1)[:, None])

    detected = bootstrap_estimates(share, plan, [plan.units(0)] * len(thresholds))
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
