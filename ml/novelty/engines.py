"""Every engine by its name, and those that a detector has unless it is told otherwise."""

from typing import Literal

from ml.errors import InvalidParameter
from ml.novelty.autoencoder import Autoencoder
from ml.novelty.baseline import Baseline
from ml.novelty.distance import Distance
from ml.novelty.engine import Engine
from ml.novelty.fluctuation import Fluctuation
from ml.novelty.gaussian import SpectrumGaussian
from ml.novelty.level import Level
from ml.novelty.neighbours import Neighbours
from ml.novelty.subspace import Subspace

EngineName = Literal[
    "spectrum-gaussian", "distance", "neighbours", "subspace", "fluctuation", "level", "autoencoder", "baseline"
]
ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        *(SpectrumGaussian(), Distance(), Neighbours(), Subspace(), Fluctuation(), Level()),
        *(Autoencoder(), Baseline()),  # these need Keras to be fitted, and none to be asked
    )
}
# One hears what whitening brings out, the other what it hides: see decision 14 for the table.
DEFAULT = (SpectrumGaussian.name, Distance.name)


def by_name(name: str) -> Engine:
    """The engine of that name.

    Raises:
        InvalidParameter: there is none.
    """
    if name not in ENGINES:
        raise InvalidParameter(f"There is no engine {name!r}; one of {', '.join(ENGINES)} was expected.")
    return ENGINES[name]
