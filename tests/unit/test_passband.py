"""Filters of the last or the first bands. They are found in the fine spectrum, by comparison with normal recordings."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.passband import Passband, find_passband, restore_band_levels
from ml.detectors.spectra import Spectra
from ml.errors import BundleDamaged
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from tests.unit.recorders import RATE_HZ, Fault, Samples, detector_of_fans, reasons, verdicts

BANDS = 256
Levels = NDArray[np.float64]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty recordings of a healthy fan."""
    return detector_of_fans()


def low_pass(cutoff_hz: float) -> Fault:
    """Steep, and without delay."""
    filters = signal.butter(6, cutoff_hz, fs=RATE_HZ, output="sos")
    return lambda samples: np.asarray(signal.sosfiltfilt(filters, samples))


def high_pass(cutoff_hz: float) -> Fault:
    """As in the input of a recorder."""
    filters = signal.butter(4, cutoff_hz, "high", fs=RATE_HZ, output="sos")
    return lambda samples: np.asarray(signal.sosfilt(filters, samples))


def resampled_from(rate_hz: int) -> Fault:
    """Recorded at a lower rate, and stored at the usual one."""

    def fault(samples: Samples) -> Samples:
        lower = signal.resample_poly(samples, rate_hz, RATE_HZ)
        return np.asarray(signal.resample_poly(lower, RATE_HZ, rate_hz)[: len(samples)])

    return fault


def both_filters(samples: Samples) -> Samples:
    """Something is missing below and above."""
    return high_pass(100)(low_pass(7500)(samples))


def earlier(predictor: Predictor) -> Predictor:
    """The same model with a detector of an earlier version."""
    content = predictor.model.bundle.content
    assert content.detector is not None
    detector = replace(content.detector, reference=replace(content.detector.reference, band_centres_db=None))
    return Predictor(ServedModel.as_written(Bundle("fan", "", replace(content, detector=detector))))


FILTERS = [*map(low_pass, (7300, 7500, 7700, 7800)), high_pass(100), resampled_from(15_000)]


@pytest.mark.parametrize("fault", FILTERS)
def test_a_filter_is_never_anomalous_without_its_name(predictor: Predictor, fault: Fault) -> None:
    """The last 200 Hz are enough, and a filter below is named, too."""
    assert set(reasons(predictor, fault, recordings=3)) <= {"normal", "band_limited"}


@pytest.mark.parametrize("fault", FILTERS)
def test_a_faulty_machine_with_a_filter_is_found(predictor: Predictor, fault: Fault) -> None:
    """It is anomalous with these bands as in normal recordings, too."""
    assert reasons(predictor, fault, blade_hz=90, recordings=3) == ["anomalous"] * 3


@pytest.mark.parametrize(
    ("fault", "sentence"), [(low_pass(7500), "Above 7"), (high_pass(100), "Below "), (both_filters, "Below ")]
)
def test_the_reason_has_the_side_that_is_missing(predictor: Predictor, fault: Fault, sentence: str) -> None:
    """And the frequency."""
    (verdict,) = verdicts(predictor, fault, recordings=1)
    assert verdict.unusable is not None
    assert verdict.unusable.detail.startswith(sentence)
    assert (" and above 7" in verdict.unusable.detail) == (fault is both_filters)


def levels(change: Callable[[Levels], Levels]) -> Spectra:
    """The fine spectrum of a machine whose normal recordings are flat, with deviations of 1 dB, after a change."""
    level_db = np.random.default_rng(0).normal(0, 1, BANDS) + change(np.arange(BANDS, dtype=float))
    power = np.concatenate([[0], np.repeat(10 ** (level_db / 10), 2)]).astype(np.float32)
    return Spectra(np.zeros((4, 8), np.float32), power)


@pytest.mark.parametrize(
    "change",
    [
        lambda band: 0 * band,
        lambda band: -20 * band / BANDS,  # steadily duller
        lambda band: 20.0 * ((band > 100) & (band < 140)),  # a resonance of the machine
        lambda band: -10.0 * (band >= BANDS - 3),  # the last 100 Hz alone vary more
        lambda band: -10.0 * (band < 30),  # a rumble that is gone
        lambda band: -30.0 * (band == 200),  # a line that is gone
    ],
)
def test_a_fault_of_the_machine_is_no_filter(change: Callable[[Levels], Levels]) -> None:
    """Neither gradual changes, nor louder bands, nor a missing line."""
    assert find_passband([levels(change)], np.zeros(BANDS)) == (0, BANDS)


