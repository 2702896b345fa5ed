"""What an evaluation found, as it is kept beside a model and shown to a reader."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

SliceKind = Literal["pooled", "machine", "id", "snr", "id x snr"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; all None where the figure is undefined, as an AUC of one class is."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The recordings that have something in common, or all of them.

    Attributes:
        name: as a reader is shown it: ``pooled``, ``fan``, ``fan id_00``, ``6 dB``, ``fan id_00 at 6 dB``.
        kind: by what they were taken together.
        machine, machine_id, snr_db: what they have in common; None where that is not what they were taken by.
        n, normal, abnormal: how many recordings.
        groups, normal_groups, abnormal_groups: from how many recording groups they are.
        auc: share of pairs of an abnormal and a normal recording that the score puts in order, ties counting half.
        pauc: area under the ROC up to a false-alarm rate of 0.1, McClish-standardised: 0.5 for chance, 1 for perfect.
        detection_rate, false_alarm_rate: share of abnormal, and of normal, recordings above the threshold.
        auc_gain_randomised: the AUC when each recording is louder or softer by a random gain.
        auc_level_only: the AUC of the level alone, louder counting as more anomalous; 0.5 gives nothing away.
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
    """What a model is worth on some recordings.

    Attributes:
        threshold: of the score, above which a recording was called anomalous.
        slices: ``pooled`` first; then by machine, id, SNR, and id x SNR, each where there are several.
        harmonic_mean_auc, harmonic_mean_pauc: over the machine ids, as in DCASE Task 2: one bad machine pulls it down.
        classes: names of the model's classes.
        confusion: recordings by true class (rows) and by predicted class (columns), in the order of ``classes``;
            only those whose true class is known to the model.
        accuracy, balanced_accuracy, macro_f1: of the predicted class, over those same recordings; the latter two are
            means over the classes that are truly there.
        brier, ece: of the score as a probability of a fault; 0 is perfect. They hold for the share of faults here.
        auc_gain_randomised, auc_level_only: the controls, pooled.
        roc: ``(false_alarm_rate, detection_rate, threshold)``, the rates rising; a threshold of -1 is below any score.
        scores_normal, scores_abnormal: every score.
        notes: what a reader must know of the figures, in sentences.
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
        """All recordings."""
        return self.slices[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, from JSON too; what else stands beside it is left alone."""
        restored = {field.name: _restored(values[field.name]) for field in fields(cls)}
        restored["slices"] = tuple(Slice(**{k: _restored(v) for k, v in s.items()}) for s in values["slices"])
        return cls(**restored)


def _restored(value: Any) -> Any:
    """JSON knows neither tuples nor Estimates."""
    if isinstance(value, dict):
        return Estimate(**value) if value.keys() == {"value", "low", "high"} else value
    if isinstance(value, list | tuple):
        return tuple(_restored(item) for item in value)
    return value
