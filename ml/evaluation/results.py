"""Results of an evaluation, as stored with a model and shown to people."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

SliceKind = Literal["pooled", "machine", "id", "snr", "id x snr"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval.

    All three are None if the figure is undefined, such as an AUC of a single class.

    Attributes:
        value: the figure.
        low, high: limits of the interval.

    Example:
        >>> Estimate(0.9, 0.8, 0.95).value, Estimate(None, None, None) == UNDEFINED
        (0.9, True)
    """

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Figures of the recordings that have a property in common, or of all recordings.

    Attributes:
        name: name for people: ``pooled``, ``fan``, ``fan id_00``, ``6 dB``, ``fan id_00 at 6 dB``.
        kind: the property.
        machine, machine_id, snr_db: values of the property; None if the slice is not by this value. SNR in dB.
        n, normal, abnormal: numbers of recordings.
        groups, normal_groups, abnormal_groups: numbers of sessions.
        auc: area under the ROC, 0 to 1: share of pairs (abnormal, normal) in the right order; ties count half.
        pauc: area under the ROC up to a false-alarm rate of 0.1, McClish-standardised: 0.5 is chance, 1 is perfect.
        detection_rate, false_alarm_rate: share of abnormal, and of normal, recordings with the verdict ``anomalous``.
        auc_gain_randomised: AUC with a random gain on each recording.
        auc_level_only: AUC of the level alone; louder counts as more anomalous. At 0.5, level does not separate the
            classes.
    """

    name: str
    kind: SliceKind
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    n: int
    normal: int
    abnormal: int
    groups: int
    normal_groups: int
    abnormal_groups: int
    auc: Estimate
    pauc: Estimate
    detection_rate: Estimate
    false_alarm_rate: Estimate
    auc_gain_randomised: Estimate
    auc_level_only: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures of a model on a set of recordings.

    :func:`ml.evaluation.evaluating.evaluate` has an example.

    Attributes:
        threshold: the model's threshold on the score, 0 to 1.
        slices: ``pooled`` first; then by machine, id, SNR, and id x SNR, each if there are several.
        harmonic_mean_auc, harmonic_mean_pauc: harmonic means over the machine ids, as in DCASE Task 2: one bad machine
            lowers them.
        classes: names of the model's classes.
        confusion: counts of recordings by true class (rows) and predicted class (columns), in the order of ``classes``;
            without recordings whose true class the model has not.
        accuracy, balanced_accuracy, macro_f1: of the predicted class, over the same recordings, 0 to 1; the last two
            are means over the classes that occur.
        brier, ece: Brier score and calibration error of the score as a probability of a fault; 0 is perfect. They are
            valid for the share of faults in these recordings, and undefined if the score is no probability.
        auc_gain_randomised, auc_level_only: the controls, over all recordings.
        roc: points ``(false_alarm_rate, detection_rate, threshold)``, rates rising; threshold -1 is below all scores.
        scores_normal, scores_abnormal: all scores.
        notes: remarks on the figures, in sentences.
    """

    threshold: float
    slices: tuple[Slice, ...]
    harmonic_mean_auc: Estimate
    harmonic_mean_pauc: Estimate
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    brier: Estimate
    ece: Estimate
    auc_gain_randomised: Estimate
    auc_level_only: Estimate
    roc: tuple[tuple[float, float, float], ...]
    scores_normal: tuple[float, ...]
    scores_abnormal: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def pooled(self) -> Slice:
        """Slice of all recordings."""
        return self.slices[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values of :meth:`to_dict`, also from JSON. Other keys are ignored."""
        restored = {field.name: _restored(values[field.name]) for field in fields(cls)}
        restored["slices"] = tuple(Slice(**{k: _restored(v) for k, v in s.items()}) for s in values["slices"])
        return cls(**restored)


def _restored(value: Any) -> Any:
    """Return lists as tuples, and mappings of an estimate as estimates. JSON has neither."""
    if isinstance(value, dict):
        return Estimate(**value) if value.keys() == {"value", "low", "high"} else value
    if isinstance(value, list | tuple):
        return tuple(_restored(item) for item in value)
    return value