@pytest.mark.parametrize("missing", [3, 10, 60, 150])
def test_missing_bands_above_are_found(missing: int) -> None:
    """One line above them is no sound. Bands in which a filter begins are left out."""

    def change(band: Levels) -> Levels:
        gone_db = np.full(BANDS, -30.0)
        gone_db[BANDS - 2] = 10.0 if missing > 9 else -30.0
        return np.asarray(gone_db * (band >= BANDS - missing), np.float64)

    low, high = find_passband([levels(change)], np.zeros(BANDS))
    assert low == 0
    assert BANDS - 2 * missing - 16 <= high <= BANDS - missing


@pytest.mark.parametrize("missing", [2, 8, 30])
def test_missing_bands_below_are_found(missing: int) -> None:
    """The filter begins within an octave."""
    low, high = find_passband([levels(lambda band: np.where(band < missing, -30.0, 0.0))], np.zeros(BANDS))
    assert high == BANDS
    assert missing <= low <= 2 * missing


def test_few_bands_have_no_edge() -> None:
    """A model of a very low sample rate has 8 bands."""
    spectra = Spectra(np.zeros((4, 8), np.float32), np.array([1.0] * 9 + [1e-6] * 8, np.float32))
    assert find_passband([spectra], np.zeros(8)) == Passband(0, 8)


def test_a_detector_of_an_earlier_version_has_no_passbands(predictor: Predictor) -> None:
    """Its file has no centres of bands, and none are added; a filter of the last bands is not found."""
    before = earlier(predictor).detector
    assert predictor.detector is not None
    assert before is not None
    again = detector_from_bytes(*detector_to_bytes(before))
    assert again.reference.band_centres_db is None
    spectra = before.compute_spectra(np.random.default_rng(0).normal(size=64_000).astype(np.float32))
    assert again.passbands([spectra]) == ()
    new, fitted = detector_from_bytes(*detector_to_bytes(predictor.detector)).reference, predictor.detector.reference
    assert new.band_centres_db is not None
    assert fitted.band_centres_db is not None
    assert np.array_equal(new.band_centres_db, fitted.band_centres_db)
    assert set(reasons(earlier(predictor), FILTERS[1], recordings=3)) == {"anomalous"}


@pytest.mark.parametrize("shape", [(2, BANDS), (BANDS,), (1, BANDS - 1)])
def test_centres_of_other_machines_or_bands_are_refused(predictor: Predictor, shape: tuple[int, ...]) -> None:
    """A row for each machine is expected, with each fine band."""
    assert predictor.detector is not None
    damaged = replace(predictor.detector.reference, band_centres_db=np.zeros(shape, np.float32))
    with pytest.raises(BundleDamaged):
        detector_from_bytes(*detector_to_bytes(replace(predictor.detector, reference=damaged)))


def test_a_gradual_filter_below_is_left_out_as_a_whole() -> None:
    """Above an octave, too, up to where the levels are as usual. Noise limits the loss to 42 dB."""
    change = levels(lambda band: np.maximum(-42, -10 * np.log10(1 + (30 / np.maximum(band, 0.5)) ** 8)))
    low, high = find_passband([change], np.zeros(BANDS))
    assert high == BANDS
    assert 26 <= low <= 36


def test_restored_bands_leave_the_others_as_they_are() -> None:
    """Also those below the noise of 16 bits, as of a quiet machine without sound near the end of the spectrum."""
    noise = np.random.default_rng(0).normal(0, 1e-3, 64_000)
    quiet = np.fft.rfft(noise)
    quiet[len(quiet) * 3 // 4 :] *= 1e-4
    clip = np.fft.irfft(quiet, len(noise)).astype(np.float32)
    spec = FeatureSpec(sample_rate_hz=RATE_HZ, fmax_hz=RATE_HZ / 2, clip_frames=126, n_fft=1024)
    restored = restore_band_levels(clip, np.where(np.arange(BANDS) < 10, -20.0, 0.0), Passband(10, BANDS), spec)
    powers = [np.square(np.abs(np.fft.rfft(each)))[-15_000 // 2 :].mean() for each in (clip, restored)]
    assert powers[1] == pytest.approx(powers[0], rel=0.05)
