"""Clips of a recording, as a model judges them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.audio.dropouts import kept_samples
from ml.audio.recording import Recording
from ml.detectors.detector import Detector
from ml.detectors.spectra import Spectra, is_lost, resample_reference
from ml.features.extractor import FeatureExtractor


class ModelClip(NamedTuple):
    """One clip of a recording.

    Attributes:
        start_s, end_s: start and end, in seconds from the recording's start.
        samples: samples at the rate of the model's spec.
        kept: which samples are not missing; None if none is missing, or if the model does not check it.
        spectra: spectra for the detector; None without one.
        is_lost: whether so many are missing that the clip does not count.
        reference: samples of the reference channel; None without one.
    """

    start_s: float
    end_s: float
    samples: NDArray[np.float32]
    kept: NDArray[np.bool_] | None
    spectra: Spectra | None
    is_lost: bool
    reference: NDArray[np.float32] | None = None

    @property
    def has_gaps(self) -> bool:
        """Whether samples are missing in it."""
        return self.kept is not None and not self.kept.all()


class ClipCutter:
    """Cuts recordings into clips, and computes what a detector needs of them.

    Args:
        extractor: feature extractor of the model.
        detector: the model's detector; None without one.
        find_gaps: whether to mark samples in dropouts.
    """

    def __init__(self, extractor: FeatureExtractor, detector: Detector | None, *, find_gaps: bool) -> None:
        self._extractor, self._detector, self._find_gaps = extractor, detector, find_gaps

    def cut(self, recording: Recording) -> list[ModelClip]:
        """Cut a recording into clips. Clips of which too much is missing are left out, unless none would remain."""
        spec, end_s = self._extractor.spec, recording.quality.duration_s
        samples = self._extractor.resample(recording.samples, recording.sample_rate_hz)
        kept = kept_samples(recording, len(samples), spec.sample_rate_hz) if self._find_gaps else None
        reference = resample_reference(self._extractor, recording)
        clips = [
            self._clip(
                start / spec.sample_rate_hz,
                min(stop / spec.sample_rate_hz, end_s),
                samples[start:stop],
                None if kept is None else kept[start:stop],
                None if reference is None else reference[start:stop],
            )
            for start, stop in spec.clip_spans(len(samples))
        ]
        return [clip for clip in clips if not clip.is_lost] or clips

    def replace_samples(
        self, clip: ModelClip, samples: NDArray[np.float32], reference: NDArray[np.float32] | None = None
    ) -> ModelClip:
        """Return a clip of the same time with other samples; without ``reference``, the main channel is judged."""
        return self._clip(clip.start_s, clip.end_s, samples, clip.kept, reference)

    def log_mel(self, clip: ModelClip) -> NDArray[np.float32]:
        """Return the log-mel spectrum of a clip, ``(frames, bands)`` in dB, without frames of missing samples.

        It is the detector's if there is one. The level is as recorded, and there is no floor.
        """
        if clip.spectra is not None:
            return clip.spectra.log_mel
        return self._extractor.log_mel_and_power(clip.samples, clip.kept)[0]

    def _clip(
        self,
        start_s: float,
        end_s: float,
        samples: NDArray[np.float32],
        kept: NDArray[np.bool_] | None,
        reference: NDArray[np.float32] | None,
    ) -> ModelClip:
        detector = self._detector
        extractor = self._extractor if detector is None else detector.extractor
        spectra = None if detector is None else detector.compute_spectra(samples, kept, reference)
        return ModelClip(start_s, end_s, samples, kept, spectra, is_lost(extractor, kept), reference)
