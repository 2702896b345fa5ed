"""Verdicts of one model for a comparison, at the threshold that is served.

A model that is fitted to all recordings at the end of its training cannot be tested on them. Its verdicts are then
those of the measured fit, which has not learned from the test side. The threshold of a detector comes from the same
rule in both fits, so each has its own. The scores of the measured fit are compared with the served threshold if a
person has moved it since, and if the model is a classifier alone: its served threshold can come from a cross-validation
that the measured fit does not have. The scores of both fits have the same scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ml.evaluation.judged import JudgedRecording
from ml.models.labels import UNKNOWN_FAULT
from ml.models.predictor import Predictor
from ml.models.registry import Registry


@dataclass(frozen=True, slots=True)
class VerdictOrigin:
    """Fit and threshold behind the verdicts of one model.

    Attributes:
        threshold: threshold of the verdicts; None if the training did not record it.
        served_threshold: threshold with which the model answers uploads.
        served_fit: whether the verdicts are of the fit that answers uploads. If not, they are of the measured fit of
            the same training.
        has_network: whether a classifier takes part in the verdicts.
    """

    threshold: float | None
    served_threshold: float
    served_fit: bool
    has_network: bool

    def describe(self, name: str) -> str:
        """Return the origin of the verdicts of the model ``name`` in a sentence or two."""
        if self.served_fit:
            return f"The verdicts of {name} are those of the model that is served, at its threshold {self._served}."
        at = "" if self.threshold is None else f" at the threshold {self.threshold:.3g}"
        sentence = (
            f"The verdicts of {name} are those of its fit without these recordings{at}; the fit that is served has the "
            f"threshold {self._served}."
        )
        if not self.has_network:
            return sentence
        return f"{sentence} The served network learned from more recordings; its verdicts can be better."

    @property
    def _served(self) -> str:
        return f"{self.served_threshold:.3g}"


@dataclass(frozen=True, slots=True)
class ComparedVerdicts:
    """Verdicts of one model, and their origin."""

    judged: tuple[JudgedRecording, ...]
    origin: VerdictOrigin

    @classmethod
    def of_served_model(cls, predictor: Predictor, judged: Sequence[JudgedRecording]) -> Self:
        """Return verdicts that the served model itself gave."""
        threshold = predictor.model.decision.threshold
        has_network = predictor.model.bundle.content.litert is not None
        return cls(tuple(judged), VerdictOrigin(threshold, threshold, True, has_network))

    @classmethod
    def of_measured_fit(
        cls,
        registry: Registry,
        version: str,
        judged: Sequence[JudgedRecording],
        threshold: float | None,
        *,
        served_fit: bool,
    ) -> Self:
        """Return verdicts of the measured fit of a training, at the threshold that is served.

        Args:
            registry: registry with the version.
            version: version of the training.
            judged: verdicts of the measured fit, at its own threshold.
            threshold: this threshold; None if it was not recorded.
            served_fit: whether there was no final fit, so that the measured fit is served.

        Raises:
            ModelError: the version cannot be read.
        """
        bundle = registry.read(version)
        revisions = registry.threshold_revisions(version, bundle)
        served = revisions[-1].decision.threshold
        if served != revisions[0].decision.threshold or bundle.content.detector is None:
            threshold, judged = served, at_threshold(judged, served, faults_named=bundle.content.fault_rule is not None)
        origin = VerdictOrigin(threshold, served, served_fit, bundle.content.litert is not None)
        return cls(tuple(judged), origin)


def at_threshold(
    judged: Sequence[JudgedRecording], threshold: float, *, faults_named: bool
) -> tuple[JudgedRecording, ...]:
    """Return verdicts at another threshold of the score. Recordings that were not judged stay so.

    Args:
        judged: verdicts.
        threshold: threshold, a score from 0 to 1.
        faults_named: whether the model has a detector and a classifier. An alarm that names a fault is then the
            classifier's, and does not depend on the threshold of the detector.
    """

    def is_anomalous(each: JudgedRecording) -> bool:
        named = faults_named and each.anomaly and each.predicted != UNKNOWN_FAULT.name
        return not each.unusable and (named or each.score > threshold)

    return tuple(replace(each, anomaly=is_anomalous(each)) for each in judged)
