"""The choices of a training, declared once: job schema, command line and the table in the docs derive from them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ml.dataset.splitting.method_names import SplitMethod
from ml.detectors.engines.names import EngineName
from ml.features.kinds import FeatureKind
from ml.models.names import NAME_PATTERN

Learn = Literal["classifier", "detector", "both"]
LabelsFrom = Literal["auto", "manifest", "groups", "binary"]
PromotionPolicy = Literal["always", "if-better", "never"]
LARGEST_SEED = 2**31 - 1  # the largest that every library takes
FEWEST_FAULT_GROUPS, MOST_FAULT_GROUPS = 2, 9


class TrainingChoices(BaseModel):
    """What a person may choose about a training; the rest follows from the recordings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")] | None = Field(default=None, examples=["fan-3"])
    """What the version's name begins with; the dataset's name if left out."""
    learn: Learn = Field(default="classifier", examples=["detector"])
    """A classifier of known faults, a detector that learns from healthy recordings alone, or both in one model."""
    engines: Annotated[list[EngineName], Field(min_length=1)] | None = Field(default=None, examples=[None])
    """What a detector is made of; what the evidence chose if left out."""
    training_kind: FeatureKind = Field(default="spectrum", examples=["spectrum"])
    """What the network hears: see `features` of an extraction."""
    labels: LabelsFrom = Field(default="auto", examples=["auto"])
    """Classes from: faults that were named, groups found in the sound, or normal and abnormal alone."""
    groups: Annotated[int, Field(ge=FEWEST_FAULT_GROUPS, le=MOST_FAULT_GROUPS)] | Literal["auto"] = Field(
        default=3, examples=[3]
    )
    """How many groups of faults."""
    copies: int = Field(default=0, ge=0, le=20, examples=[0])
    """Augmented copies of each training recording."""
    split: SplitMethod = Field(default="auto", examples=["auto"])
    """What is held out to measure on."""
    held_out: str | None = Field(default=None, max_length=64, examples=[None])
    """The machine id that the split `machine` holds out."""
    snr_db: float | None = Field(default=None, ge=-100, le=100, examples=[None])
    """Only the recordings at this signal-to-noise ratio, in dB."""
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1, examples=[0.01])
    """Share of healthy recordings that may raise an alarm."""
    refit: bool = Field(default=True, examples=[True])
    """Once measured, fit once more, to all recordings, and serve that."""
    epochs: int | None = Field(default=None, ge=1, le=1000, examples=[None])
    """At most so many; the recipe's if left out."""
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, examples=[0])
    """Of everything that is drawn."""

    @model_validator(mode="after")
    def _engines_belong_to_a_detector(self) -> Self:
        if self.engines is not None and self.learn == "classifier":
            raise ValueError(
                "engines are what a detector is made of, and learn is 'classifier'; 'detector' or 'both' was expected"
            )
        if self.engines is not None and len(set(self.engines)) < len(self.engines):
            raise ValueError(f"engines are {', '.join(self.engines)}; each one once was expected")
        return self
