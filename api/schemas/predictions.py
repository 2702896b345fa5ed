"""Schemas of verdicts."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, AliasPath, Field

from api.schemas.common import AnsweringModel, Problem, Schema, Share, Timestamp
from api.schemas.machines import MachineId
from ml.audio.channels import ChannelFaultName
from ml.audio.recording import ReferenceState
from ml.detectors.calibration import RateHoldsFor
from ml.detectors.recorder_checks import UnusableCode
from ml.machines.observation import RecordEntry
from ml.machines.recording_time import TimeSource
from ml.models.explanations import OcclusionBand
from ml.models.verdict import Verdict, VerdictValue


def _round_to(digits: int) -> AfterValidator:
    """Return a validator that rounds measured values. Scores, thresholds and probabilities do not use it."""
    return AfterValidator(lambda value: round(value, digits) + 0.0)  # adding 0.0 turns -0.0 into 0.0


Hertz = Annotated[float, _round_to(1)]
Decibels = Annotated[float, _round_to(2)]
StandardDeviations = Annotated[float, _round_to(2)]
Seconds = Annotated[float, _round_to(3)]
RoundedOffset = Annotated[float, _round_to(5)]
RoundedShare = Annotated[Share, _round_to(4)]


class Details(Schema):
    """Message and probabilities, with the keys of the original service."""

    Message: str = Field(examples=["Component is imbalanced"])
    """Text for people. For a recording that cannot be judged, it begins with `Not judged:`."""
    Probabilities: list[Share] = Field(examples=[[0.0691, 0.9309, 0.0, 0.0]])
    """Probability of each class of the model, in its order; they add up to 1. `GET /v1/models/{version}` has the names
    of the classes. Empty for a detector alone."""


class AnomalyResponse(Schema):
    """Answer with the keys of the original service."""

    Anomaly: bool = Field(examples=[True])
    """Whether the recording is anomalous; also true if it cannot be judged."""
    Details: Details

    @classmethod
    def of(cls, verdict: Verdict) -> "AnomalyResponse":
        """Return a verdict in the format of the original service."""
        return cls(
            Anomaly=verdict.value != "normal",
            Details=Details(Message=verdict.message, Probabilities=list(verdict.worst.probabilities)),
        )


class ClassProbability(Schema):
    """Class of the model, with its probability."""

    name: str = Field(examples=["imbalance"])
    message: str = Field(examples=["Component is imbalanced"])
    """Text of the class for people."""
    anomalous: bool = Field(examples=[True])
    """Whether the class is a fault."""
    probability: Share = Field(examples=[0.9309])


class TimelineWindow(Schema):
    """Result for one clip of the recording."""

    start_s: Seconds = Field(ge=0, examples=[0.0])
    """Start of the clip, in seconds from the start of the recording."""
    end_s: Seconds = Field(gt=0, examples=[10.0])
    """End of the clip, in seconds from the start of the recording."""
    score: Share = Field(examples=[0.9309])
    anomaly: bool = Field(examples=[True], validation_alias=AliasPath("is_anomalous"))
    """Whether the clip is anomalous."""
    label: str = Field(examples=["imbalance"], validation_alias=AliasPath("label", "name"))
    """Name of the class."""


class BandShare(Schema):
    """Frequency band, and how much a classifier's score depends on it."""

    low_hz: Hertz = Field(ge=0, examples=[413.0])
    high_hz: Hertz = Field(gt=0, examples=[851.0])
    score_drop: Annotated[float, _round_to(4)] = Field(ge=-1, le=1, examples=[0.93])
    """Score minus the score with this band smoothed, -1 to 1. It is negative if the band lowers the score."""


class FaultyChannel(Schema):
    """Fault of one channel that others do not have."""

    channel: int = Field(ge=0, examples=[1])
    """Index of the channel, from 0."""
    fault: ChannelFaultName = Field(examples=["dead"])
    """`dead`: no signal; `clipped`: more than 1 % of its samples are at full scale; `inverted`: the opposite sign of
    the other channels; `offset`: a mean of 0.01 or more that others do not have."""


