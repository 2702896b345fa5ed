"""A fan, recorded with and without faults of the recorder, and a detector of it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.detectors.engines.registry import DEFAULT_ENGINES, engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.detectors.thresholds import operating_point_at_threshold
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import detector_spec
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.models.verdict import Verdict
from tests import sounds

RATE_HZ, SECONDS = 16_000, 4.0
SPEC = FeatureSpec(
    sample_rate_hz=RATE_HZ, channel="intact", clip_frames=126, n_fft=1024, hop_length=512, fmax_hz=RATE_HZ / 2
)
Samples = NDArray[np.float64]
Fault = Callable[[Samples], Samples]


def fan(seed: int, blade_hz: float = 120.0) -> Samples:
    """A fan, quiet enough for an offset, with noise up to half of the sample rate."""
    noise = np.random.default_rng(seed).normal(0, 0.004, round(SECONDS * RATE_HZ))
    return 0.05 * np.asarray(sounds.fan(SECONDS, seed=seed, blade_hz=blade_hz)[:, 0], np.float64) + noise


def recorded(samples: Samples, rate_hz: int = RATE_HZ) -> bytes:
    """As a WAV file with 16 bits, of one channel or as many as there are columns."""
    columns = samples[:, None] if samples.ndim == 1 else samples
    return sounds.recording(np.clip(columns, -1, 1), "pcm16", rate_hz)


def unchanged(samples: Samples) -> Samples:
    """No fault."""
    return samples


def detector_of_fans(blade_hz: float = 120.0, change: Fault = unchanged) -> Predictor:
    """A default detector of forty recordings of a healthy fan, each with this change."""
    spec = detector_spec(SPEC)
    extractor = FeatureExtractor(spec)
    clips = [compute_spectra(extractor, decode(recorded(change(fan(seed, blade_hz)))).samples) for seed in range(40)]
    normal = [NormalRecording((clip,), "fan", "monday", level_dbfs=-30.0) for clip in clips]
    detector = fit_detector(spec, [engine_by_name(name) for name in DEFAULT_ENGINES], normal)
    # A little above all scores of healthy recordings: the tests are about the recorder and not about the rate.
    decision = decision_at(operating_point_at_threshold(detector.calibration, detector.calibration.named.max() + 0.03))
    content = BundleContent(SPEC, DETECTOR_LABELS, decision, {}, None, GoldenClip(make_golden_clip(), ()), detector)
    return Predictor(ServedModel.as_written(Bundle("fan", "", content)))


def verdicts(
    predictor: Predictor, fault: Fault, blade_hz: float = 120.0, rate_hz: int = RATE_HZ, recordings: int = 6
) -> list[Verdict]:
    """Verdicts on new recordings with a fault of the recorder."""
    files = [recorded(fault(fan(1000 + seed, blade_hz)), rate_hz) for seed in range(recordings)]
    return [predictor.predict(predictor.decode(file)) for file in files]


def reasons(predictor: Predictor, fault: Fault, blade_hz: float = 120.0, recordings: int = 6) -> list[str]:
    """The verdicts; of unusable recordings the reason."""
    found = verdicts(predictor, fault, blade_hz, recordings=recordings)
    return [verdict.value if verdict.unusable is None else verdict.unusable.code for verdict in found]
