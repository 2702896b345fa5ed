"""Recipe of a classifier: the layers of its network and the settings of its fit, as plain values."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from ml.errors import InvalidParameter

Average = Literal["all", "frames"]
LARGEST_BATCH, MOST_EPOCHS = 4096, 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """Layers of a network: convolutions, an average, dense layers, a softmax.

    Attributes:
        scale: whether the input is first scaled to mean 0 and standard deviation 1, with two numbers for the whole
            input. Scaling each row made small drifts between sessions the largest differences (docs/decisions/0010).
        filters: number of filters of each convolution. Its kernel is ``kernel`` x ``kernel``; ReLU, max pooling by
            ``pool`` and dropout follow it.
        average: average over ``all`` rows and frames, as the original; or over ``frames`` only, which keeps
            frequencies apart.
        hidden: units of each dense layer. ReLU and dropout follow it.
        kernel: rows and frames of a convolution kernel.
        pool: rows and frames that max pooling combines.
        dropout: share of values set to 0 while fitting, 0 to below 1.

    Raises:
        InvalidParameter: a size is below 1, or ``dropout`` is out of range.
    """

    scale: bool
    filters: tuple[int, ...]
    average: Average
    hidden: tuple[int, ...]
    kernel: int = 2
    pool: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = (*self.filters, *self.hidden, self.kernel, self.pool)
        if min(sizes) < 1 or not 0 <= self.dropout < 1:
            raise InvalidParameter(f"Network: {self} has a size below 1, or a dropout outside 0 to 1.")

    def weight_shapes(self, shape: tuple[int, int], classes: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of kernels and biases in Keras's order.

        Args:
            shape: rows and frames of the input.
            classes: number of classes.
        """
        shapes: list[tuple[int, ...]] = []
        rows, channels = shape[0], 1
        for filters in self.filters:
            shapes += [(self.kernel, self.kernel, channels, filters), (filters,)]
            channels, rows = filters, (rows - self.kernel + 1) // self.pool
        width = channels if self.average == "all" else channels * rows
        for units in (*self.hidden, classes):
            shapes += [(width, units), (units,)]
            width = units
        return tuple(shapes)

    @classmethod
    def original(cls) -> Self:
        """Return the original project's network: three convolutions, an average, a softmax."""
        return cls(scale=False, filters=(16, 32, 64), average="all", hidden=())

    @classmethod
    def spectrum(cls) -> Self:
        """Return the default network (docs/decisions/0010): mean spectrum, one dense layer of 64, softmax."""
        return cls(scale=True, filters=(), average="frames", hidden=(64,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Network and settings of its fit.

    Attributes:
        network: layers of the network.
        epochs: maximum number of epochs, 1 to 4000.
        patience: fitting stops after this number of epochs without a lower validation loss. The weights of the best
            epoch are kept.
        settled: first epoch that may be the best. Earlier ones can separate a few validation recordings by chance.
        batch: clips per step, 1 to 4096.
        steps_at_least: minimum number of steps in an epoch; few clips are repeated to reach it.
        learning_rate: learning rate of Adam (D. Kingma and J. Ba, ICLR 2015), above 0 and below 1.
        class_weights: whether each class has the same total weight in the loss.
        seed: seed of weights, order and dropout.

    Raises:
        InvalidParameter: a value is out of range.
    """

    network: NetworkSpec
    epochs: int
    patience: int
    batch: int
    learning_rate: float
    settled: int = 1
    steps_at_least: int = 1
    class_weights: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch", "settled", "steps_at_least"):
            if getattr(self, name) < 1:
                raise InvalidParameter(f"Recipe: {name} is {getattr(self, name)}; 1 or more was expected.")
        if self.epochs > MOST_EPOCHS:
            raise InvalidParameter(f"Recipe: epochs is {self.epochs}; at most {MOST_EPOCHS} was expected.")
        if self.batch > LARGEST_BATCH or self.settled > self.epochs:
            raise InvalidParameter(
                f"Recipe: batch is {self.batch} and settled is {self.settled}; at most {LARGEST_BATCH} and the number "
                f"of epochs, {self.epochs}, were expected."
            )
        if not 0 < self.learning_rate < 1:
            raise InvalidParameter(
                f"Recipe: learning_rate is {self.learning_rate}; a number above 0 and below 1 was expected."
            )

    @classmethod
    def original(cls, seed: int = 0) -> Self:
        """Return the recipe that the original intended. It made this optimiser and then did not use it."""
        return cls(network=NetworkSpec.original(), epochs=150, patience=150, batch=256, learning_rate=0.01, seed=seed)

    @classmethod
    def spectrum(cls, seed: int = 0) -> Self:
        """Return the default recipe (docs/decisions/0010)."""
        return cls(
            network=NetworkSpec.spectrum(),
            epochs=60,
            patience=15,
            batch=16,
            learning_rate=0.003,
            settled=30,
            steps_at_least=50,
            seed=seed,
        )

    def with_epochs(self, epochs: int) -> Self:
        """Return this recipe with another maximum number of epochs."""
        return replace(self, epochs=epochs, settled=min(self.settled, epochs))

    def passes(self, clips: int) -> int:
        """Return how many times an epoch uses each of this number of clips."""
        return math.ceil(self.steps_at_least / math.ceil(clips / self.batch))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the card."""
        return asdict(self)