class RecordingQuality(Schema):
    """Facts about the recording, which help to decide how far the verdict can be trusted."""

    duration_s: Seconds = Field(gt=0, examples=[10.0])
    """Duration in seconds."""
    sample_rate_hz: int = Field(examples=[16000])
    channels: int = Field(ge=1, examples=[8])
    level_dbfs: Decibels | None = Field(examples=[-40.44])
    """RMS level without the offset, in dB relative to a full-scale square wave; null if every sample has the same
    value."""
    clipped_share: RoundedShare = Field(examples=[0.0])
    """Share of the samples that are at full scale, without channels that are left out."""
    offset: RoundedOffset = Field(examples=[0.0])
    """Mean of the samples; far from 0, the microphone or its input has a constant offset."""
    dropout_share: RoundedShare = Field(examples=[0.0])
    """Share of the recording in which samples are missing: 20 ms or more of one value."""
    digital_silence: bool = Field(examples=[False])
    """Whether every sample has the same value, as from an input without a signal."""
    channel_faults: list[FaultyChannel] = Field(examples=[[]])
    """Faults of channels that other channels do not have. Dead and clipped channels are left out, and inverted ones are
    corrected, by models that were trained with this version."""
    codec: str | None = Field(examples=[None])
    """Name of a codec with losses, such as `mulaw`, `alaw`, `mp3`, `vorbis`, `opus` or `aac`: parts of the sound are
    left out, and a fault of the machine can be hidden. Null without losses, as for WAV and FLAC."""
    reference: ReferenceState | None = Field(examples=["used"])
    """State of the reference channel, the second microphone that records the hall. `used`; `unused`: training has found
    that it does not help; `missing`: the recording has no such channel; `dead`: no signal; `clipped`: more than 1 % of
    its samples are at full scale; `duplicate`: it is the same signal as the main channel; `disturbed`: it has sounds
    that the main channel does not have; `swapped`: it has the sound of the machine's microphone, so the recording is
    `unusable`. If it is missing, dead, clipped, a duplicate or disturbed, the main channel alone is judged. Null if the
    model uses none."""


class Unjudged(Schema):
    """Reason why a recording cannot be judged."""

    why: UnusableCode = Field(examples=["clipped"], validation_alias=AliasPath("code"))
    """Stable code of the reason."""
    detail: str = Field(
        examples=["4.2% of the samples are at full scale; at most 1.0% is accepted. Reduce the input gain."]
    )
    """What was found and what was expected."""


class BandDeparture(Schema):
    """Frequency band, and its deviation from normal recordings of the machine at the same loudness."""

    low_hz: Hertz = Field(ge=0, examples=[413.0])
    high_hz: Hertz = Field(gt=0, examples=[851.0])
    db: Decibels = Field(examples=[6.2])
    """Deviation from the mean of normal recordings, in dB; louder is above 0."""
    sigma: StandardDeviations = Field(examples=[7.9])
    """The same deviation, in standard deviations of normal recordings."""
    share: RoundedShare = Field(examples=[0.61])
    """Share of this band in the sum of the squared deviations of all mel bands, each in standard deviations. The shares
    add up to 1, except for rounding."""
    hall_db: Decibels | None = Field(examples=[4.1])
    """Part of `db` that was in the hall too, by the reference channel: it does not count for `sigma`, `share` and the
    score. Null without a reference channel, or if it was not used for this recording."""


class NearestRecording(Schema):
    """Normal recording of the training that is similar to this recording."""

    name: str = Field(examples=["fan/id_00/normal/00000012.wav"])
    """Name of the recording in its dataset."""
    db: Decibels = Field(ge=0, examples=[1.4])
    """Difference of the mean spectra at the same loudness, in dB: RMS over the mel bands."""


class NoveltyReasons(Schema):
    """Reasons for the detector's result in the most anomalous clip."""

    bands: list[BandDeparture] = Field(validation_alias=AliasPath("band_deviations"))
    """Deviation of each band from normal recordings, the largest share first. It is measured in the recording, unlike
    the `bands` of a classifier, which are derived from the score."""
    level_change_db: Decibels | None = Field(examples=[-1.3])
    """How much louder the recording is than normal ones, in dB; softer is below 0. It does not affect the score. Null
    if it is not known."""
    nearest: list[NearestRecording]
    """Most similar normal recordings, the nearest first."""
    in_the_hall: str | None = Field(
        examples=["6.2 dB louder at 413 to 851 Hz; 4.1 dB of it are in the hall too and do not count."]
    )
    """The band in which the hall has changed most, in words. Null if it has changed by less than 1 dB, or without a
    reference channel."""


class NoveltyFacts(Schema):
    """Measurements of the detector in the most anomalous clip."""

    times: float = Field(ge=0, examples=[9.4])
    """Relative distance: distance from normal divided by the typical distance of normal recordings."""
    p_value: float = Field(gt=0, le=1, examples=[0.012])
    """Share of normal recordings that are at least as far from normal, from the calibration of the detector."""
    engine: str = Field(examples=["discriminant"])
    """Engine with the largest relative distance."""
    compared_with: str = Field(examples=["fan/id_00"])
    """Machine that the recording was compared with: the named machine if the detector knows it, otherwise the most
    similar one. Empty if the training had no names of machines."""
    machine_known: bool = Field(examples=[True])
    """Whether a machine was named that the detector knows."""


class NamingFacts(Schema):
    """Result of the classifier of known faults, in a model that also has a detector."""

    score: Share = Field(examples=[0.9309])
    """Score of the classifier: p(f) / (p(f) + p(h)), with p(f) the probability of the most probable fault and p(h) that
    of the most probable normal class."""
    threshold: Share = Field(examples=[0.5])
    """Threshold of the classifier. If its score is above it, the recording is a known fault."""
    farthest: Share = Field(examples=[0.953])
    """Limit for the detector's score. Above it, the recording is farther from normal than all known faults, and its
    label is `unknown_fault`."""


