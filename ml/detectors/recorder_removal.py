"""Clips without mains hum or a fade, to find out whether the recorder alone makes them anomalous."""

import numpy as np
from numpy.typing import NDArray

from ml.audio.mains_hum import MainsHum, fit_hum
from ml.detectors.detector import Detector


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


def _power(level_db: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(10 ** (level_db / 10), np.float64)
