"""What uploads are answered with: names, units, ranges and examples."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, AliasPath, Field

from api.schemas.common import AnsweringModel, Problem, Schema, Share
from ml.detectors.quality_checks import UnusableCode
from ml.models.explanations import OcclusionBand
from ml.models.verdict import Verdict, VerdictValue


def _round_to(digits: int) -> AfterValidator:
    """For what is measured and told. What decides is sent as it was compared: scores, thresholds, probabilities."""
    return AfterValidator(lambda value: round(value, digits) + 0.0)  # and no -0.0


Hertz = Annotated[float, _round_to(1)]
Decibels = Annotated[float, _round_to(2)]
StandardDeviations = Annotated[float, _round_to(2)]
Seconds = Annotated[float, _round_to(3)]
RoundedShare = Annotated[Share, _round_to(4)]


class Details(Schema):
    """The message and the probabilities, as the original service's clients parse them."""

    Message: str = Field(examples=["Component is imbalanced"])
    """What to tell a person."""
    Probabilities: list[Share] = Field(examples=[[0.0691, 0.9309, 0.0, 0.0]])
    """One for each class of the model, in its order; they add up to 1. `GET /v1/models/{version}` names them. Empty
    where the model is a detector alone."""


class AnomalyResponse(Schema):
    """The original service's answer, key by key."""

    Anomaly: bool = Field(examples=[True])
    """Whether the recording does not sound healthy; true too where it cannot be judged, as the message then says."""
    Details: Details

    @classmethod
    def of(cls, verdict: Verdict) -> "AnomalyResponse":
        """The original's shape of a verdict."""
        return cls(
            Anomaly=verdict.value != "normal",
            Details=Details(Message=verdict.message, Probabilities=list(verdict.worst.probabilities)),
        )


class ClassProbability(Schema):
    """One class of the model and how probable it is."""

    name: str = Field(examples=["imbalance"])
    message: str = Field(examples=["Component is imbalanced"])
    anomalous: bool = Field(examples=[True])
    """Whether this class is a fault."""
    probability: Share = Field(examples=[0.9309])


class TimelineWindow(Schema):
    """One window of the recording: what was heard between two times."""

    start_s: Seconds = Field(ge=0, examples=[0.0])
    """Seconds from the start of the recording."""
    end_s: Seconds = Field(gt=0, examples=[10.0])
    """Seconds from the start of the recording."""
    score: Share = Field(examples=[0.9309])
    anomaly: bool = Field(examples=[True], validation_alias=AliasPath("is_anomalous"))
    label: str = Field(examples=["imbalance"], validation_alias=AliasPath("label", "name"))
    """Name of the class that was heard."""


class BandShare(Schema):
    """A band of frequencies and what the score would lose without what is particular in it."""

    low_hz: Hertz = Field(ge=0, examples=[413.0])
    high_hz: Hertz = Field(gt=0, examples=[851.0])
    score_drop: Annotated[float, _round_to(4)] = Field(ge=-1, le=1, examples=[0.93])
    """Score as it is, less the score with this band smoothed over; negative where the band spoke for health."""


class RecordingQuality(Schema):
    """Facts about the recording itself, for whoever wants to know whether the verdict can be trusted."""

    duration_s: Seconds = Field(gt=0, examples=[10.0])
    sample_rate_hz: int = Field(examples=[16000])
    channels: int = Field(ge=1, examples=[8])
    level_dbfs: Decibels | None = Field(examples=[-40.44])
    """RMS level in dB relative to a full-scale square wave; null when every sample is zero."""
    clipped_share: RoundedShare = Field(examples=[0.0])
    """Share of all samples at full scale."""
    digital_silence: bool = Field(examples=[False])
    """Every sample has one and the same value: a dead input, not a quiet room."""


class Unjudged(Schema):
    """Why a recording cannot be judged."""

    why: UnusableCode = Field(examples=["clipped"], validation_alias=AliasPath("code"))
    detail: str = Field(examples=["4.2% of its samples are at full scale; at most 1.0% can be judged: turn it down."])
    """What was found and what was expected."""


class BandDeparture(Schema):
    """A band of frequencies and how it departs from the healthy machine at the same loudness."""

    low_hz: Hertz = Field(ge=0, examples=[413.0])
    high_hz: Hertz = Field(gt=0, examples=[851.0])
    db: Decibels = Field(examples=[6.2])
    """Louder, above 0, or softer than healthy recordings are on average."""
    sigma: StandardDeviations = Field(examples=[7.9])
    """The same in standard deviations of healthy recordings."""
    share: RoundedShare = Field(examples=[0.61])
    """Of the whole departure, in squared standard deviations; all bands add up to 1, but for rounding."""


class NearestRecording(Schema):
    """A healthy recording of the training that is like this one."""

    name: str = Field(examples=["fan/id_00/normal/00000012.wav"])
    """As the dataset names it."""
    db: Decibels = Field(ge=0, examples=[1.4])
    """How far apart the mean spectra are at the same loudness, RMS over the mel bands."""


class NoveltyReasons(Schema):
    """Why the detector judged the most anomalous window as it did."""

    bands: list[BandDeparture] = Field(validation_alias=AliasPath("band_deviations"))
    """How the sound departs from the healthy machine in each band, the largest share first: measured, not asked of the
    score, as the `bands` of a classifier are."""
    level_change_db: Decibels | None = Field(examples=[-1.3])
    """How much louder or softer the recording is than healthy ones; it moves no score. Null where that is not known."""
    nearest: list[NearestRecording]
    """The healthy recordings that are most like it, the nearest first."""


