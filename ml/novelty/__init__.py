"""Detectors that learn from healthy sound alone: engines, their ensemble, and what its scores mean."""

from ml.novelty.detector import Calibration, Detector, Novelty
from ml.novelty.engines import DEFAULT, ENGINES, by_name
from ml.novelty.fitting import Healthy, fit
from ml.novelty.heard import Heard, hear

__all__ = [
    "DEFAULT",
    "ENGINES",
    "Calibration",
    "Detector",
    "Healthy",
    "Heard",
    "Novelty",
    "by_name",
    "fit",
    "hear",
]
