"""The names of the engines; without what the engines need, so that schemas and the command line start fast."""

from typing import Literal

EngineName = Literal["spectrum-gaussian", "distance", "neighbours", "fluctuation", "baseline"]
DEFAULT_ENGINES: tuple[EngineName, ...] = ("spectrum-gaussian", "distance")
"""The two find different faults: decision 14 has the table."""
REMOVED_ENGINES = ("subspace", "level", "autoencoder")
"""Engines of earlier versions. No evidence supported them: decision 14."""
