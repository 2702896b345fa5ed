"""Recalibration: scores of further normal recordings, which replace or extend the calibration in a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

import numpy as np

from ml.detectors.calibration import Calibration, OddRecording, RateHoldsFor, join_calibrations
from ml.detectors.detector import Detector
from ml.errors import ModelNotCalibrated
from ml.models.bundle import Bundle, BundleContent

# Chosen here: held-out sessions of pc_fan have a median of 0.8 to 2.0 times the typical distance.
FAR_TIMES = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """Scores of normal recordings that a detector has not learned from. Plain values, so that two can be compared.

    Attributes:
        dataset: name of the dataset of the recordings.
        dataset_fingerprint: its fingerprint.
        named, unnamed, session, odd, rate_holds_for, by_classifier: those of
            :class:`~ml.detectors.calibration.Calibration`, for these recordings alone.
        with_training: whether the scores in the bundle count too.
        odd_recordings: recordings that stand apart from their session, the farthest first.
        left_out: number of normal recordings of the dataset that were not used, by reason.
    """

    dataset: str
    dataset_fingerprint: str
    named: tuple[float, ...]
    unnamed: tuple[float, ...]
    session: tuple[int, ...]
    odd: tuple[bool, ...]
    rate_holds_for: RateHoldsFor
    with_training: bool
    odd_recordings: tuple[OddRecording, ...]
    left_out: Mapping[str, int]
    by_classifier: tuple[bool, ...] | None = None

    @property
    def n_sessions(self) -> int:
        """Number of sessions of the recordings."""
        return len(set(self.session))

    def warning(self) -> str | None:
        """Return a sentence if the recordings are far from what the detector has learned; None otherwise.

        A score of 0.5 is the typical distance, and ``s / (1 - s)`` its multiple.
        """
        score = float(np.median(self.named))
        times = score / max(1 - score, np.finfo(float).tiny)
        if times <= FAR_TIMES:
            return None
        return (
            f"Half of these recordings are more than {times:.1f} times as far from normal as those of the training. "
            "Are they of the same machine, with the microphone in the same place? With this threshold, faults that are "
            "no farther are missed. signalml thresholds VERSION --reset returns to the threshold of the training."
        )

    def calibration(self, detector: Detector) -> Calibration:
        """Return the calibration of a detector with these scores."""
        new = Calibration(
            named=np.array(self.named, np.float64),
            unnamed=np.array(self.unnamed, np.float64),
            session=np.array(self.session, np.int64),
            odd=np.array(self.odd, bool),
            rate_holds_for=self.rate_holds_for,
            by_classifier=None if self.by_classifier is None else np.array(self.by_classifier, bool),
        )
        return join_calibrations(detector.calibration, new) if self.with_training else new

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        names = self.__slots__
        facts = {name: getattr(self, name) for name in names} | {"left_out": dict(self.left_out)}
        return facts | {"odd_recordings": [each._asdict() for each in self.odd_recordings]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a recalibration from the values of :meth:`to_dict`.

        Raises:
            ValueError, KeyError, TypeError: the values are invalid.
        """
        by_classifier = values.get("by_classifier")
        found = cls(
            dataset=str(values["dataset"]),
            dataset_fingerprint=str(values["dataset_fingerprint"]),
            named=tuple(map(float, values["named"])),
            unnamed=tuple(map(float, values["unnamed"])),
            session=tuple(map(int, values["session"])),
            odd=tuple(map(bool, values["odd"])),
            rate_holds_for=values["rate_holds_for"],
            with_training=bool(values["with_training"]),
            odd_recordings=tuple(OddRecording(**each) for each in values["odd_recordings"]),
            left_out={str(reason): int(count) for reason, count in values["left_out"].items()},
            by_classifier=None if by_classifier is None else tuple(map(bool, by_classifier)),
        )
        scores, lengths = (*found.named, *found.unnamed), {len(found.named), len(found.unnamed), len(found.session)}
        lengths |= set() if found.by_classifier is None else {len(found.by_classifier)}
        if lengths != {len(found.odd)} or all(found.odd) or not all(0 <= score <= 1 for score in scores):
            raise ValueError("its scores are not numbers from 0 to 1, one for each recording")
        if found.rate_holds_for not in get_args(RateHoldsFor):
            raise ValueError(f"its rate_holds_for is {found.rate_holds_for!r}")
        return found


def recalibrated(content: BundleContent, recalibration: Recalibration | None) -> BundleContent:
    """Return the content of a bundle with the calibration of a recalibration; None changes nothing."""
    detector = content.detector
    if recalibration is None or detector is None:
        return content
    odd = recalibration.odd_recordings
    return replace(
        content,
        detector=replace(
            detector,
            calibration=recalibration.calibration(detector),
            odd_recordings=(*detector.odd_recordings, *odd) if recalibration.with_training else odd,
        ),
    )


def require_detector(bundle: Bundle) -> Detector:
    """Return the detector of a model.

    Raises:
        ModelNotCalibrated: it has none.
    """
    if bundle.content.detector is None:
        raise ModelNotCalibrated(
            f"{bundle.version} is a classifier alone; a recalibration needs a detector. Train the classifier again "
            "with the further recordings."
        )
    return bundle.content.detector
