"""Bundle and recording in, verdict out: the one way that anything here is ever scored.

**Windows.** As :meth:`ml.features.FeatureSpec.windows` cuts them: every moment is heard.

**Score of a classifier.** Of the most probable fault ``f`` and the most probable healthy class ``h``:
``p(f) / (p(f) + p(h))``, 0 to 1, higher is more anomalous. At the threshold of 0.5 this is the original's rule, the
most probable class; unlike that rule it has a threshold that can be moved.

**Score of a detector.** :attr:`ml.detectors.Novelty.score`, 0 to 1: how far from healthy, whatever the fault.

**Two minds.** With a classifier alone, a window is anomalous above the threshold on its score. With a detector, the
score and the threshold are the detector's, and a classifier beside it names what it knows:

========================  ===================================  ====================================
the detector's score      the classifier's score               verdict
========================  ===================================  ====================================
at most its threshold     at most its own threshold            normal
above                     at most its own threshold            anomalous, ``unknown_fault``
beyond all known faults   above its own threshold              anomalous, ``unknown_fault``
otherwise                 above its own threshold              anomalous, its most probable fault
========================  ===================================  ====================================

So a sound that is like no machine is no healthy one, however sure the classifier is, nor is it given the name of a
fault; and a fault that was learned is found even where it is not far from healthy. A detector without a classifier
knows ``unknown_fault`` alone.

**Verdict.** The most anomalous window speaks for the recording: the anomalous one of the highest score, or else the
one of the highest score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.audio.limits import DEFAULT_LIMITS, AudioLimits
from ml.audio.recording import Quality, Recording
from ml.classifier.litert import Network
from ml.detectors.detector import Novelty
from ml.detectors.quality_checks import Unusable
from ml.detectors.reference import Reasons
from ml.detectors.spectra import Heard
from ml.detectors.thresholds import p_value
from ml.errors import AudioError, BundleDamaged, GoldenClipFailed
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models.bundle import GOLDEN_TOLERANCE, Bundle, Decision, Naming
from ml.models.labels import UNKNOWN_FAULT, ClassLabel, Labels

VerdictWord = Literal["normal", "anomalous", "unusable"]
NOT_JUDGED = "Not judged: "


@dataclass(frozen=True, slots=True)
class Window:
    """One clip's worth of the recording.

    Attributes:
        start_s, end_s: in seconds from the recording's start.
        score: 0 to 1, higher is more anomalous: the detector's where there is one, else the classifier's.
        anomaly, label: what it was taken for.
        probabilities: in the order of the classes; none without a classifier.
        fault_score: the classifier's own score; None without a classifier.
        novelty: what the detector measured; None without one.
    """

    start_s: float
    end_s: float
    score: float
    anomaly: bool
    label: ClassLabel
    probabilities: tuple[float, ...]
    fault_score: float | None = None
    novelty: Novelty | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was heard.

    Attributes:
        unusable: why the recording cannot be judged; None where it can. Only a detector says so: it knows what healthy
            recordings are like.
        timeline: every window, in time order.
        worst: the most anomalous of them, which speaks for the recording.
        threshold: the score above which a window is anomalous.
        false_alarm_rate: share of healthy recordings above that threshold; None where nobody has measured it.
        quality: of the recording.
        classes: what the probabilities belong to; none without a classifier.
        p_value: how often a healthy recording is as far from healthy as the worst window; None without a detector.
        machine_known: whether the detector has learned the machine that was named.
        reasons: why the worst window was judged so; None without a detector, or where nobody asked.
        naming: beside a detector, what it takes to name a known fault; else None.
        version: the model that answered, ``labels_revision`` of its labels and ``decision_revision`` of its threshold.
    """

    unusable: Unusable | None
    timeline: tuple[Window, ...]
    worst: Window
    threshold: float
    false_alarm_rate: float | None
    quality: Quality
    classes: tuple[ClassLabel, ...]
    p_value: float | None
    machine_known: bool
    reasons: Reasons | None
    naming: Naming | None
    version: str
    labels_revision: int
    decision_revision: int

    @property
    def word(self) -> VerdictWord:
        """The verdict in a word."""
        if self.unusable is not None:
            return "unusable"
        return "anomalous" if self.worst.anomaly else "normal"

    @property
    def message(self) -> str:
        """What to tell a person."""
        return self.worst.label.message if self.unusable is None else f"{NOT_JUDGED}{self.unusable.says}"


@dataclass(frozen=True, slots=True)
class Band:
    """A band of frequencies and what the score loses without it: up to 1, negative where it spoke for health."""

    low_hz: float
    high_hz: float
    score_drop: float


