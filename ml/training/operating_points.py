"""What the detector that is served finds at each of the named false-alarm rates.

The figures of a training are those of a detector that left the test side out. The one that is served has learned from
that side too, and has thresholds of its own. But no abnormal recording is ever learned from: what it finds of them can
be counted, and shows whether its threshold leaves anything to be found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.dataset.entries import Entry
from ml.detectors.detector import Detector, Novelty
from ml.detectors.thresholds import SENSITIVITIES, operating_point_at_rate
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates
from ml.evaluation.metrics import Floats, divide_or_nan


def operating_points(detector: Detector, faults: Sequence[tuple[Entry, Novelty]], seed: int) -> dict[str, Any]:
    """The share of abnormal recordings above each threshold, as plain values for the card.

    Args:
        detector: what is served.
        faults: abnormal recordings, and how far their worst windows are from healthy.
        seed: of the bootstrap, which draws sessions, or recordings where there are fewer than three sessions.
    """
    scores = np.array([novelty.score for _, novelty in faults])
    groups = np.unique([entry.session for entry, _ in faults], return_inverse=True)[1]
    at = {name: operating_point_at_rate(detector.calibration, rate).threshold for name, rate in SENSITIVITIES.items()}
    above = np.stack([scores > threshold for threshold in at.values()], axis=1).astype(float)
    plan = BootstrapPlan.of(np.zeros(len(faults), np.int64), groups, seed)

    def share(weights: Floats) -> Floats:
        return divide_or_nan(weights @ above, weights.sum(axis=1)[:, None])

    found = bootstrap_estimates(share, plan, [plan.units(0)] * len(at))
    return {
        "abnormal": len(faults),
        "points": [
            {
                "sensitivity": name,
                "false_alarm_rate": SENSITIVITIES[name],
                "threshold": threshold,
                "detected": [estimate.value, estimate.low, estimate.high],
            }
            for (name, threshold), estimate in zip(at.items(), found, strict=True)
        ],
    }
