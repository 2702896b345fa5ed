"""Predictor: the verdict of a model on a recording. All scoring uses this module.

**Clips.** :meth:`ml.features.spec.FeatureSpec.clip_spans` cuts the recording; the clips cover all of it.

**Score of a classifier.** ``p(f) / (p(f) + p(h))`` of the most probable fault ``f`` and the most probable normal class
``h``: 0 to 1, higher is more anomalous. With the threshold 0.5 this is the original project's rule, the most probable
class. Unlike that rule, it has a threshold that can be moved.

**Score of a detector.** :attr:`ml.detectors.detector.Novelty.score`, 0 to 1: the distance from normal, for any fault.

**Decision rule.** With a classifier alone, a clip is anomalous if its score is above the threshold. With a detector,
score and threshold are the detector's, and the classifier names the faults that it was trained on:

========================  ===================================  ====================================
score of the detector     score of the classifier              verdict
========================  ===================================  ====================================
at most its threshold     at most its own threshold            normal
above its threshold       at most its own threshold            anomalous, ``unknown_fault``
beyond all known faults   above its own threshold              anomalous, ``unknown_fault``
otherwise                 above its own threshold              anomalous, its most probable fault
========================  ===================================  ====================================

So a recording that is far from every machine is neither normal nor a known fault, for any score of the classifier. And
a known fault is found even if it is not far from normal. A detector without a classifier has only ``unknown_fault``.

**Verdict.** The most anomalous clip decides: the anomalous clip with the highest score or, if no clip is anomalous, the
clip with the highest score.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits
from ml.audio.recording import AudioQuality, Recording
from ml.classifier.litert import LiteRTNetwork
from ml.detectors.detector import Novelty
from ml.detectors.deviations import Deviations
from ml.detectors.quality_checks import comparable_level
from ml.detectors.recorder_checks import UnusableReason, check_recorder
from ml.detectors.spectra import Spectra
from ml.detectors.thresholds import p_value
from ml.errors import BundleDamaged
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models.clips import ClipCutter, ModelClip
from ml.models.labels import UNKNOWN_FAULT, ClassLabel
from ml.models.recorder_search import RecorderSearch, UnusualRecording, spectra_of
from ml.models.served import ServedModel
from ml.models.verdict import ClipResult, Verdict

# A recording for one of these reasons, or an anomalous one, may be explained by hum, a fade or a filter.
EXPLAINED = ("band_limited", "foreign")


class Predictor:
    """Loaded model. Its only state is idle interpreters, so any number of threads may call it.

    Args:
        model: the model, with its current labels and threshold.

    Raises:
        BundleDamaged: network, detector, spec and labels do not fit together.

    Attributes:
        model: the model.
        extractor: feature extractor for the spec of the bundle.
        detector: the detector; None without one.
    """

    def __init__(self, model: ServedModel) -> None:
        content = model.bundle.content
        self.model = model
        self.extractor = FeatureExtractor(content.spec)
        self.detector = content.detector
        if self.detector is not None and self.detector.spec.sample_rate_hz != content.spec.sample_rate_hz:
            raise BundleDamaged(
                f"Bundle {model.version}: the sample rate of the detector is {self.detector.spec.sample_rate_hz} Hz; "
                f"{content.spec.sample_rate_hz} Hz was expected, as in the feature spec."
            )
        self._same_spectrum = self.detector is not None and (
            _spectrum_spec(self.detector.spec) == _spectrum_spec(content.spec)
        )
        # Models of earlier versions keep the offset, and answer as before.
        self._removes_faults = content.spec.offset == "removed"
        self._explains_by_recorder = (self.detector or self.extractor).spec.offset == "removed"
        self._checks_recorder = self.detector is not None or self._removes_faults
        self._cutter = ClipCutter(self.extractor, self.detector, find_gaps=self._checks_recorder)
        self._network = None if content.litert is None else _load_network(content.litert, model)

    @property
    def verdict_labels(self) -> tuple[str, ...]:
        """Names of all labels of verdicts, in the order of the classes."""
        names = tuple(label.name for label in self.model.labels.classes)
        return names if self._network is None or self.detector is None else (*names, UNKNOWN_FAULT.name)

    def decode(self, source: bytes | bytearray | memoryview, limits: AudioLimits = DEFAULT_LIMITS) -> Recording:
        """Decode a recording to the channel that the model uses."""
        return decode(source, channel=self.extractor.spec.used_channels, limits=limits)

    def resolve_machine(self, machine: str | None) -> str | None:
        """Return the detector's name of a machine; None for an unknown machine or without a detector."""
        return None if self.detector is None else self.detector.resolve_machine(machine)

    def predict(self, recording: Recording, machine: str | None = None, *, explain: bool = False) -> Verdict:
        """Judge a recording. The same recording always gets exactly the same verdict.

        Args:
            recording: result of :meth:`decode`.
            machine: name of the machine, ``fan/id_00`` or ``id_00``, which a detector compares the recording with.
            explain: whether to compute the deviations from normal too.
        """
        clips = self._cutter.cut(recording)
        results = tuple(self._judge(clip, machine) for clip in clips)
        worst = max(results, key=lambda result: (result.is_anomalous, result.score))
        worst_clip = clips[results.index(worst)]
        known = self.resolve_machine(machine) is not None
        model, content = self.model, self.model.bundle.content
        unusable = self._check_quality(recording.quality, clips, machine, worst_clip, worst)
        return Verdict(
            unusable=unusable,
            timeline=results,
            worst=worst,
            threshold=model.decision.threshold,
            false_alarm_rate=model.decision.false_alarm_rate,
            rate_holds_for=content.rate_holds_for,
            quality=self._with_reference_state(recording.quality, unusable, worst_clip, machine),
            classes=() if self._network is None else model.labels.classes,
            p_value=self._p_value(worst, known=known),
            machine_known=known,
            explanation=self._deviations(worst_clip, worst, recording.quality) if explain else None,
            fault_rule=content.fault_rule,
            version=model.version,
            labels_revision=model.labels_revision,
            threshold_revision=model.threshold_revision,
            note=model.note,
        )

    def clip_results(self, recording: Recording, machine: str | None = None) -> tuple[ClipResult, ...]:
        """Return the result of each clip of a recording, in time order."""
        return tuple(self._judge(clip, machine) for clip in self._cutter.cut(recording))

    def usable_spectra(self, recording: Recording, machine: str | None = None) -> tuple[Spectra, ...]:
        """Return the spectra of the clips that a detector judges, in time order.

        Empty without a detector, or if the recording cannot be judged. The out-of-domain check is not done.

        Args:
            recording: result of :meth:`decode`.
            machine: name of the machine; None if not known.
        """
        clips = self._cutter.cut(recording)
        spectra = spectra_of(clips)
        if self.detector is None:
            return ()
        reason = self.detector.check_quality(recording.quality, spectra, machine, lost=clips[0].is_lost)
        return () if reason else spectra

    def names_fault(self, recording: Recording) -> bool | None:
        """Return whether the classifier alone finds a recording anomalous; None without a classifier."""
        if self._network is None:
            return None
        limit = (self.model.bundle.content.fault_rule or self.model.decision).threshold
        return any((clip.classifier_score or 0.0) > limit for clip in self.clip_results(recording))

    def probabilities(self, log_mel: NDArray[np.float32]) -> tuple[float, ...]:
        """Return the probabilities of the classes for one clip; empty without a classifier.

        Args:
            log_mel: log-mel bands, ``(frames, n_mels)``, with the floor and level of the spec.
        """
        if self._network is None:
            return ()
        features = self.extractor.pad_or_crop(self.extractor.coefficients(log_mel))
        return tuple(float(p) for p in self._network(features[None, :, :, None]))

    def classifier_score(self, probabilities: tuple[float, ...]) -> float:
        """Return the score of a classifier, 0 to 1: ``p(f) / (p(f) + p(h))``; see the top of this module."""
        labels = self.model.labels
        fault = max(probabilities[i] for i in labels.fault_indices)
        normal = max(probabilities[i] for i in labels.normal_indices)
        # The sum is never 0, because it contains the most probable class.
        return fault / (fault + normal)

    def _judge(self, clip: ModelClip, machine: str | None) -> ClipResult:
        probabilities = () if self._network is None else self.probabilities(self._log_mel(clip))
        classifier_score = self.classifier_score(probabilities) if probabilities else None
        novelty = None
        if self.detector is not None and clip.spectra is not None:
            novelty = self.detector.measure(clip.spectra, machine)
        is_anomalous, label = self._apply_decision_rule(probabilities, classifier_score, novelty)
        return ClipResult(
            start_s=clip.start_s,
            end_s=clip.end_s,
            score=novelty.score if novelty is not None else classifier_score or 0.0,
            is_anomalous=is_anomalous,
            label=label,
            probabilities=probabilities,
            classifier_score=classifier_score,
            novelty=novelty,
        )

    def _log_mel(self, clip: ModelClip) -> NDArray[np.float32]:
        """Return the log-mel bands for the network, from the detector's spectrum if it has the same settings."""
        if clip.spectra is not None and self._same_spectrum and (self._removes_faults or not clip.has_gaps):
            return self.extractor.apply_floor_and_level(clip.spectra.log_mel.copy())
        kept = clip.kept if self._removes_faults else None
        return self.extractor.apply_floor_and_level(self.extractor.log_mel_and_power(clip.samples, kept)[0])

    def _apply_decision_rule(
        self, probabilities: tuple[float, ...], classifier_score: float | None, novelty: Novelty | None
    ) -> tuple[bool, ClassLabel]:
        """Return whether a clip is anomalous, and its label; see the table at the top of this module."""
        labels, decision, rule = self.model.labels, self.model.decision, self.model.bundle.content.fault_rule
        names_fault = classifier_score is not None and classifier_score > (rule or decision).threshold
        if names_fault and rule is not None and novelty is not None and novelty.score > rule.max_named_distance:
            return True, UNKNOWN_FAULT
        if names_fault:
            return True, self._most_probable(labels.fault_indices, probabilities)
        if novelty is not None and novelty.score > decision.threshold:
            return True, UNKNOWN_FAULT if probabilities else labels.classes[labels.fault_indices[0]]
        return False, self._most_probable(labels.normal_indices, probabilities)

    def _most_probable(self, among: tuple[int, ...], probabilities: tuple[float, ...]) -> ClassLabel:
        classes = self.model.labels.classes
        return classes[max(among, key=lambda i: probabilities[i]) if probabilities else among[0]]

    def _check_quality(
        self,
        quality: AudioQuality,
        clips: list[ModelClip],
        machine: str | None,
        worst_clip: ModelClip,
        worst: ClipResult,
    ) -> UnusableReason | None:
        """Return why a recording cannot be judged."""
        if not self._checks_recorder:
            return None
        reason = self._compare_with_normal(quality, clips, machine, worst)
        is_unusual = worst.is_anomalous if reason is None else reason.code in EXPLAINED
        if not is_unusual or not self._explains_by_recorder:
            return reason
        search = RecorderSearch(
            self.extractor.spec, self.detector, self._cutter, self._judge, self.model.decision.threshold
        )
        check = partial(self._compare_with_normal, quality)
        return search.explain(UnusualRecording(clips, worst_clip, machine, reason, check)) or reason

    def _with_reference_state(
        self, quality: AudioQuality, unusable: UnusableReason | None, clip: ModelClip, machine: str | None
    ) -> AudioQuality:
        """Return the quality with what the detector knows about the reference channel, in the clip that decides."""
        if quality.reference != "used":
            return quality
        if self.detector is None or self.detector.pair is None:
            return replace(quality, reference="unused")
        if unusable is not None and unusable.code == "channels_swapped":
            return replace(quality, reference="swapped")
        is_disturbed = clip.spectra is not None and self.detector.is_disturbed(clip.spectra, machine)
        return replace(quality, reference="disturbed") if is_disturbed else quality

    def _compare_with_normal(
        self, quality: AudioQuality, clips: list[ModelClip], machine: str | None, worst: ClipResult
    ) -> UnusableReason | None:
        """Return the first failed check; an anomalous recording, perhaps of a fault, is never out of domain."""
        if self.detector is None:
            return check_recorder(quality, self.extractor.spec, lost=clips[0].is_lost)
        spectra = spectra_of(clips)
        reason = self.detector.check_quality(quality, spectra, machine, lost=clips[0].is_lost)
        if reason is not None or worst.is_anomalous:
            return reason
        return self.detector.check_out_of_domain(spectra, machine)

    def _deviations(self, clip: ModelClip, result: ClipResult, quality: AudioQuality) -> Deviations | None:
        if self.detector is None or result.novelty is None or clip.spectra is None:
            return None
        return self.detector.deviations(clip.spectra, result.novelty, comparable_level(quality, self.detector.spec))

    def _p_value(self, result: ClipResult, *, known: bool) -> float | None:
        if self.detector is None or result.novelty is None:
            return None
        calibration = self.detector.calibration
        return p_value(calibration.named if known else calibration.unnamed, result.novelty.score)


def _load_network(litert: bytes, model: ServedModel) -> LiteRTNetwork:
    network, spec, classes = LiteRTNetwork(litert), model.bundle.content.spec, model.labels.classes
    if network.input_shape != spec.input_shape:
        raise BundleDamaged(
            f"Bundle {model.version}: the network's input is {network.input_shape}; {spec.input_shape} was expected, "
            "as in the feature spec."
        )
    if network.classes != len(classes):
        raise BundleDamaged(
            f"Bundle {model.version}: the network has {network.classes} outputs; {len(classes)} were expected, one for "
            "each label."
        )
    return network


def _spectrum_spec(spec: FeatureSpec) -> FeatureSpec:
    """Return a spec with only the settings of the spectrum, without level, floor, cepstrum and length."""
    return replace(spec, clip_frames=2, n_mfcc=None, dynamic_range_db=None, level="as_recorded", silent_frames=0)
