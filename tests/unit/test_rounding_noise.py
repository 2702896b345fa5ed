"""Rounding to 16 bits: what is quieter than half a step is not known, so it is no fault of the machine."""

from functools import partial

import numpy as np
import pytest

from ml.detectors.passband import passband_above_rounding
from ml.models.predictor import Predictor
from tests.unit.recorders import RATE_HZ, SECONDS, Samples, detector_of_fans, reasons

BANDS = 256


FREQUENCIES_HZ = np.fft.rfftfreq(round(SECONDS * RATE_HZ), 1 / RATE_HZ)


def quiet(samples: Samples) -> Samples:
    """A quiet machine with 40 dB less sound at the end of the spectrum, where rounding is as loud."""
    gain_db = np.interp(FREQUENCIES_HZ, [7000, 7600], [-6, -46])
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gain_db / 20))


def rounded(samples: Samples, amplitude: float = 2.0**-16.3) -> Samples:
    """The same with noise below half a step in the last 400 Hz, as when bits are cut off after a filter."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=len(samples)))
    noise = np.fft.irfft(np.where(FREQUENCIES_HZ > 7600, spectrum, 0))
    return quiet(samples) + noise * (amplitude / noise.std())


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty healthy recordings of this machine."""
    return detector_of_fans(change=quiet)


def test_noise_of_rounding_is_named(predictor: Predictor) -> None:
    """It is not anomalous."""
    assert set(reasons(predictor, rounded, recordings=3)) == {"too_quiet"}


def test_a_faulty_machine_is_found_beside_noise_of_rounding(predictor: Predictor) -> None:
    """It is anomalous in the other bands, too."""
    assert reasons(predictor, rounded, blade_hz=90, recordings=3) == ["anomalous"] * 3


def test_louder_noise_is_no_rounding(predictor: Predictor) -> None:
    """With ten times the amplitude, it is the machine's."""
    assert reasons(predictor, partial(rounded, amplitude=10 * 2.0**-16.3), recordings=3) == ["anomalous"] * 3


@pytest.mark.parametrize(("rms", "high"), [(2.0**-16 * 2, BANDS - 64 // 2), (2.0**-13, BANDS - 4), (0.1, BANDS)])
def test_the_bands_have_half_a_step_at_most(rms: float, high: int) -> None:
    """White noise of a quarter of this power per band: at most an eighth of the bands counts."""
    noise = np.random.default_rng(0).normal(0, rms, 64_000).astype(np.float32)
    assert passband_above_rounding(noise, BANDS).high == pytest.approx(high, abs=1)
