"""Detectors that learn from healthy sound alone: engines, their ensemble, and what its scores mean."""

from ml.novelty.detector import Calibration, Detector, Novelty
from ml.novelty.engines import DEFAULT, ENGINES, by_name
from ml.novelty.fitting import fit
from ml.novelty.heard import Heard, hear
from ml.novelty.reference import Departure, Healthy, Nearest, Reasons, Reference
from ml.novelty.usable import Unusable, unusable

__all__ = [
    "DEFAULT",
    "ENGINES",
    "Calibration",
    "Departure",
    "Detector",
    "Healthy",
    "Heard",
    "Nearest",
    "Novelty",
    "Reasons",
    "Reference",
    "Unusable",
    "by_name",
    "fit",
    "hear",
    "unusable",
]
