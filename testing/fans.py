"""A fan that is listened to: its sound, healthy and faulty, a model of it, and a listener with sources and sinks."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from listener.config.files import source_file
from listener.events.event import Event
from listener.events.store import EventStore
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.detectors.thresholds import operating_point_at_threshold
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import detector_spec
from ml.features.spec import FeatureSpec
from ml.models import bundle
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import golden_answer, make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from testing.listening import ListenerProcess
from testing.sound_feed import RATE_HZ, Samples

CLIP_S = 1
SPEC = FeatureSpec(
    sample_rate_hz=RATE_HZ, channel="intact", clip_frames=30, n_fft=1024, hop_length=512, fmax_hz=RATE_HZ / 2
)
# A drop-out of a virtual microphone, on a computer that other work uses too, is one anomalous clip and no alarm.
RULE = {"alarm_raise": 3, "alarm_of": 4, "alarm_clear": 1}
WITHIN_S = 60.0  # longest wait; not a promise
LINES_HZ, BEARING_HZ = 120.0 * np.arange(1, 7), 2750.0


def healthy(duration_s: float, seed: int = 0) -> NDArray[np.float64]:
    """Six lines of a fan in noise, steady, ``(samples,)``."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    lines = sum(np.sin(2 * np.pi * hz * time_s + seed) / (number + 1) for number, hz in enumerate(LINES_HZ))
    return 0.03 * np.asarray(lines) + np.random.default_rng(seed).normal(0, 0.02, len(time_s))


def faulty(duration_s: float, seed: int = 0) -> NDArray[np.float64]:
    """The same with a tone of a damaged bearing, ``(samples,)``."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * BEARING_HZ * time_s) * (1 + np.sin(2 * np.pi * 17 * time_s))
    return healthy(duration_s, seed) + 0.05 * tone


def as_pcm(samples: NDArray[np.float64]) -> Samples:
    """Samples of 16 bits."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def fan_sounds(duration_s: float = 61.23) -> dict[str, Samples]:
    """Sounds for a feed, which were not learned from, and so long that no second is repeated.

    ``silence`` is digital silence.
    """
    return {
        "healthy": as_pcm(healthy(duration_s, 1000)),
        "faulty": as_pcm(faulty(duration_s, 1001)),
        "silence": np.zeros(RATE_HZ, np.int16),
    }


def make_fan_home(home: Path) -> Path:
    """Make a home whose champion is a detector of forty seconds of the healthy fan."""
    spec = detector_spec(SPEC)
    extractor = FeatureExtractor(spec)
    clips = [as_pcm(healthy(CLIP_S, seed)).astype(np.float32) / 32768 for seed in range(40)]
    normal = [NormalRecording((compute_spectra(extractor, clip),), "fan", "monday", level_dbfs=-30.0) for clip in clips]
    detector = fit_detector(spec, [engine_by_name("spectrum-gaussian")], normal)
    # Above all scores of healthy clips: the tests are about events and not about the rate of false alarms.
    decision = decision_at(operating_point_at_threshold(detector.calibration, detector.calibration.named.max() + 0.05))
    golden = GoldenClip(make_golden_clip(), ())
    content = BundleContent(SPEC, DETECTOR_LABELS, decision, {}, None, golden, detector)
    (novelty,) = golden_answer(Predictor(ServedModel.as_written(Bundle("fan", "", content))), golden.wav).values
    registry = Registry(home)
    with registry.incoming() as folder:
        golden = GoldenClip(make_golden_clip(), (), novelty)
        bundle.write(folder, "fan", BundleContent(SPEC, DETECTOR_LABELS, decision, {}, None, golden, detector), None)
        registry.promote(registry.add(folder))
    return home


def events_of(home: Path) -> list[Event]:
    """Return all events of a home, the oldest first."""
    with EventStore(home) as store:
        return store.page(most=1000).events[::-1]


def add_sources(home: Path, **places: Mapping[str, object]) -> None:
    """Add sources, each of a machine of its name."""
    for name, place in places.items():
        source_file(home).add({"name": name, "machine_id": name, "clip_s": CLIP_S, **place})


def has_judged(listener: ListenerProcess, names: Collection[str], clips: int = 4) -> bool:
    """Return whether all sources have judged so many clips."""
    statuses = listener.client.status().sources
    return {each.name for each in statuses if each.clips_judged >= clips} == set(names)