class NoveltyFacts(Schema):
    """What the detector measured in the most anomalous window."""

    times: float = Field(ge=0, examples=[9.4])
    """How many times as far from healthy as a healthy recording typically is."""
    p_value: float = Field(gt=0, le=1, examples=[0.012])
    """How often a healthy recording is as far out as this one, from those that the detector was calibrated on."""
    engine: str = Field(examples=["spectrum-gaussian"])
    """The engine that was farthest out."""
    compared_with: str = Field(examples=["fan/id_00"])
    """The machine whose healthy sound it was compared with: the one that was named, or else the one it is most like.
    Empty where the training named none."""
    machine_known: bool = Field(examples=[True])
    """Whether a machine was named that the detector has learned."""


class NamingFacts(Schema):
    """Beside a detector: what the classifier of known faults says, by a threshold of its own."""

    score: Share = Field(examples=[0.9309])
    """Of the most probable fault and the most probable healthy class, the fault's share."""
    threshold: Share = Field(examples=[0.5])
    """A score above it names a known fault."""
    farthest: Share = Field(examples=[0.953])
    """Unless the detector's score is above this: farther from healthy than the known faults it is `unknown_fault`."""


class PredictResponse(Schema):
    """Everything that was heard in one recording."""

    verdict: VerdictValue = Field(examples=["anomalous"])
    """To be looked at first. `unusable` where the recording cannot be judged, as `unusable` and `message` say: `label`,
    `score`, `timeline`, `classes` and `novelty` are then what was measured in it, and no verdict on the machine."""
    message: str = Field(examples=["Component is imbalanced"])
    """What to tell a person."""
    label: str = Field(examples=["imbalance"])
    """Name of the class that was heard; `unknown_fault` for what is far from healthy and of no known fault. No verdict
    where `verdict` is `unusable`."""
    score: Share = Field(examples=[0.9309])
    """Higher is more anomalous; no verdict where `verdict` is `unusable`. Of a model with a detector:
    1 - 1 / (1 + times), see `novelty`. Of a classifier alone: of the most probable fault and the most probable healthy
    class, the fault's share."""
    threshold: Share = Field(examples=[0.5])
    """A score above it is anomalous."""
    false_alarm_rate: Share | None = Field(examples=[None])
    """Share of healthy recordings above the threshold; null where nobody has measured it."""
    classes: list[ClassProbability]
    """Every class of the model, in its order, as heard in the most anomalous window; none of a detector alone."""
    timeline: list[TimelineWindow]
    """The windows of the recording, in time order; the most anomalous one speaks for the recording."""
    bands: list[BandShare] | None
    """Which frequencies a classifier's score hangs on: what it would lose without each, the strongest reason first.
    Null unless asked for with `explain=true`; empty where there is a detector, whose `reasons.bands` say instead how
    each band departs from the healthy machine.

    Neighbours overlap, and a saturated score may hang on none alone."""
    novelty: NoveltyFacts | None
    """Null where the model has no detector."""
    known_faults: NamingFacts | None
    """Null where the model is a classifier or a detector alone."""
    reasons: NoveltyReasons | None
    """Why the detector judged so; null without one, and unless asked for with `explain=true`."""
    unusable: Unjudged | None
    """Null where the recording can be judged. Only a model with a detector knows."""
    quality: RecordingQuality
    model: AnsweringModel

    @classmethod
    def of(cls, verdict: Verdict, bands: Sequence[OcclusionBand] | None = None) -> "PredictResponse":
        """A verdict, with the occlusion bands where they were asked for."""
        worst = verdict.worst
        return cls.model_validate(
            {
                "verdict": verdict.value,
                "message": verdict.message,
                "label": worst.label.name,
                "score": worst.score,
                "threshold": verdict.threshold,
                "false_alarm_rate": verdict.false_alarm_rate,
                "classes": verdict.class_probabilities,
                "timeline": verdict.timeline,
                "bands": bands,
                "novelty": _novelty(verdict),
                "known_faults": _fault_rule_facts(verdict),
                "reasons": verdict.explanation,
                "unusable": verdict.unusable,
                "quality": verdict.quality,
                "model": verdict,
            }
        )


def _novelty(verdict: Verdict) -> NoveltyFacts | None:
    novelty = verdict.worst.novelty
    if novelty is None or verdict.p_value is None:
        return None
    return NoveltyFacts(
        times=novelty.relative_distance,
        p_value=verdict.p_value,
        engine=novelty.engine,
        compared_with=novelty.machine,
        machine_known=verdict.machine_known,
    )


def _fault_rule_facts(verdict: Verdict) -> NamingFacts | None:
    score, naming = verdict.worst.classifier_score, verdict.fault_rule
    if score is None or naming is None:
        return None
    return NamingFacts(score=score, threshold=naming.threshold, farthest=naming.max_named_distance)


class BatchItem(Schema):
    """One file of a batch: its verdict or its error, never both."""

    file_name: str = Field(examples=["pb1.wav"])
    """As the client named it."""
    prediction: PredictResponse | None
    error: Problem | None


class BatchResponse(Schema):
    """The answers, in the order of the files."""

    results: list[BatchItem]
