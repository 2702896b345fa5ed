"""Detectors that learn from healthy sound alone: engines, their ensemble, and what its scores mean."""

from ml.detectors.detector import Calibration, Detector, Novelty
from ml.detectors.engines.registry import DEFAULT, ENGINES, by_name
from ml.detectors.fitting import fit
from ml.detectors.quality_checks import Unusable, unusable
from ml.detectors.reference import Departure, Healthy, Nearest, Reasons, Reference
from ml.detectors.spectra import Heard, hear

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