class MachineEntry(Schema):
    """Place of the recording in the record of its machine."""

    machine_id: MachineId
    """Name of the record."""
    recorded_at: Timestamp
    """Time of the recording. The record is in the order of these times."""
    time_from: TimeSource = Field(examples=["arrival"])
    """`request`: from `recorded_at`. `file`: from the file (bext or ICRD of a WAV file, a comment of a FLAC file).
    `name`: from the name of the file. `arrival`: the time is not known, and this is the time of the answer."""
    counted: bool | None = Field(examples=[True])
    """Whether the recording counts. `false`: the same bytes were recorded for this machine before, so that this is a
    repeated upload. Null if the record cannot be read now."""
    first_at: Timestamp | None = Field(examples=[None])
    """Time of the answer that counts; null unless `counted` is false."""


class PredictResponse(Schema):
    """Verdict on one recording, with the measurements that it follows from."""

    verdict: VerdictValue = Field(examples=["anomalous"])
    """Read this field first. `unusable`: the recording cannot be judged, for the reason in `unusable` and `message`.
    `label`, `score`, `timeline`, `classes` and `novelty` are then measurements, but no verdict on the machine."""
    message: str = Field(examples=["Component is imbalanced"])
    """Text for people."""
    label: str = Field(examples=["imbalance"])
    """Name of the class. `unknown_fault`: the recording is far from normal and matches no known fault."""
    score: Share = Field(examples=[0.9309])
    """0 to 1; higher is more anomalous. With a detector: r / (1 + r), with r the relative distance `novelty.times`. For
    a classifier alone: p(f) / (p(f) + p(h)), with p(f) the probability of the most probable fault and p(h) that of the
    most probable normal class."""
    threshold: Share = Field(examples=[0.5])
    """A recording with a score above it is anomalous."""
    false_alarm_rate: Share | None = Field(examples=[None])
    """Expected share of normal recordings above the threshold; null if it was never measured."""
    rate_holds_for: RateHoldsFor | None = Field(examples=[None])
    """`new_session`: this rate holds for recordings of sessions that were never recorded. `same_session`: only for
    recordings of the sessions that the model has learned from. Null for a model without scores of normal
    recordings."""
    classes: list[ClassProbability]
    """Classes of the model, in its order, with their probabilities in the most anomalous clip. Empty for a detector
    alone."""
    timeline: list[TimelineWindow]
    """Clips of the recording, in time order. The most anomalous clip decides the verdict."""
    bands: list[BandShare] | None
    """Frequency bands that a classifier's score depends on, the largest drop first. Null without `explain=true`. Empty
    if the model has a detector; see `reasons.bands` then.

    Neighbouring bands overlap. A score near 0 or 1 may depend on no single band."""
    novelty: NoveltyFacts | None
    """Null if the model has no detector."""
    known_faults: NamingFacts | None
    """Null unless the model has a classifier and a detector. With both, a known fault is anomalous even
    if `score` is not above `threshold`."""
    reasons: NoveltyReasons | None
    """Null without a detector, or without `explain=true`."""
    unusable: Unjudged | None
    """Null if the recording can be judged. A model without a detector checks only what needs no normal recordings, and
    one of an earlier version nothing."""
    quality: RecordingQuality
    machine: MachineEntry | None
    """Null without `machine_id`."""
    model: AnsweringModel

    @classmethod
    def of(
        cls, verdict: Verdict, bands: Sequence[OcclusionBand] | None = None, entry: RecordEntry | None = None
    ) -> "PredictResponse":
        """Return the answer for a verdict, with occlusion bands if they were requested.

        Args:
            verdict: the verdict.
            bands: occlusion bands; None if they were not requested.
            entry: place in the record of the machine; None without a machine.
        """
        worst = verdict.worst
        return cls.model_validate(
            {
                "verdict": verdict.value,
                "message": verdict.message,
                "label": worst.label.name,
                "score": worst.score,
                "threshold": verdict.threshold,
                "false_alarm_rate": verdict.false_alarm_rate,
                "rate_holds_for": verdict.rate_holds_for,
                "classes": verdict.class_probabilities,
                "timeline": verdict.timeline,
                "bands": bands,
                "novelty": _novelty(verdict),
                "known_faults": _fault_rule_facts(verdict),
                "reasons": verdict.explanation,
                "unusable": verdict.unusable,
                "quality": verdict.quality,
                "machine": entry,
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
    score, fault_rule = verdict.worst.classifier_score, verdict.fault_rule
    if score is None or fault_rule is None:
        return None
    return NamingFacts(score=score, threshold=fault_rule.threshold, farthest=fault_rule.max_named_distance)


class BatchItem(Schema):
    """Result of one file of a batch: either a verdict or an error."""

    file_name: str = Field(examples=["pb1.wav"])
    """Name that the client gave."""
    prediction: PredictResponse | None
    error: Problem | None


class BatchResponse(Schema):
    """Results, in the order of the files."""

    results: list[BatchItem]
