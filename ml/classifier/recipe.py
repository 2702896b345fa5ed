"""What a network is made of and how it is fitted, as plain values: every choice that training has is here."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from ml.errors import InvalidParameter

Average = Literal["all", "frames"]
LARGEST_BATCH, MOST_EPOCHS = 4096, 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One family of networks: convolutions, an average, dense layers, a softmax.

    Attributes:
        scale: whether the input is first brought to mean 0 and deviation 1, by two numbers for all of it. Not row by
            row: that turned small drifts between sessions into the loudest thing there is (docs/decisions/0010).
        filters: for each, a convolution of ``kernel`` x ``kernel`` with ReLU, max pooling by ``pool`` and dropout.
        average: over ``all`` that is left, rows and frames, as the original; or over ``frames`` only, so that what
            happens at 200 Hz stays apart from what happens at 2 kHz.
        hidden: for each, a dense layer with ReLU and dropout.
        dropout: share of values left out while fitting.
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
            raise InvalidParameter(f"Network: {self} holds a size below 1, or a dropout outside 0 to 1.")

    def weight_shapes(self, shape: tuple[int, int], classes: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of kernels and biases in Keras's order, for an input of so many rows and frames."""
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
        """The original project's: three convolutions, the average of everything, a softmax."""
        return cls(scale=False, filters=(16, 32, 64), average="all", hidden=())

    @classmethod
    def spectrum(cls) -> Self:
        """The mean spectrum and one dense layer: what the recordings asked for (docs/decisions/0010)."""
        return cls(scale=True, filters=(), average="frames", hidden=(64,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is fitted.

    Attributes:
        network: what is fitted.
        epochs: at most.
        patience: epochs without a better validation loss after which fitting stops; the best epoch's weights are kept.
        settled: the first epoch that may be the best: a validation side of a few recordings is at times told apart by
            chance after two.
        batch: clips per step.
        steps_at_least: per epoch; a few recordings are gone through several times until there are so many.
        learning_rate: of Adam (D. Kingma and J. Ba, ICLR 2015).
        class_weights: whether each class counts the same, however many recordings it has.
        seed: of the weights, the order, the dropout.
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
            raise InvalidParameter(f"Recipe: {self.epochs} epochs; at most {MOST_EPOCHS} were expected.")
        if self.batch > LARGEST_BATCH or self.settled > self.epochs:
            raise InvalidParameter(
                f"Recipe: a batch of {self.batch} and epoch {self.settled} of {self.epochs} as the first that may be "
                f"the best; at most {LARGEST_BATCH} and {self.epochs} were expected."
            )
        if not 0 < self.learning_rate < 1:
            raise InvalidParameter(f"Recipe: a learning rate of {self.learning_rate}; 0 to 1 was expected.")

    @classmethod
    def original(cls, seed: int = 0) -> Self:
        """As the original meant it: its optimiser with this learning rate was made, and then not used."""
        return cls(network=NetworkSpec.original(), epochs=150, patience=150, batch=256, learning_rate=0.01, seed=seed)

    @classmethod
    def spectrum(cls, seed: int = 0) -> Self:
        """The default (docs/decisions/0010)."""
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
        """The same with at most so many epochs."""
        return replace(self, epochs=epochs, settled=min(self.settled, epochs))

    def passes(self, clips: int) -> int:
        """How many times an epoch goes through so many clips."""
        return math.ceil(self.steps_at_least / math.ceil(clips / self.batch))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the card."""
        return asdict(self)
