"""What a person chooses about a training; the rest follows from the recordings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ml.classifier.recipe import MOST_EPOCHS, Recipe
from ml.dataset.splitting.methods import Method
from ml.detectors.engines.registry import DEFAULT, by_name
from ml.errors import InvalidName, InvalidParameter
from ml.features.augmentation import Augmentation
from ml.features.feature_specs import Kind
from ml.models.bundle import NAME_PATTERN

Learn = Literal["classifier", "detector", "both"]
LabelsFrom = Literal["auto", "manifest", "groups", "binary"]
# How far the gain of a recording is moved, either way, when it is asked whether loudness passes for skill.
GAIN_DB = 6.0
LARGEST_SEED = 2**31 - 1  # what every library takes
FEWEST_FAULT_GROUPS, MOST_FAULT_GROUPS = 2, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A training, described.

    Attributes:
        source: a folder of recordings or a manifest.
        name: what the version's name begins with.
        snr_db: only recordings of this signal-to-noise ratio; None for all.
        learn: ``classifier``: known faults, from recordings of them. ``detector``: what is far from healthy, from
            healthy recordings alone; abnormal ones only evaluate. ``both`` in one model.
        engines: what the detector is made of, names of :data:`ml.detectors.ENGINES`.
        kind: ``spectrum`` for the native rate and the network that the evidence chose, ``original`` for the original
            project's 22 050 Hz MFCCs and CNN.
        labels: what the classes are. ``manifest``: the faults that the recordings are labelled with. ``groups``: those
            found in the abnormal recordings, as the original. ``binary``: normal and abnormal. ``auto``: the faults
            where every abnormal recording names one, otherwise binary.
        groups: how many groups, 2 to 9, or ``auto`` for as many as the recordings bear out.
        copies: augmented copies of each training recording; 0 for none.
        split: how the held-out side is chosen, see :func:`ml.dataset.split`.
        held_out: the machine id that is held out, for the split ``machine``.
        false_alarm_rate: the share of healthy recordings that may raise an alarm, on which the threshold rests.
        refit: whether the model that is served is fitted once more, to all recordings, after it has been measured on
            those that were held out.
        epochs: at most; None for the recipe's.
        seed: of everything that is drawn.
    """

    source: Path
    name: str
    snr_db: float | None = None
    learn: Learn = "classifier"
    engines: tuple[str, ...] = DEFAULT
    kind: Kind = "spectrum"
    labels: LabelsFrom = "auto"
    groups: int | Literal["auto"] = 3
    copies: int = 0
    split: Method = "auto"
    held_out: str | None = None
    false_alarm_rate: float = 0.01
    refit: bool = True
    epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise InvalidName(
                f"{self.name!r} is no name for a model: lower-case letters, digits, '.', '_' and '-', at most 48, the "
                "first a letter or a digit."
            )
        for value, choices in ((self.learn, Learn), (self.kind, Kind), (self.labels, LabelsFrom), (self.split, Method)):
            if value not in get_args(choices):
                raise InvalidParameter(f"{value!r} is none of {', '.join(get_args(choices))}.")
        if self.groups != "auto" and not FEWEST_FAULT_GROUPS <= self.groups <= MOST_FAULT_GROUPS:
            raise InvalidParameter(
                f"{self.groups} groups; {FEWEST_FAULT_GROUPS} to {MOST_FAULT_GROUPS}, or auto, were expected."
            )
        if not 0 < self.false_alarm_rate < 1:
            raise InvalidParameter(f"A false-alarm rate of {self.false_alarm_rate}; 0 to 1 was expected.")
        if not self.engines or len(set(self.engines)) < len(self.engines):
            raise InvalidParameter(f"The engines are {self.engines}; one or more, each once, were expected.")
        for engine in self.engines:
            by_name(engine)
        if self.epochs is not None and not 1 <= self.epochs <= MOST_EPOCHS:
            raise InvalidParameter(f"{self.epochs} epochs; 1 to {MOST_EPOCHS} were expected.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InvalidParameter(f"A seed of {self.seed}; 0 to {LARGEST_SEED} was expected.")

    @property
    def augmentation(self) -> Augmentation | None:
        """What copies of the training recordings are."""
        return Augmentation.everything(self.copies, self.seed) if self.copies else None

    @property
    def recipe(self) -> Recipe:
        """How the network is fitted."""
        recipe = Recipe.original(self.seed) if self.kind == "original" else Recipe.spectrum(self.seed)
        return recipe if self.epochs is None else recipe.shortened(self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the card; the source by its name alone."""
        return asdict(self) | {"source": self.source.name, "engines": list(self.engines)}
