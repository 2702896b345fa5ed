"""Image of a resampler: it is found by its own variation, so also where normal recordings are quiet."""

import numpy as np
import pytest
from scipy import signal

from ml.detectors.resampler_image import find_image
from ml.models.predictor import Predictor
from tests.unit.recorders import RATE_HZ, SPEC, Fault, Samples, detector_of_fans, fan, reasons


def falling(samples: Samples) -> Samples:
    """A machine with 20 dB less sound at the end of the spectrum, so that an image is as loud as its own sound."""
    frequencies_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    gain_db = np.interp(frequencies_hz, [6500, 8000], [0, -20])
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gain_db / 20), len(samples))


def resampled(rate_hz: int) -> Fault:
    """Recorded at a lower rate by the machine of :func:`falling`, and stored at the usual one."""

    def fault(samples: Samples) -> Samples:
        lower = signal.resample_poly(falling(samples), rate_hz, RATE_HZ)
        return np.asarray(signal.resample_poly(lower, RATE_HZ, rate_hz)[: len(samples)])

    return fault


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty healthy recordings of this machine."""
    return detector_of_fans(change=falling)


RATES_HZ = (14_000, 14_500, 15_000)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_resampled_recording_is_named(predictor: Predictor, rate_hz: int) -> None:
    """It is not anomalous, although its highest bands are not below normal ones."""
    assert set(reasons(predictor, resampled(rate_hz), recordings=3)) <= {"normal", "band_limited"}


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_faulty_machine_is_found_in_a_resampled_recording(predictor: Predictor, rate_hz: int) -> None:
    """It is anomalous below the image, too."""
    assert reasons(predictor, resampled(rate_hz), blade_hz=90, recordings=3) == ["anomalous"] * 3


@pytest.mark.parametrize("rate_hz", [11_025, 12_000, 14_000, 15_000])
def test_the_image_begins_at_half_of_the_lower_rate(rate_hz: int) -> None:
    """Within one FFT bin."""
    edge_hz = find_image(resampled(rate_hz)(fan(1)).astype(np.float32), SPEC)
    assert edge_hz == pytest.approx(rate_hz / 2, abs=RATE_HZ / SPEC.n_fft)


def varying(samples: Samples) -> Samples:
    """All bands vary at once, three times a second."""
    return samples * (1 + 0.9 * np.sin(2 * np.pi * 3 * np.arange(len(samples)) / RATE_HZ))


@pytest.mark.parametrize("change", [falling, varying, lambda samples: samples[:100], lambda samples: 0 * samples])
def test_a_clean_recording_has_no_image(change: Fault) -> None:
    """Neither of a machine that varies, nor one that is shorter than a frame or silent."""
    assert find_image(change(fan(1)).astype(np.float32), SPEC) is None
