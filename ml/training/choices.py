"""Options of a training, declared once for the job schema, the command line and the table in the docs."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.dataset.splitting.method_names import SplitMethod
from ml.detectors.engines.names import EngineName
from ml.features.kinds import FeatureKind
from ml.models.names import NAME_PATTERN

Learn = Literal["classifier", "detector", "both"]
LabelsFrom = Literal["auto", "manifest", "groups", "binary"]
PromotionPolicy = Literal["always", "if-better", "never"]
LAST_CHANNEL = 63
ChannelIndex = Annotated[int, Field(ge=0, le=LAST_CHANNEL)]
LARGEST_SEED = 2**31 - 1  # the largest seed that every library accepts
FEWEST_FAULT_GROUPS, MOST_FAULT_GROUPS = 2, 9


class TrainingChoices(BaseModel):
    """Options that a user can choose; everything else follows from the recordings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")] | None = Field(default=None, examples=["fan-3"])
    """Beginning of the version's name; by default the name of the dataset."""
    learn: Learn = Field(default="classifier", examples=["detector"])
    """`classifier` of known faults (default), `detector` trained on normal recordings alone, or `both` in one model."""
    engines: Annotated[list[EngineName], Field(min_length=1, max_length=len(get_args(EngineName)))] | None = Field(
        default=None, examples=[None]
    )
    """Engines of the detector; by default `discriminant` and `distance` together."""
    reference_channel: ChannelIndex | None = Field(default=None, examples=[1])
    """Channel of a second microphone that records the hall, counted from 0. What it records too is not taken for a
    fault. Only for a detector; by default none."""
    main_channel: ChannelIndex | None = Field(default=None, examples=[0])
    """Channel of the machine's microphone, counted from 0; by default the mean of all channels but the reference."""
    training_kind: FeatureKind = Field(default="spectrum", examples=["spectrum"])
    """Features and network: `spectrum` (log-mel bands, default) or `original` (MFCCs, as in the original project)."""
    labels: LabelsFrom = Field(default="auto", examples=["auto"])
    """Classes: `manifest` (fault names), `groups`, `binary`, or `auto`: fault names if complete, else `binary`."""
    groups: Annotated[int, Field(ge=FEWEST_FAULT_GROUPS, le=MOST_FAULT_GROUPS)] | Literal["auto"] = Field(
        default=3, examples=[3]
    )
    """Number of fault groups, 2 to 9, or `auto` to choose it from the recordings; by default 3."""
    copies: int = Field(default=0, ge=0, le=20, examples=[0])
    """Number of augmented copies of each training recording, 0 to 20; by default none."""
    split: SplitMethod = Field(default="auto", examples=["auto"])
    """Held out for the test: `group` (sessions), `blocks`, `machine`, `given` (as the dataset states), or `auto`: as
    given if complete, else sessions if possible, else blocks."""
    held_out: str | None = Field(default=None, max_length=64, examples=[None])
    """Machine id, such as `id_02`, that the split `machine` holds out; by default drawn at random."""
    confirm_labels: bool = Field(default=False, examples=[False])
    """Train although names of files or folders contradict labels, such as `anomaly_1.wav` among the normal recordings;
    by default this is refused."""
    snr_db: float | None = Field(default=None, ge=-100, le=100, examples=[None])
    """Use only recordings with this signal-to-noise ratio, -100 to 100 dB; by default all."""
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1, examples=[0.01])
    """Share of normal recordings that may be false alarms, above 0 and below 1; by default 0.01, which is 1 %."""
    refit: bool = Field(default=True, examples=[True])
    """After the evaluation, fit again to all recordings and serve that model; this is the default."""
    epochs: int | None = Field(default=None, ge=1, le=1000, examples=[None])
    """Maximum number of epochs, 1 to 1000; by default 60, or 150 for the features `original`."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, examples=[0])
    """Seed of all random numbers, 0 to 2147483647; by default 0."""

    @model_validator(mode="after")
    def _engines_belong_to_a_detector(self) -> Self:
        if self.engines is not None and self.learn == "classifier":
            raise ValueError(
                "the engines are given, but learn is 'classifier'; engines need learn 'detector' or 'both'"
            )
        if self.engines is not None and len(set(self.engines)) < len(self.engines):
            raise ValueError(f"the engines are {', '.join(self.engines)}; each engine was expected once")
        return self

    @model_validator(mode="after")
    def _reference_belongs_to_a_detector(self) -> Self:
        if self.reference_channel is None:
            return self
        if self.learn == "classifier":
            raise ValueError(
                "a reference channel is given, but learn is 'classifier'; it needs learn 'detector' or 'both'"
            )
        if self.reference_channel == self.main_channel:
            raise ValueError(
                f"main_channel and reference_channel are both {self.main_channel}; two channels were expected"
            )
        return self
