"""Options of one training: its recordings, the choices, and the values that follow from them."""

from pathlib import Path
from typing import Any, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from ml.classifier.recipe import Recipe
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.errors import InvalidName, InvalidParameter
from ml.features.augmentation import Augmentation
from ml.models.names import LONGEST_NAME
from ml.system.validation import Error, describe_errors
from ml.training.choices import TrainingChoices

# Random gain of the evaluation that does not depend on loudness: at most this number of dB, up or down.
GAIN_DB = 6.0
CHANNELS = ("main_channel", "reference_channel")


class TrainingOptions(TrainingChoices):
    """Options of a training: the choices, and the recordings.

    Raises:
        InvalidName: the name is not a model name.
        InvalidParameter: a value is not allowed.
    """

    source: Path
    """Folder of recordings, or a manifest."""

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
                    f"{values['name']!r} is not a model name. A name has at most {LONGEST_NAME} lower-case letters, "
                    "digits, '.', '_' and '-', and begins with a letter or a digit."
                ) from error
            raise InvalidParameter(describe_errors(errors)) from error

    @property
    def model_name(self) -> str:
        """Beginning of the version's name."""
        if self.name is None:
            raise InvalidName(f"The training of {self.source.name} has no model name. Give it a name.")
        return self.name

    @property
    def engine_names(self) -> tuple[str, ...]:
        """Engines of the detector."""
        return tuple(self.engines or DEFAULT_ENGINES)

    @property
    def augmentation(self) -> Augmentation | None:
        """Augmentation of the training recordings; None without copies."""
        return Augmentation.everything(self.copies, self.seed) if self.copies else None

    @property
    def recipe(self) -> Recipe:
        """Recipe of the network's fit."""
        recipe = Recipe.original(self.seed) if self.training_kind == "original" else Recipe.spectrum(self.seed)
        return recipe if self.epochs is None else recipe.with_epochs(self.epochs)

    def with_changes(self, **changes: Any) -> Self:
        """Return the options with some changes.

        Raises:
            InvalidName: the name is not a model name.
            InvalidParameter: a value is not allowed.
        """
        return type(self)(**(self.model_dump() | changes))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the card and the cache key. The source is given by its name only.

        The keys are those of the first release, because cards and cache keys of earlier trainings use them. Channels
        are among them only if they are given. The confirmation of labels is none of them: it does not change the model.
        """
        not_given = {name for name in CHANNELS if getattr(self, name) is None}
        values = self.model_dump(exclude={"confirm_labels", *not_given})
        kind = values.pop("training_kind")
        return values | {"source": self.source.name, "engines": list(self.engine_names), "kind": kind}