class _Clip(NamedTuple):
    """A window of a recording: its times in seconds, its samples, and what a detector hears in it."""

    start_s: float
    end_s: float
    samples: NDArray[np.float32]
    heard: Heard | None


class Predictor:
    """A loaded model. Holds no state but idle interpreters: any number of threads may call it.

    Args:
        bundle: a verified bundle.
        labels: what its classes are called now, where somebody has renamed them.
        labels_revision: of those labels; 1 is what the bundle was written with.
        decision: the threshold, where somebody has moved it.
        decision_revision: of that; 1 is what the bundle was written with.

    Raises:
        BundleDamaged: network, detector, spec and labels do not fit each other.
    """

    def __init__(
        self,
        bundle: Bundle,
        labels: Labels | None = None,
        labels_revision: int = 1,
        decision: Decision | None = None,
        decision_revision: int = 1,
    ) -> None:
        content = bundle.content
        self.bundle = bundle
        self.labels = labels or content.labels
        self.labels_revision = labels_revision
        self.decision = decision or content.decision
        self.decision_revision = decision_revision
        self._extractor = FeatureExtractor(content.spec)
        self._detector = content.detector
        if self._detector is not None and self._detector.spec.sample_rate_hz != content.spec.sample_rate_hz:
            raise BundleDamaged(
                f"Bundle {bundle.version}: the detector listens at {self._detector.spec.sample_rate_hz} Hz; "
                f"its windows are cut at {content.spec.sample_rate_hz} Hz."
            )
        self._same_spectrum = self._detector is not None and _spectrum(self._detector.spec) == _spectrum(content.spec)
        self._network = None if content.litert is None else self._fitting_network(content.litert)

    def _fitting_network(self, litert: bytes) -> Network:
        network, bundle, spec = Network(litert), self.bundle, self.bundle.content.spec
        if network.input_shape != spec.input_shape:
            raise BundleDamaged(
                f"Bundle {bundle.version}: the network takes {network.input_shape}; its spec makes {spec.input_shape}."
            )
        if network.classes != len(self.labels.classes):
            raise BundleDamaged(
                f"Bundle {bundle.version}: the network has {network.classes} outputs; "
                f"there are {len(self.labels.classes)} labels."
            )
        return network

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        labels: Labels | None = None,
        labels_revision: int = 1,
        decision: Decision | None = None,
        decision_revision: int = 1,
    ) -> Self:
        """Build a predictor that has answered its golden clip.

        Raises:
            BundleDamaged: network, spec and labels do not fit each other.
            GoldenClipFailed: the answer is not the one the model was written with.
        """
        predictor = cls(bundle, labels, labels_revision, decision, decision_revision)
        golden = bundle.content.golden
        expected = _answer(golden.probabilities, golden.novelty)
        try:
            # No threshold decides which window speaks: it may have been moved since.
            answer = predictor.golden_answer(predictor.decode(golden.wav))
        except AudioError as error:
            raise GoldenClipFailed(f"Bundle {bundle.version} has no recording for a golden clip: {error}") from error
        # Written so that a NaN fails too.
        close = len(answer) == len(expected) and all(
            abs(heard - written) <= GOLDEN_TOLERANCE for heard, written in zip(answer, expected, strict=True)
        )
        if not close:
            raise GoldenClipFailed(
                f"Bundle {bundle.version} answers its golden clip with {_rounded(answer)}; "
                f"it was written with {_rounded(expected)}."
            )
        return predictor

    def golden_answer(self, recording: Recording) -> tuple[float, ...]:
        """What a golden clip is answered with, whatever the thresholds: probabilities, then the novelty."""
        timeline = tuple(self._judge(clip, None) for clip in self._clips(recording))
        speaks, novelty = _golden(timeline)
        return _answer(timeline[speaks].probabilities, novelty)

    def golden_window(self, recording: Recording) -> tuple[int, float | None]:
        """Which window of a golden clip speaks for the classifier, and the detector's highest score."""
        return _golden(tuple(self._judge(clip, None) for clip in self._clips(recording)))

    @property
    def answers(self) -> tuple[str, ...]:
        """Names of all that a recording may be taken for, in the order of the classes."""
        names = tuple(label.name for label in self.labels.classes)
        return names if self._network is None or self._detector is None else (*names, UNKNOWN_FAULT.name)

    def decode(self, source: bytes | bytearray | memoryview, limits: AudioLimits = DEFAULT_LIMITS) -> Recording:
        """Decode a recording, listening to the channel that the model listens to."""
        return decode(source, channel=self.bundle.content.spec.channel, limits=limits)

    def knows(self, machine: str | None) -> str | None:
        """What its detector calls the machine of a name; None where it has none, or that has not learned it."""
        return None if self._detector is None else self._detector.knows(machine)

    def predict(self, recording: Recording, machine: str | None = None, *, reasons: bool = False) -> Verdict:
        """Judge a recording. The same recording always gets the same verdict, to the bit.

        Args:
            recording: decoded as this model listens.
            machine: which machine it is of, ``fan/id_00`` or ``id_00``; a detector then compares it with that machine.
            reasons: whether the detector shall also say why.
        """
        clips = self._clips(recording)
        timeline = tuple(self._judge(clip, machine) for clip in clips)
        heard = [clip.heard for clip in clips if clip.heard is not None]
        worst = max(timeline, key=lambda window: (window.anomaly, window.score))
        why = self._reasons(worst, clips[timeline.index(worst)].heard, recording.quality) if reasons else None
        known = self.knows(machine) is not None
        return Verdict(
            unusable=self._unusable(recording.quality, heard, machine, worst),
            timeline=timeline,
            worst=worst,
            threshold=self.decision.threshold,
            false_alarm_rate=self.decision.false_alarm_rate,
            quality=recording.quality,
            classes=() if self._network is None else self.labels.classes,
            p_value=self._p_value(worst, known=known),
            machine_known=known,
            reasons=why,
            naming=self.bundle.content.naming,
            version=self.bundle.version,
            labels_revision=self.labels_revision,
            decision_revision=self.decision_revision,
        )

    def _clips(self, recording: Recording) -> list[_Clip]:
        """The windows of a recording, as the detector hears them where there is one."""
        spec = self.bundle.content.spec
        samples = self._extractor.resample(recording.samples, recording.sample_rate_hz)
        rate_hz, until_s = spec.sample_rate_hz, recording.quality.duration_s
        return [
            _Clip(
                start / rate_hz,
                min(stop / rate_hz, until_s),
                samples[start:stop],
                None if self._detector is None else self._detector.hear(samples[start:stop]),
            )
            for start, stop in spec.windows(len(samples))
        ]

    def _judge(self, clip: _Clip, machine: str | None) -> Window:
        probabilities: tuple[float, ...] = ()
        fault_score = novelty = None
        if self._network is not None:
            probabilities = self._probabilities(self._network, self._log_mel(clip))
            fault_score = self._score(probabilities)
        if self._detector is not None and clip.heard is not None:
            novelty = self._detector.measure(clip.heard, machine)
        anomaly, label = self._taken_for(probabilities, fault_score, novelty)
        return Window(
            start_s=clip.start_s,
            end_s=clip.end_s,
            score=novelty.score if novelty is not None else fault_score or 0.0,
            anomaly=anomaly,
            label=label,
            probabilities=probabilities,
            fault_score=fault_score,
            novelty=novelty,
        )

    def _log_mel(self, clip: _Clip) -> NDArray[np.float32]:
        """What the network hears, from the detector's spectrum where that is the same."""
        if clip.heard is None or not self._same_spectrum:
            return self._extractor.log_mel(clip.samples)
        return self._extractor.levelled(clip.heard.log_mel.copy())

    def _taken_for(
        self, probabilities: tuple[float, ...], fault_score: float | None, novelty: Novelty | None
    ) -> tuple[bool, ClassLabel]:
        """The rule of two minds: whether a window is anomalous, and what it is taken for."""
        naming = self.bundle.content.naming
        sure = fault_score is not None and fault_score > (naming or self.decision).threshold
        if sure and naming is not None and novelty is not None and novelty.score > naming.farthest:
            return True, UNKNOWN_FAULT
        if sure:
            return True, self._most_probable(self.labels.faults, probabilities)
        if novelty is not None and novelty.score > self.decision.threshold:
            return True, UNKNOWN_FAULT if probabilities else self.labels.classes[self.labels.faults[0]]
        return False, self._most_probable(self.labels.normal, probabilities)

    def _most_probable(self, among: tuple[int, ...], probabilities: tuple[float, ...]) -> ClassLabel:
        return self.labels.classes[max(among, key=lambda i: probabilities[i]) if probabilities else among[0]]

    def _probabilities(self, network: Network, log_mel: NDArray[np.float32]) -> tuple[float, ...]:
        features = self._extractor.fit(self._extractor.coefficients(log_mel))
        return tuple(float(p) for p in network(features[None, :, :, None]))

    def _score(self, probabilities: tuple[float, ...]) -> float:
        fault = max(probabilities[i] for i in self.labels.faults)
        healthy = max(probabilities[i] for i in self.labels.normal)
        # Both can round to 0 in float32 only if a third class has everything, and every class is one of the two.
        return fault / (fault + healthy)

    def _unusable(
        self, quality: Quality, heard: Sequence[Heard], machine: str | None, worst: Window
    ) -> Unusable | None:
        """Why a recording is not judged. What is anomalous is never dismissed as no machine's: it may be the fault."""
        if self._detector is None:
            return None
        found = self._detector.unusable(quality, heard)
        return found if found is not None or worst.anomaly else self._detector.foreign(heard, machine)

    def _reasons(self, window: Window, heard: Heard | None, quality: Quality) -> Reasons | None:
        if self._detector is None or window.novelty is None or heard is None:
            return None
        return self._detector.reasons(heard, window.novelty, quality.level_dbfs)

    def _p_value(self, window: Window, *, known: bool) -> float | None:
        if self._detector is None or window.novelty is None:
            return None
        calibration = self._detector.calibration
        return p_value(calibration.named if known else calibration.unnamed, window.novelty.score)

    def bands(self, recording: Recording, window: Window, count: int = 8) -> tuple[Band, ...]:
        """Which frequencies the score of ``window`` hangs on, found by occlusion (Zeiler and Fergus, ECCV 2014).

        The mel range is divided into ``count`` equal parts. In each in turn, and in every frame, the levels are
        replaced by a straight line between the bands on either side: what is particular there goes, the loudness
        stays. What the score then loses is the band's share. Mel filters overlap, so neighbours share their edges; a
        saturated score may hang on no single band.

        Returns:
            The bands, the one that spoke loudest for an anomaly first; none where there is a detector, whose
            reasons say more for a tenth of the time. Costs as much as ``count`` networks.
        """
        if self._network is None or window.fault_score is None or self._detector is not None:
            return ()
        rate_hz = self.bundle.content.spec.sample_rate_hz
        samples = self._extractor.resample(recording.samples, recording.sample_rate_hz)
        clip = samples[round(window.start_s * rate_hz) : round(window.end_s * rate_hz)]
        log_mel = self._extractor.log_mel(clip)
        edges_hz = np.minimum(self._extractor.band_edges_hz, recording.sample_rate_hz / 2)
        borders = np.linspace(0, log_mel.shape[1], count + 1).astype(int)
        bands = []
        for low, high in pairwise(borders):
            # No mel bands, or none below the end of the recording's spectrum.
            if low == high or edges_hz[low] == edges_hz[high + 1]:
                continue
            occluded = log_mel.copy()
            occluded[:, low:high] = _bridge(log_mel, int(low), int(high))
            drop = window.fault_score - self._score(self._probabilities(self._network, occluded))
            bands.append(Band(float(edges_hz[low]), float(edges_hz[high + 1]), drop))
        return tuple(sorted(bands, key=lambda band: -band.score_drop))


