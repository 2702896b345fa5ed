"""Bundle and recording in, verdict out: the one way that anything here is ever scored.

**Windows.** As :meth:`ml.features.FeatureSpec.windows` cuts them: every moment is heard.

**Score.** Of the most probable fault ``f`` and the most probable healthy class ``h``: ``p(f) / (p(f) + p(h))``, 0 to 1,
higher is more anomalous. At the threshold of 0.5 this is the original's rule, the most probable class; unlike that rule
it has a threshold that can be moved.

**Verdict.** The most anomalous window speaks for the recording: its score, its probabilities, its message. Above the
threshold the message is that of its most probable fault, otherwise that of its most probable healthy class.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.audio import DEFAULT_LIMITS, AudioLimits, Quality, Recording, decode
from ml.bundle import GOLDEN_TOLERANCE, Bundle
from ml.errors import AudioError, BundleDamaged, GoldenClipFailed
from ml.features import FeatureExtractor
from ml.labels import ClassLabel, Labels
from ml.network import Network


@dataclass(frozen=True, slots=True)
class Window:
    """One clip's worth of the recording. Times in seconds from its start; probabilities in the order of the classes."""

    start_s: float
    end_s: float
    score: float
    anomaly: bool
    label: ClassLabel
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was heard.

    Attributes:
        timeline: every window, in time order.
        worst: the most anomalous of them, which speaks for the recording.
        threshold: the score above which a window is anomalous.
        false_alarm_rate: share of healthy recordings above that threshold; None where nobody has measured it.
        quality: of the recording.
        classes: what the probabilities belong to.
        version: the model that answered, and ``labels_revision`` of its labels.
    """

    timeline: tuple[Window, ...]
    worst: Window
    threshold: float
    false_alarm_rate: float | None
    quality: Quality
    classes: tuple[ClassLabel, ...]
    version: str
    labels_revision: int


@dataclass(frozen=True, slots=True)
class Band:
    """A band of frequencies and what the score loses without it: up to 1, negative where it spoke for health."""

    low_hz: float
    high_hz: float
    score_drop: float


class Predictor:
    """A loaded model. Holds no state but idle interpreters: any number of threads may call it.

    Args:
        bundle: a verified bundle.
        labels: what its classes are called now, where somebody has renamed them.
        labels_revision: of those labels; 1 is what the bundle was written with.

    Raises:
        BundleDamaged: network, spec and labels do not fit each other.
    """

    def __init__(self, bundle: Bundle, labels: Labels | None = None, labels_revision: int = 1) -> None:
        content = bundle.content
        self.bundle = bundle
        self.labels = labels or content.labels
        self.labels_revision = labels_revision
        self._extractor = FeatureExtractor(content.spec)
        self._network = Network(content.litert)
        if self._network.input_shape != content.spec.input_shape:
            raise BundleDamaged(
                f"Bundle {bundle.version}: the network takes {self._network.input_shape}; "
                f"its spec makes {content.spec.input_shape}."
            )
        if self._network.classes != len(self.labels.classes):
            raise BundleDamaged(
                f"Bundle {bundle.version}: the network has {self._network.classes} outputs; "
                f"there are {len(self.labels.classes)} labels."
            )

    @classmethod
    def load(cls, bundle: Bundle, labels: Labels | None = None, labels_revision: int = 1) -> Self:
        """Build a predictor that has answered its golden clip.

        Raises:
            BundleDamaged: network, spec and labels do not fit each other.
            GoldenClipFailed: the answer is not the one the model was written with.
        """
        predictor = cls(bundle, labels, labels_revision)
        golden = bundle.content.golden
        try:
            answer = predictor.predict(predictor.decode(golden.wav)).worst.probabilities
        except AudioError as error:
            raise GoldenClipFailed(f"Bundle {bundle.version} has no recording for a golden clip: {error}") from error
        # Written so that a NaN fails too.
        close = len(answer) == len(golden.probabilities) and all(
            abs(heard - expected) <= GOLDEN_TOLERANCE
            for heard, expected in zip(answer, golden.probabilities, strict=True)
        )
        if not close:
            raise GoldenClipFailed(
                f"Bundle {bundle.version} answers its golden clip with {_rounded(answer)}; "
                f"it was written with {_rounded(golden.probabilities)}."
            )
        return predictor

    def decode(self, source: bytes | bytearray | memoryview, limits: AudioLimits = DEFAULT_LIMITS) -> Recording:
        """Decode a recording, listening to the channel that the model listens to."""
        return decode(source, channel=self.bundle.content.spec.channel, limits=limits)

    def predict(self, recording: Recording) -> Verdict:
        """Judge a recording. The same recording always gets the same verdict, to the bit."""
        rate_hz = self.bundle.content.spec.sample_rate_hz
        samples = self._extractor.resample(recording.samples, recording.sample_rate_hz)
        timeline = tuple(
            self._judge(start / rate_hz, min(stop / rate_hz, recording.quality.duration_s), samples[start:stop])
            for start, stop in self.bundle.content.spec.windows(len(samples))
        )
        decision = self.bundle.content.decision
        return Verdict(
            timeline=timeline,
            worst=max(timeline, key=lambda window: window.score),
            threshold=decision.threshold,
            false_alarm_rate=decision.false_alarm_rate,
            quality=recording.quality,
            classes=self.labels.classes,
            version=self.bundle.version,
            labels_revision=self.labels_revision,
        )

    def _judge(self, start_s: float, end_s: float, clip: NDArray[np.float32]) -> Window:
        probabilities = self._probabilities(self._extractor.log_mel(clip))
        score = self._score(probabilities)
        anomaly = score > self.bundle.content.decision.threshold
        heard = max(self.labels.faults if anomaly else self.labels.normal, key=lambda i: probabilities[i])
        return Window(
            start_s=start_s,
            end_s=end_s,
            score=score,
            anomaly=anomaly,
            label=self.labels.classes[heard],
            probabilities=probabilities,
        )

    def _probabilities(self, log_mel: NDArray[np.float32]) -> tuple[float, ...]:
        features = self._extractor.fit(self._extractor.coefficients(log_mel))
        return tuple(float(p) for p in self._network(features[None, :, :, None]))

    def _score(self, probabilities: tuple[float, ...]) -> float:
        fault = max(probabilities[i] for i in self.labels.faults)
        healthy = max(probabilities[i] for i in self.labels.normal)
        # Both can round to 0 in float32 only if a third class has everything, and every class is one of the two.
        return fault / (fault + healthy)

    def bands(self, recording: Recording, window: Window, count: int = 8) -> tuple[Band, ...]:
        """Which frequencies the score of ``window`` hangs on, found by occlusion (Zeiler and Fergus, ECCV 2014).

        The mel range is divided into ``count`` equal parts. In each in turn, and in every frame, the levels are
        replaced by a straight line between the bands on either side: what is particular there goes, the loudness
        stays. What the score then loses is the band's share. Mel filters overlap, so neighbours share their edges; a
        saturated score may hang on no single band.

        Returns:
            The bands, the one that spoke loudest for an anomaly first. Costs as much as ``count`` networks.
        """
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
            drop = window.score - self._score(self._probabilities(occluded))
            bands.append(Band(float(edges_hz[low]), float(edges_hz[high + 1]), drop))
        return tuple(sorted(bands, key=lambda band: -band.score_drop))


def _bridge(log_mel: NDArray[np.float32], low: int, high: int) -> NDArray[np.float32]:
    """A straight line over mel bands ``low`` to ``high`` in each frame, level where one side has no neighbour."""
    last = log_mel.shape[1] - 1
    left = log_mel[:, [low - 1 if low > 0 else min(high, last)]]
    right = log_mel[:, [high if high <= last else max(low - 1, 0)]]
    position = np.linspace(0, 1, high - low + 2, dtype=np.float32)[1:-1]
    return np.asarray(left + (right - left) * position, np.float32)


def _rounded(probabilities: tuple[float, ...]) -> list[float | None]:
    return [round(p, 4) if math.isfinite(p) else None for p in probabilities]
