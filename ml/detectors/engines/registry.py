"""All engines by name."""

from ml.detectors.engines.baseline import Baseline
from ml.detectors.engines.discriminant import Discriminant
from ml.detectors.engines.distance import Distance
from ml.detectors.engines.engine import Engine
from ml.detectors.engines.fluctuation import Fluctuation
from ml.detectors.engines.gaussian import SpectrumGaussian
from ml.detectors.engines.names import DEFAULT_ENGINES, REMOVED_ENGINES
from ml.detectors.engines.neighbours import Neighbours
from ml.errors import InvalidParameter

# The baseline needs Keras for fitting, but not for scoring.
ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (Discriminant(), SpectrumGaussian(), Distance(), Neighbours(), Fluctuation(), Baseline())
}


def engine_by_name(name: str) -> Engine:
    """Return the engine with this name.

    Raises:
        InvalidParameter: there is no such engine, or it was removed.

    Example:
        >>> engine_by_name("distance").name
        'distance'
    """
    if name in REMOVED_ENGINES:
        raise InvalidParameter(
            f"The engine {name!r} is no longer part of signalml; "
            f"train the model again with {', '.join(DEFAULT_ENGINES)}."
        )
    if name not in ENGINES:
        raise InvalidParameter(f"There is no engine {name!r}; one of {', '.join(ENGINES)} was expected.")
    return ENGINES[name]
