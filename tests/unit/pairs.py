"""Two microphones in a made-up hall: recordings of a machine and of the hall, and a detector of two machines."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.detectors.detector import Detector
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra, compute_spectra, resample_reference
from ml.detectors.thresholds import operating_point_at_threshold
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from tests import sounds

RATE_HZ, FRAMES = 8000, 8000
SPEC = FeatureSpec(
    sample_rate_hz=RATE_HZ,
    channel="intact",
    reference_channel=1,
    clip_frames=32,
    n_fft=512,
    hop_length=256,
    n_mels=32,
    fmax_hz=RATE_HZ / 2,
    level="clip_mean",
    padding="reflect",
)
MACHINES: Mapping[str, float] = {"fan/id_00": 180.0, "fan/id_02": 310.0}
Samples = NDArray[np.float64]


def pair(seed: int, blade_hz: float = 180.0, *, bleed: float = 0.03) -> Samples:
    """A second of a machine in a hall, ``(frames, 2)``: the machine's microphone, and that of the hall.

    The colour of the hall's noise differs in each recording, by some dB. Both microphones record it, each with a
    little noise of its own.

    Args:
        seed: of all random numbers.
        blade_hz: blade-pass frequency of the machine.
        bleed: how loud the machine is at the second microphone.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(FRAMES) / RATE_HZ
    machine = 0.02 * sum(np.sin(2 * np.pi * blade_hz * k * time_s) / k for k in range(1, 7))
    hall = coloured(rng)
    own = rng.normal(0, 0.004, (FRAMES, 2))
    return own + np.stack([machine + hall, bleed * machine + 0.9 * np.roll(hall, 5)], axis=1)


def coloured(rng: np.random.Generator, level: float = 0.03) -> Samples:
    """Noise of a random colour: eight octave-like bands, each louder or softer by some dB."""
    spectrum = np.fft.rfft(rng.normal(0, level, FRAMES))
    places = np.linspace(0, 1, len(spectrum)) ** 0.5
    gain_db = np.interp(places, np.linspace(0, 1, 9), rng.normal(0, 3, 9))
    return np.asarray(np.fft.irfft(spectrum * 10 ** (gain_db / 20), FRAMES))


def recorded(samples: Samples) -> bytes:
    """As a WAV file with 16 bits."""
    return sounds.recording(np.clip(samples if samples.ndim == 2 else samples[:, None], -1, 1), "pcm16", RATE_HZ)


def spectra(samples: Samples, spec: FeatureSpec = SPEC) -> Spectra:
    """Spectra of both channels, as a service computes them."""
    recording = decode(recorded(samples), channel=spec.used_channels)
    extractor = FeatureExtractor(spec)
    return compute_spectra(extractor, recording.samples, reference=resample_reference(extractor, recording))


def normal(spec: FeatureSpec = SPEC, machines: Mapping[str, float] = MACHINES, **how: float) -> list[NormalRecording]:
    """Sixteen normal recordings of each machine, of one session."""
    return [
        NormalRecording(
            (spectra(pair(100 * number + seed, blade_hz, **how), spec),), name, "monday", f"{seed}.wav", -30.0
        )
        for number, (name, blade_hz) in enumerate(machines.items())
        for seed in range(16)
    ]


def fit(recordings: list[NormalRecording], spec: FeatureSpec = SPEC) -> Detector:
    """The default engine for several machines, fitted to normal recordings."""
    return fit_detector(spec, [engine_by_name("discriminant")], recordings)


@cache
def detector() -> Detector:
    """A detector that uses its reference channel."""
    return fit(normal())


@cache
def predictor() -> Predictor:
    """A model of this detector alone, whose threshold is a little above all scores of normal recordings."""
    fitted = detector()
    decision = decision_at(operating_point_at_threshold(fitted.calibration, fitted.calibration.named.max() + 0.03))
    golden = GoldenClip(make_golden_clip(SPEC), ())
    content = BundleContent(SPEC, DETECTOR_LABELS, decision, {}, None, golden, fitted)
    return Predictor(ServedModel.as_written(Bundle("pair", "", content)))


def write(folder: Path, machines: Mapping[str, float] = MACHINES, recordings: int = 12) -> Path:
    """Write normal recordings of each machine, and two abnormal ones with another tone."""
    for number, (name, blade_hz) in enumerate(machines.items()):
        for seed in range(recordings):
            put(folder / name / "normal" / f"{seed:02}.wav", pair(100 * number + seed, blade_hz))
        for seed in range(2):
            put(folder / name / "abnormal" / f"{seed:02}.wav", pair(900 + 10 * number + seed, 1.3 * blade_hz))
    return folder


def put(file: Path, samples: Samples) -> None:
    """Write a recording, and its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(recorded(samples))
