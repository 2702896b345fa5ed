"""A detector fitted to normal recordings, and scores of normal recordings to set its threshold."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models import bundle
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, GoldenClip
from ml.models.golden import golden_answer, make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from tests import sounds

RATE_HZ = 16_000
SPEC = FeatureSpec(
    sample_rate_hz=RATE_HZ,
    clip_frames=60,
    n_fft=1024,
    hop_length=512,
    n_mels=64,
    fmax_hz=RATE_HZ / 2,
    padding="none",
    dynamic_range_db=None,
)
DECISION = DecisionThreshold(0.5, 0.4, "chosen by a test")


def calibration(n: int = 199, sessions: int = 5, highest: float = 0.9) -> Calibration:
    """Scores of ``n`` normal recordings, evenly from 0 to ``highest``, of so many sessions in turn."""
    scores = np.linspace(0, highest, n)
    return Calibration(scores, scores, np.arange(n) % sessions)


@cache
def detector() -> Detector:
    """A detector fitted to six recordings of a fan, with made-up calibration scores."""
    extractor = FeatureExtractor(SPEC)
    recordings = [sounds.fan(3.0, seed=seed)[:, 0].astype(np.float32) for seed in range(6)]
    # All clips of each recording: the fan's sound varies in time, and an unknown part would be out of domain.
    clips_of_each = [[each[start:stop] for start, stop in SPEC.clip_spans(len(each))] for each in recordings]
    normal = [
        NormalRecording(tuple(compute_spectra(extractor, clip) for clip in clips), "fan/id_00", "one")
        for clips in clips_of_each
    ]
    return replace(fit_detector(SPEC, [engine_by_name("spectrum-gaussian")], normal), calibration=calibration())


def add(
    registry: Registry,
    name: str = "hall-3",
    decision: DecisionThreshold = DECISION,
    fitted: Detector | None = None,
    card: dict[str, Any] | None = None,
) -> str:
    """Add a model that has only a detector, by default this one; returns its version."""
    golden = GoldenClip(make_golden_clip(), ())
    content = BundleContent(SPEC, DETECTOR_LABELS, decision, card or {}, None, golden, fitted or detector())
    predictor = Predictor(ServedModel.as_written(Bundle("candidate", "", content)))
    (novelty,) = golden_answer(predictor, content.golden_clip.wav).values
    with registry.incoming() as folder:
        bundle.write(folder, name, replace(content, golden_clip=GoldenClip(make_golden_clip(), (), novelty)), None)
        return registry.add(folder)
