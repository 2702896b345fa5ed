"""Every engine by its name, and those that a detector has unless it is told otherwise."""

from typing import Literal

from ml.detectors.engines.baseline import Baseline
from ml.detectors.engines.distance import Distance
from ml.detectors.engines.engine import Engine
from ml.detectors.engines.fluctuation import Fluctuation
from ml.detectors.engines.gaussian import SpectrumGaussian
from ml.detectors.engines.neighbours import Neighbours
from ml.errors import InvalidParameter

EngineName = Literal["spectrum-gaussian", "distance", "neighbours", "fluctuation", "baseline"]
# The baseline needs Keras to be fitted, and no Keras to score.
ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (SpectrumGaussian(), Distance(), Neighbours(), Fluctuation(), Baseline())
}
# The two find different faults: decision 14 has the table.
DEFAULT = (SpectrumGaussian.name, Distance.name)
# Engines of earlier versions. No evidence supported them: decision 14.
REMOVED = ("subspace", "level", "autoencoder")


def by_name(name: str) -> Engine:
    """The engine of that name.

    Raises:
        InvalidParameter: there is none.
    """
    if name in REMOVED:
        raise InvalidParameter(
            f"The engine {name!r} is no longer part of signalml; train the model again with {', '.join(DEFAULT)}."
        )
    if name not in ENGINES:
        raise InvalidParameter(f"There is no engine {name!r}; one of {', '.join(ENGINES)} was expected.")
    return ENGINES[name]
