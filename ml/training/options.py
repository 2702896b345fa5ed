"""The options of one training: its recordings, what was chosen, and what follows from that."""

from pathlib import Path
from typing import Any, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from ml.classifier.recipe import Recipe
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.errors import InvalidName, InvalidParameter
from ml.features.augmentation import Augmentation
from ml.system.validation import Error, describe_errors
from ml.training.choices import TrainingChoices

# Gain of up to so many dB, up or down, for the evaluation that must not depend on loudness.
GAIN_DB = 6.0


class TrainingOptions(TrainingChoices):
    """A training, described: where its recordings are, and what was chosen.

    Raises:
        InvalidName: the name is no model name.
        InvalidParameter: a choice that there is not.
    """

    source: Path
    """A folder of recordings, or a manifest."""

    @model_validator(mode="wrap")
    @classmethod
    def _translate(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        for engine in values.get("engines") or ():
            engine_by_name(engine)
        try:
            return handler(values)
        except ValidationError as error:
            place = error.errors()[0]["loc"][:1]
            errors: list[Error] = [dict(each) for each in error.errors() if each["loc"][:1] == place]
            if place == ("name",):
                raise InvalidName(
                    f"{values['name']!r} is no name for a model: lower-case letters, digits, '.', '_' and '-', at most "
                    "48, the first a letter or a digit."
                ) from error
            raise InvalidParameter(describe_errors(errors)) from error

    @property
    def model_name(self) -> str:
        """What the version's name begins with."""
        if self.name is None:
            raise InvalidName(f"The training of {self.source.name} has no name for its model; one was expected.")
        return self.name

    @property
    def engine_names(self) -> tuple[str, ...]:
        """The engines of the detector."""
        return tuple(self.engines or DEFAULT_ENGINES)

    @property
    def augmentation(self) -> Augmentation | None:
        """How copies of the training recordings differ from them; None without copies."""
        return Augmentation.everything(self.copies, self.seed) if self.copies else None

    @property
    def recipe(self) -> Recipe:
        """How the network is fitted."""
        recipe = Recipe.original(self.seed) if self.training_kind == "original" else Recipe.spectrum(self.seed)
        return recipe if self.epochs is None else recipe.with_epochs(self.epochs)

    def with_changes(self, **changes: Any) -> Self:
        """The same options but for some.

        Raises:
            InvalidName, InvalidParameter
        """
        return type(self)(**(self.model_dump() | changes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the card and the cache key; the source by its name alone.

        The keys are those of the first release, which cards and cache keys of earlier trainings have too.
        """
        values = self.model_dump()
        kind = values.pop("training_kind")
        return values | {"source": self.source.name, "engines": list(self.engine_names), "kind": kind}
