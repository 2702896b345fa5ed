"""Spectra of one clip, the input of all engines. Those of the default engines are without level.

The spectra are computed once for all engines. Frames are about 64 ms long and overlap by half, as those of a classifier
of the kind ``spectrum``: 1024 samples at MIMII's 16 kHz, 15.6 Hz per FFT bin.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import Recording
from ml.features.extractor import POWER_FLOOR, FeatureExtractor

Floats = NDArray[np.float32]
# FFT bins in a band of the fine spectrum: 31 Hz at 16 kHz. One and four bins were no better (decision 14).
BINS_PER_BAND = 2
# Added to a standard deviation over time. Chosen here: a difference between 0.01 and 0.001 dB has no meaning.
LEAST_FLUCTUATION_DB = 0.1
# As ``top_db`` of librosa.power_to_db. Mel bands above the spectrum of a resampled recording contain no sound.
DYNAMIC_RANGE_DB = 80.0
WHOLE_SHARE = 0.8  # chosen here: shorter clips vary more


@dataclass(frozen=True)
class Spectra:
    """Mel and power spectra of one clip.

    Attributes:
        log_mel: float32 ``(frames, bands)``: power in mel bands, in dB relative to a power of 1, as recorded.
        power: float32 ``(1 + n_fft // 2,)``: mean power of each FFT bin, as recorded.
        reference: spectra of the reference channel at the same time; None without one.

    Example:
        >>> quiet = Spectra(np.array([[-20, -40], [-20, -40]], np.float32), np.array([0, 1, 1, 9, 9], np.float32))
        >>> loud = Spectra(quiet.log_mel + 6, quiet.power * 4)
        >>> quiet.mel_spectrum.round(2), loud.mel_spectrum.round(2)
        (array([  2.97, -17.03], dtype=float32), array([  2.97, -17.03], dtype=float32))
        >>> quiet.fine_spectrum.round(2), quiet.fluctuation
        (array([-4.77,  4.77], dtype=float32), array([-20., -20.], dtype=float32))
    """

    log_mel: Floats
    power: Floats
    reference: "Spectra | None" = None

    @cached_property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.log_mel)

    def without_frames(self) -> "Spectra":
        """Return the same spectra with an empty ``log_mel``: 4 kB and not 160 kB for 10 s at 16 kHz.

        All other properties are computed before.

        Example:
            >>> spectra = Spectra(np.array([[-20, -40], [-20, -40]], np.float32), np.array([0, 1, 1, 9, 9], np.float32))
            >>> kept = spectra.without_frames()
            >>> kept.log_mel.shape, kept.frames, kept.mel_spectrum.round(2)
            ((0, 2), 2, array([  2.97, -17.03], dtype=float32))
        """
        reference = None if self.reference is None else self.reference.without_frames()
        kept = replace(self, log_mel=self.log_mel[:0].copy(), reference=reference)
        kept.__dict__.update({name: getattr(self, name) for name in COMPUTED_ONCE})
        return kept

    @property
    def _floored(self) -> Floats:
        """Log-mel spectrum with a floor 80 dB below its maximum, so that a gain changes a band without sound too.

        Not cached: the cache would double the memory that a fit needs for each recording.
        """
        return np.asarray(np.maximum(self.log_mel, self.log_mel.max() - DYNAMIC_RANGE_DB), np.float32)

    @cached_property
    def mel_spectrum(self) -> Floats:
        """Mean log-mel spectrum at constant power, float32 ``(bands,)`` in dB.

        ``mean over frames of max(L, max(L) - 80) - 10 log10(mean over frames and bands of 10^(L / 10))`` for the
        log-mel spectrum ``L``. A gain changes both terms equally and therefore has no effect.
        """
        steady = self._floored.mean(axis=0)
        power = np.power(10.0, self.log_mel / 10).mean()
        return np.asarray(steady - 10 * np.log10(max(float(power), POWER_FLOOR)), np.float32)

    @cached_property
    def fine_spectrum(self) -> Floats:
        """Level of narrow bands minus the mean of these levels: float32 ``(n_fft // 4,)`` in dB.

        ``l = 10 log10(max(P, max(P) * 10^-8))`` with the mean power ``P`` of two neighbouring bins, without bin 0; the
        result is ``l - mean of l``. The mean over time is one of power, so short loud sounds count.
        """
        bands = self.power[1:]
        bands = bands[: len(bands) // BINS_PER_BAND * BINS_PER_BAND].reshape(-1, BINS_PER_BAND).mean(axis=1)
        floor = max(float(bands.max()) * 10 ** (-DYNAMIC_RANGE_DB / 10), POWER_FLOOR)
        log = 10 * np.log10(np.maximum(bands, floor))
        return np.asarray(log - log.mean(), np.float32)

    @cached_property
    def fluctuation(self) -> Floats:
        """Variation of each mel band over time, float32 ``(bands,)``, at least -20 dB.

        ``20 log10(s + 0.1)`` with the standard deviation ``s`` over frames, in dB, of the log-mel spectrum with its
        floor 80 dB below the maximum.
        """
        return np.asarray(20 * np.log10(self._floored.std(axis=0) + LEAST_FLUCTUATION_DB), np.float32)


COMPUTED_ONCE = tuple(name for name, each in vars(Spectra).items() if isinstance(each, cached_property))


def is_lost(extractor: FeatureExtractor, kept: NDArray[np.bool_] | None) -> bool:
    """Return whether too much of a clip is missing: less than 80 % of its frames are without a gap.

    Args:
        extractor: feature extractor of the detector's spec.
        kept: which samples count, ``(samples,)``; None for all.

    Example:
        >>> from ml.features.spec import FeatureSpec
        >>> extractor = FeatureExtractor(FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32))
        >>> kept = np.arange(extractor.spec.clip_samples) < 8000
        >>> is_lost(extractor, kept), is_lost(extractor, None)
        (True, False)
    """
    return kept is not None and float(extractor.whole_frames(kept).mean()) < WHOLE_SHARE


def resample_reference(extractor: FeatureExtractor, recording: Recording) -> Floats | None:
    """Return the reference channel of a recording at the spec's sample rate, ``(samples,)``; None without one.

    Args:
        extractor: feature extractor of the detector's spec.
        recording: the recording.

    Example:
        >>> from ml.audio.decode import decode
        >>> from ml.features.spec import FeatureSpec
        >>> import io, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000, format="WAV")
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, reference_channel=1)
        >>> resample_reference(FeatureExtractor(spec), decode(file.getvalue(), channel=spec.used_channels)).shape
        (16000,)
    """
    if recording.reference is None:
        return None
    return extractor.resample(recording.reference, recording.sample_rate_hz)


def compute_spectra(
    extractor: FeatureExtractor,
    clip: Floats,
    kept: NDArray[np.bool_] | None = None,
    reference: Floats | None = None,
) -> Spectra:
    """Compute the spectra of one clip.

    Args:
        extractor: feature extractor of the detector's spec. Its ``level`` and ``dynamic_range_db`` have no effect.
        clip: float32 ``(samples,)`` at the spec's sample rate.
        kept: which samples count, ``(samples,)``; frames with others are left out. None for all.
        reference: float32 ``(samples,)``: the reference channel at the same time; None without one.

    Example:
        >>> from ml.features.spec import FeatureSpec
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_fft=1024, n_mels=64)
        >>> clip = np.random.default_rng(0).normal(size=spec.clip_samples).astype(np.float32)
        >>> spectra = compute_spectra(FeatureExtractor(spec), clip)
        >>> spectra.log_mel.shape, spectra.power.shape, spectra.mel_spectrum.shape, spectra.fine_spectrum.shape
        ((32, 64), (513,), (64,), (256,))
    """
    other = None if reference is None else Spectra(*extractor.log_mel_and_power(reference, kept))
    return Spectra(*extractor.log_mel_and_power(clip, kept), other)