def _bridge(log_mel: NDArray[np.float32], low: int, high: int) -> NDArray[np.float32]:
    """A straight line over mel bands ``low`` to ``high`` in each frame, level where one side has no neighbour."""
    last = log_mel.shape[1] - 1
    left = log_mel[:, [low - 1 if low > 0 else min(high, last)]]
    right = log_mel[:, [high if high <= last else max(low - 1, 0)]]
    position = np.linspace(0, 1, high - low + 2, dtype=np.float32)[1:-1]
    return np.asarray(left + (right - left) * position, np.float32)


def _spectrum(spec: FeatureSpec) -> FeatureSpec:
    """What decides the spectrum alone: all but level, floor, cepstrum and length."""
    return replace(spec, clip_frames=2, n_mfcc=None, dynamic_range_db=None, level="as_recorded", silent_frames=0)


def _golden(timeline: tuple[Window, ...]) -> tuple[int, float | None]:
    speaks = max(range(len(timeline)), key=lambda i: timeline[i].fault_score or 0.0)
    return speaks, max((window.novelty.score for window in timeline if window.novelty is not None), default=None)


def _answer(probabilities: tuple[float, ...], novelty: float | None) -> tuple[float, ...]:
    """What a golden clip is held against, in one row."""
    return probabilities if novelty is None else (*probabilities, novelty)


def _rounded(probabilities: tuple[float, ...]) -> list[float | None]:
    return [round(p, 4) if math.isfinite(p) else None for p in probabilities]
