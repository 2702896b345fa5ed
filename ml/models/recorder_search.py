"""Search for a fault of the recorder that explains why a recording is not normal.

An unusual recording is judged again without the hum, the fade, the filter or the coding that it may have. If nothing is
anomalous then, this is the reason, and not the machine. The search takes no time for normal recordings.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.audio.mains_hum import MainsHum, find_hum, fit_hum
from ml.detectors.detector import Detector
from ml.detectors.lossy_coding import CODED_TIMES, fill_holes, hole_share, is_coded
from ml.detectors.passband import Passband, passband_above_rounding
from ml.detectors.quality_checks import band_end_hz, slight_band_limit_reason
from ml.detectors.recorder_checks import (
    FADE_DB,
    SLIGHT_FADE_DB,
    UnusableReason,
    coded_reason,
    common_change_db,
    fade_reason,
    hum_reason,
    rounded_reason,
)
from ml.detectors.recorder_removal import remove_fade, remove_hum, restore_bands, restore_passband
from ml.detectors.resampler_image import find_image
from ml.detectors.spectra import Spectra
from ml.features.spec import FeatureSpec
from ml.models.clips import ClipCutter, ModelClip
from ml.models.labels import UNKNOWN_FAULT
from ml.models.verdict import ClipResult

# With a larger share of hum, too little of the machine is in a recording.
HUM_ALONE = 0.99
Floats = NDArray[np.float32]
Judge = Callable[[ModelClip, str | None], ClipResult]
"""Judges a clip as one of a machine, by its name."""
Check = Callable[[list[ModelClip], str | None, ClipResult], UnusableReason | None]
"""Compares the clips of a recording with normal ones."""


class UnusualRecording(NamedTuple):
    """A recording that is anomalous, or unusable for a reason that a fault of the recorder may explain.

    Attributes:
        clips: its clips, at least one.
        worst_clip: the clip that decides.
        machine: name of its machine; None if not known.
        reason: why it cannot be judged; None if it is anomalous.
        check: compares other clips in its place with normal recordings.
    """

    clips: list[ModelClip]
    worst_clip: ModelClip
    machine: str | None
    reason: UnusableReason | None
    check: Check


class RecorderSearch:
    """Searches for faults of the recorder.

    Args:
        spec: feature spec of the model.
        detector: the model's detector; None without one.
        cutter: cuts clips as the model does.
        judge: judges a clip as the model does.
        threshold: largest score of a normal clip, 0 to 1.
    """

    def __init__(
        self, spec: FeatureSpec, detector: Detector | None, cutter: ClipCutter, judge: Judge, threshold: float
    ) -> None:
        self._spec, self._detector, self._cutter = spec, detector, cutter
        self._judge, self._threshold = judge, threshold

    def explain(self, recording: UnusualRecording) -> UnusableReason | None:
        """Return the fault of the recorder that explains an unusual recording, if there is one."""
        reason = self._explain_by_hum(recording) or self._explain_by_fade(recording)
        # Only for an anomalous recording; one that is unusual in another way has a reason already.
        if reason is not None or self._detector is None or recording.reason is not None:
            return reason
        return (
            self._explain_by_filter(recording, self._detector)
            or self._explain_by_coding(recording, self._detector)
            or self._explain_by_rounding(recording, self._detector)
        )

    def _explain_by_hum(self, recording: UnusualRecording) -> UnusableReason | None:
        hum = find_hum(recording.worst_clip.samples, self._spec.sample_rate_hz)
        if hum is None:
            return None
        without = [self._remove_hum(clip.samples, hum, recording.machine) for clip in recording.clips]
        references = [self._without_hum(clip.reference, hum) for clip in recording.clips]
        is_hum = hum.share > HUM_ALONE or self._is_normal(recording, without, references)
        return hum_reason(hum) if is_hum else None

    def _explain_by_fade(self, recording: UnusualRecording) -> UnusableReason | None:
        change_db = common_change_db(self._cutter.log_mel(recording.worst_clip))
        if change_db <= SLIGHT_FADE_DB:
            return None
        without = (remove_fade(clip.samples, self._cutter.log_mel(clip)) for clip in recording.clips)
        # A fade of the reference channel changes its mean spectrum little.
        references = [clip.reference for clip in recording.clips]
        is_fade = change_db > FADE_DB or self._is_normal(recording, without, references)
        return fade_reason(change_db) if is_fade else None

    def _explain_by_filter(self, recording: UnusualRecording, detector: Detector) -> UnusableReason | None:
        machine, spec = recording.machine, detector.spec
        for passband in self._possible_passbands(recording, detector):
            restored = (restore_passband(clip.samples, passband, detector, machine) for clip in recording.clips)
            if self._is_normal(recording, restored):
                low_hz, high_hz = passband.limits_hz(spec)
                return slight_band_limit_reason(low_hz, high_hz, spec)
        return self._explain_by_missing_bands(recording, detector)

    def _possible_passbands(self, recording: UnusualRecording, detector: Detector) -> Iterator[Passband]:
        """Yield passbands that a filter may have left: by missing bands, then by the image of a resampler."""
        spectra, machine = spectra_of(recording.clips), recording.machine
        yield from detector.passbands(spectra, machine)
        edge_hz = find_image(recording.worst_clip.samples, detector.spec)
        if edge_hz is not None and (passband := detector.passband_below(edge_hz, spectra, machine)) is not None:
            yield passband

    def _explain_by_missing_bands(self, recording: UnusualRecording, detector: Detector) -> UnusableReason | None:
        """Return the reason by the 16 bands of a detector of an earlier version."""
        missing = detector.slightly_missing_bands(spectra_of(recording.clips), recording.machine)
        restored = (restore_bands(clip.samples, missing, detector, recording.machine) for clip in recording.clips)
        if not missing or not self._is_normal(recording, restored):
            return None
        return slight_band_limit_reason(0, band_end_hz(missing, detector.spec), detector.spec)

    def _explain_by_coding(self, recording: UnusualRecording, detector: Detector) -> UnusableReason | None:
        """Return the reason if a recording has holes as of a codec, and is nearly normal without them."""
        usual = detector.reference.hole_share
        if usual is None:
            return None
        share = hole_share(recording.worst_clip.samples, detector.spec)
        if not is_coded(share, usual):
            return None
        filled = [
            self._cutter.replace_samples(clip, fill_holes(clip.samples, detector.spec)) for clip in recording.clips
        ]
        spectra, machine = spectra_of(filled), recording.machine
        for passband in detector.passbands(spectra, machine):
            restored = (restore_passband(clip.samples, passband, detector, machine) for clip in filled)
            if self._is_normal(recording, restored):
                return coded_reason(share)
        if missing := detector.slightly_missing_bands(spectra, machine):
            filled = [
                self._cutter.replace_samples(clip, restore_bands(clip.samples, missing, detector, machine))
                for clip in filled
            ]
        results = [self._judge(clip, machine) for clip in filled]
        return coded_reason(share) if all(map(self._is_nearly_normal, results)) else None

    def _explain_by_rounding(self, recording: UnusualRecording, detector: Detector) -> UnusableReason | None:
        """Return the reason if a recording is normal apart from bands that are as quiet as rounding to 16 bits."""
        if (centres_db := detector.reference.band_centres_db) is None:
            return None
        machine, bands = recording.machine, centres_db.shape[1]
        passbands = [passband_above_rounding(clip.samples, bands) for clip in recording.clips]
        if any(passband.high == bands for passband in passbands):
            return None
        passband = min(passbands, key=lambda each: each.high)
        restored = (restore_passband(clip.samples, passband, detector, machine) for clip in recording.clips)
        high_hz = passband.limits_hz(detector.spec)[1]
        return rounded_reason(high_hz) if self._is_normal(recording, restored) else None

    def _is_normal(
        self,
        recording: UnusualRecording,
        changed: Iterable[Floats],
        references: Iterable[Floats | None] = repeat(None),
    ) -> bool:
        """Return whether a recording is normal with other samples in its clips.

        Args:
            recording: the recording.
            changed: samples of the main channel, for each clip.
            references: those of the reference channel; None to judge the main channel alone. A filter or a codec
                changes both channels, and what it has removed from the reference cannot be restored.
        """
        changes = zip(recording.clips, changed, references, strict=False)
        clips = [self._cutter.replace_samples(*each) for each in changes]
        results = [self._judge(clip, recording.machine) for clip in clips]
        if any(result.is_anomalous for result in results):
            return False
        return recording.reason is None or recording.check(clips, recording.machine, results[0]) is None

    def _is_nearly_normal(self, result: ClipResult) -> bool:
        """Return whether a clip is not farther from normal than 1.5 times the threshold, and has no known fault."""
        known_fault = result.is_anomalous and bool(result.probabilities) and result.label != UNKNOWN_FAULT
        distance = 0.0 if result.novelty is None else result.novelty.relative_distance
        return not known_fault and distance * (1 - self._threshold) <= CODED_TIMES * self._threshold

    def _remove_hum(self, samples: NDArray[np.float32], hum: MainsHum, machine: str | None) -> NDArray[np.float32]:
        """Remove mains hum, except for lines of normal recordings as far as a detector knows them."""
        if self._detector is None:
            return np.asarray(samples - fit_hum(samples, self._spec.sample_rate_hz, hum).sum(axis=0))
        return remove_hum(samples, hum, self._detector, machine)

    def _without_hum(self, samples: Floats | None, hum: MainsHum) -> Floats | None:
        """Remove all of the hum from a reference channel, as far as there is one."""
        if samples is None:
            return None
        return np.asarray(samples - fit_hum(samples, self._spec.sample_rate_hz, hum).sum(axis=0), np.float32)


def spectra_of(clips: Sequence[ModelClip]) -> tuple[Spectra, ...]:
    """Return the spectra of clips; empty without a detector."""
    return tuple(clip.spectra for clip in clips if clip.spectra is not None)
