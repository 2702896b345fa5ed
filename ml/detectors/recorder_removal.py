"""Clips without mains hum, a fade or a filter, to find out whether the recorder alone makes them anomalous."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.audio.mains_hum import MainsHum, fit_hum
from ml.detectors.detector import Detector
from ml.detectors.passband import Passband, restore_band_levels
from ml.detectors.quality_checks import band_end_hz
from ml.features.mel import mel_edges

RESTORATIONS = 3  # chosen here


def remove_hum(
    clip: NDArray[np.float32], hum: MainsHum, detector: Detector, machine: str | None = None
) -> NDArray[np.float32]:
    """Remove mains hum from a clip, except for the lines that normal recordings have.

    A machine on the mains has lines of its own at multiples of 100 or 120 Hz. So a line in mel band ``b`` is removed
    down to the level ``c[b] + s`` in dB, with the mean spectrum ``c`` of the machine and the median ``s`` over all
    bands of the clip without hum minus ``c``.

    Args:
        clip: ``(samples,)`` at the detector's sample rate.
        hum: result of :func:`ml.audio.mains_hum.find_hum`.
        detector: the detector.
        machine: name or id of its machine; None if not known.

    Returns:
        ``(samples,)``.

    Example:
        >>> from ml.audio.mains_hum import find_hum
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> from ml.detectors.fitting import fit_detector
        >>> from ml.detectors.reference import NormalRecording
        >>> from ml.detectors.spectra import Spectra
        >>> from ml.features.extractor import FeatureExtractor
        >>> from ml.features.spec import FeatureSpec
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=64, n_mels=64, offset="removed")
        >>> noise = np.random.default_rng(1).normal(size=(7, spec.clip_samples)).astype(np.float32)
        >>> extractor = FeatureExtractor(spec)
        >>> normal = [
        ...     NormalRecording((Spectra(*extractor.log_mel_and_power(clip)),), "fan/id_00", "monday") for clip in noise
        ... ]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], normal)
        >>> hum = (3 * np.sin(2 * np.pi * 50 * np.arange(spec.clip_samples) / 16_000)).astype(np.float32)
        >>> without = remove_hum(noise[0] + hum, find_hum(noise[0] + hum, 16_000), detector)
        >>> round(float(np.std(noise[0] + hum)), 1), round(float(np.std(without)), 1)
        (2.3, 1.0)
    """
    lines = fit_hum(clip, detector.spec.sample_rate_hz, hum)
    rest = detector.compute_spectra(clip - lines.sum(axis=0))
    centre_db = detector.reference.centres[detector.machines.index(detector.measure(rest, machine).machine)]
    rest_db = rest.log_mel.mean(axis=0)
    missing = _power(centre_db + np.median(rest_db - centre_db)) - _power(rest_db)
    # A second is enough for the level of a line.
    start = slice(0, detector.spec.sample_rate_hz)
    powers = _power(np.stack([detector.compute_spectra(line[start]).log_mel.mean(axis=0) for line in lines]))
    number, band = np.arange(len(lines)), powers.argmax(axis=1)
    kept = np.sqrt(np.clip(missing[band] / powers[number, band], 0, 1))
    return np.asarray(clip - (1 - kept).astype(np.float32) @ lines)


def remove_fade(clip: NDArray[np.float32], log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo a steady change of the level in dB.

    Args:
        clip: ``(samples,)``.
        log_mel: its log-mel spectrum, ``(frames, bands)`` in dB. The median slope of the bands is undone.

    Returns:
        ``(samples,)``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> fade_db = np.linspace(0, -12, 16_000)
        >>> clip = rng.normal(0, 0.1, 16_000) * 10 ** (fade_db / 20)
        >>> without = remove_fade(clip, np.repeat(fade_db[::500, None], 8, axis=1))
        >>> round(float(without[:4000].std() / without[-4000:].std()), 1)
        1.0
    """
    time = np.linspace(-0.5, 0.5, len(log_mel))
    change_db = float(np.median(time @ (log_mel - log_mel.mean(axis=0)) / np.square(time).sum()))
    gain_db = -change_db * np.linspace(-0.5, 0.5, len(clip))
    return np.asarray(clip * 10 ** (gain_db / 20), np.float32)


