"""Mains hum and a sound that fades: named, unless the machine is anomalous without them."""

import numpy as np
import pytest

from ml.audio.mains_hum import find_hum, fit_hum
from ml.detectors.recorder_checks import common_change_db
from ml.features.extractor import FeatureExtractor
from ml.models.predictor import Predictor
from tests.unit.recorders import (
    RATE_HZ,
    SECONDS,
    SPEC,
    Fault,
    Samples,
    detector_of_fans,
    fan,
    reasons,
    recorded,
    verdicts,
)

T = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty recordings of a healthy fan."""
    return detector_of_fans()


def hum(level: float, mains_hz: float = 50.0, multiples: int = 3) -> Fault:
    """Mains hum; its lines get weaker with frequency."""
    lines = sum(np.sin(2 * np.pi * mains_hz * k * T) / k for k in range(1, multiples + 1))
    return lambda samples: samples + level * lines


def fade(decibels: float) -> Fault:
    """A level that falls steadily, or rises."""
    return lambda samples: samples * 10 ** (-decibels * np.linspace(0, 1, len(samples)) / 20)


def noise(level: float, seed: int = 0) -> Samples:
    """White noise."""
    return np.random.default_rng(seed).normal(0, level, len(T))


@pytest.mark.parametrize("level", [0.0003, 0.001, 0.003, 0.01, 0.1])
@pytest.mark.parametrize(("mains_hz", "multiples"), [(50.02, 1), (49.95, 20), (60.0, 3)])
def test_hum_is_never_anomalous_without_its_name(
    predictor: Predictor, level: float, mains_hz: float, multiples: int
) -> None:
    """At any strength a healthy recording is normal, or it is named. The fan has lines at multiples of 120 Hz."""
    found = set(reasons(predictor, hum(level, mains_hz, multiples), recordings=3))
    assert found <= {"normal", "mains_hum"}
    assert level < 0.1 or found == {"mains_hum"}


def test_a_faulty_machine_with_hum_is_found(predictor: Predictor) -> None:
    """It is anomalous without the hum, too."""
    for level in (0.0003, 0.003, 0.01):
        assert reasons(predictor, hum(level), blade_hz=90) == ["anomalous"] * 6


def test_the_message_has_frequency_and_share(predictor: Predictor) -> None:
    """A person looks for the cable, or for the tone in the machine."""
    verdict = verdicts(predictor, hum(0.05))[0]
    assert verdict.message.startswith("Not judged: Mains hum of 50 Hz and its multiples has 9")


def test_hum_alone_is_named(predictor: Predictor) -> None:
    """The machine is off: nothing but hum and a little noise, which is not normal either."""
    verdict = predictor.predict(predictor.decode(recorded(hum(0.1)(noise(0.002)))))
    assert verdict.unusable is not None
    assert verdict.unusable.code == "mains_hum"


@pytest.mark.parametrize("tone_hz", [48.8, 53.0, 57.0, 75.0, 97.0])
def test_a_tone_beside_the_mains_is_a_fault(predictor: Predictor, tone_hz: float) -> None:
    """An imbalance of a motor with slip turns slower than the mains."""
    assert reasons(predictor, hum(0.03, tone_hz, 1)) == ["anomalous"] * 6


def test_twice_the_mains_alone_is_a_fault() -> None:
    """Windings of a motor have a tone at 100 Hz. A cable has 50 Hz, too."""
    tone = 0.02 * np.sin(2 * np.pi * 100 * T)
    assert find_hum((noise(0.02) + tone).astype(np.float32), RATE_HZ) is None
    assert find_hum((noise(0.02) + tone + tone / 2 + hum(0.01)(noise(0))).astype(np.float32), RATE_HZ) is not None


def test_a_louder_line_of_the_machine_is_kept() -> None:
    """A whistle at a multiple of 50 Hz does not belong to weak hum."""
    rest = noise(0.005) + 0.1 * np.sin(2 * np.pi * 1500 * T)
    samples = hum(0.01, multiples=1)(rest).astype(np.float32)
    found = find_hum(samples, RATE_HZ)
    assert found is not None
    without = samples - fit_hum(samples, RATE_HZ, found).sum(axis=0)
    assert 10 * np.log10(np.mean(without**2) / np.mean(rest**2)) == pytest.approx(0, abs=1)


def test_removal_keeps_the_rest() -> None:
    """Noise and a tone 3 Hz beside a line have the same power as before, within half a decibel."""
    rest = noise(0.01) + 0.02 * np.sin(2 * np.pi * 53 * T)
    samples = hum(0.1, 50.013, 20)(rest).astype(np.float32)
    found = find_hum(samples, RATE_HZ)
    assert found is not None
    without = samples - fit_hum(samples, RATE_HZ, found).sum(axis=0)
    assert 10 * np.log10(np.mean(without**2) / np.mean(rest**2)) == pytest.approx(0, abs=0.5)


def test_noise_and_short_clips_have_no_hum() -> None:
    """A second is needed to distinguish a line."""
    assert [find_hum(noise(0.1, seed).astype(np.float32), RATE_HZ) for seed in range(20)] == [None] * 20
    assert find_hum(hum(0.1)(noise(0.001)).astype(np.float32)[: RATE_HZ - 1], RATE_HZ) is None


@pytest.mark.parametrize("decibels", [3, 6, 12, 20, 40, -12, -20, -40])
def test_a_fade_is_never_anomalous_without_its_name(predictor: Predictor, decibels: float) -> None:
    """At any strength a healthy recording is normal, or it is named."""
    found = set(reasons(predictor, fade(decibels)))
    assert "anomalous" not in found
    assert abs(decibels) < 12 or found == {"fades"}


def test_a_faulty_machine_with_a_slight_fade_is_found(predictor: Predictor) -> None:
    """Less than 6 dB from the first to the last quarter."""
    assert reasons(predictor, fade(5), blade_hz=90) == ["anomalous"] * 6


def test_a_change_of_some_bands_is_no_fade() -> None:
    """Below 1 kHz the level falls by 20 dB: a recorder changes all bands."""
    samples = fan(0)
    spectrum = np.fft.rfft(samples)
    spectrum[: round(1000 * SECONDS)] = 0
    high = np.fft.irfft(spectrum)
    low = fade(20)(samples - high)
    extractor = FeatureExtractor(SPEC)
    assert common_change_db(extractor.log_mel((low + high).astype(np.float32))) < 3
    assert common_change_db(extractor.log_mel(fade(20)(samples).astype(np.float32))) == pytest.approx(14, abs=2)


def test_a_single_frame_has_no_change() -> None:
    """There is no second quarter to compare it with; two frames have one."""
    assert common_change_db(np.zeros((1, 8), np.float32)) == 0
    assert common_change_db(np.repeat(np.float32([[0], [5]]), 8, axis=1)) == 5