def restore_bands(
    clip: NDArray[np.float32], missing: int, detector: Detector, machine: str | None = None
) -> NDArray[np.float32]:
    """Give the highest bands of a clip the level that they have in normal recordings.

    With the clip's mean log-mel spectrum ``x`` and that of the machine ``c``, the gain of a mel band is ``c - x`` in
    dB, minus the median of this difference over the bands below. The gain is interpolated between the centres of the
    bands.

    Args:
        clip: ``(samples,)`` at the detector's sample rate.
        missing: number of missing bands, of :meth:`~ml.detectors.detector.Detector.slightly_missing_bands`.
        detector: the detector.
        machine: name or id of its machine; None if not known.

    Returns:
        ``(samples,)``. The bands below the missing ones and the one in which a filter begins are as before.

    Example:
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> from ml.detectors.fitting import fit_detector
        >>> from ml.detectors.reference import NormalRecording
        >>> from ml.detectors.spectra import Spectra
        >>> from ml.features.extractor import FeatureExtractor
        >>> from ml.features.spec import FeatureSpec
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=64, n_mels=64, offset="removed")
        >>> noise = np.random.default_rng(1).normal(size=(7, spec.clip_samples)).astype(np.float32)
        >>> extractor = FeatureExtractor(spec)
        >>> normal = [
        ...     NormalRecording((Spectra(*extractor.log_mel_and_power(clip)),), "fan/id_00", "monday") for clip in noise
        ... ]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], normal)
        >>> filtered = np.fft.rfft(noise[0])
        >>> filtered[len(filtered) // 2 :] *= 0.1
        >>> clip = np.fft.irfft(filtered, len(noise[0])).astype(np.float32)
        >>> restored = restore_bands(clip, 8, detector)
        >>> round(float(clip.std() / noise[0].std()), 1), round(float(restored.std() / noise[0].std()), 1)
        (0.7, 1.0)
    """
    spectra, spec = detector.compute_spectra(clip), detector.spec
    centre_db = detector.reference.centres[detector.machines.index(detector.measure(spectra, machine).machine)]
    below_db = centre_db - spectra.log_mel.mean(axis=0)
    centres_hz = mel_edges(spec)[1:-1]
    # One band more: the one in which the filter begins.
    above = centres_hz > band_end_hz(missing + 1, spec)
    gain_db = np.where(above, below_db - np.median(below_db[~above]), 0)
    spectrum, frequencies_hz = scipy.fft.rfft(clip), scipy.fft.rfftfreq(len(clip), 1 / spec.sample_rate_hz)
    gain = 10 ** (np.interp(frequencies_hz, centres_hz, gain_db) / 20)
    return np.asarray(scipy.fft.irfft(spectrum * gain.astype(np.float32), len(clip)), np.float32)


def restore_passband(
    clip: NDArray[np.float32], passband: Passband, detector: Detector, machine: str | None = None
) -> NDArray[np.float32]:
    """Give the bands outside of a passband the level that they have in normal recordings of the machine.

    Args:
        clip: ``(samples,)`` at the detector's sample rate.
        passband: one of :meth:`~ml.detectors.detector.Detector.passbands`.
        detector: the detector.
        machine: name or id of its machine; None if not known.

    Returns:
        ``(samples,)``.

    Example:
        >>> from ml.detectors.engines.registry import engine_by_name
        >>> from ml.detectors.fitting import fit_detector
        >>> from ml.detectors.reference import NormalRecording
        >>> from ml.detectors.spectra import Spectra
        >>> from ml.features.extractor import FeatureExtractor
        >>> from ml.features.spec import FeatureSpec
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=64, n_mels=64, offset="removed")
        >>> noise = np.random.default_rng(1).normal(size=(7, spec.clip_samples)).astype(np.float32)
        >>> extractor = FeatureExtractor(spec)
        >>> normal = [
        ...     NormalRecording((Spectra(*extractor.log_mel_and_power(clip)),), "fan/id_00", "monday") for clip in noise
        ... ]
        >>> detector = fit_detector(spec, [engine_by_name("distance")], normal)
        >>> filtered = np.fft.rfft(noise[0])
        >>> filtered[int(0.9 * len(filtered)) :] *= 0.01
        >>> clip = np.fft.irfft(filtered, len(noise[0])).astype(np.float32)
        >>> (passband,) = detector.passbands([detector.compute_spectra(clip)])
        >>> passband.low, 6500 < passband.limits_hz(spec)[1] < 7500
        (0, True)
        >>> restored = restore_passband(clip, passband, detector)
        >>> detector.passbands([detector.compute_spectra(restored)])
        ()
    """
    # Repeated, because what is measured far below the other bands is partly leakage from them.
    for _ in range(RESTORATIONS):
        difference_db = detector.band_differences(detector.compute_spectra(clip), machine)
        clip = restore_band_levels(clip, difference_db, passband, detector.spec)
    return clip


def _power(level_db: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(10 ** (level_db / 10), np.float64)
