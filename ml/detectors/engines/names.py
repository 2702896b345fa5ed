"""Names of the engines, without importing them: schemas and the command line start fast."""

from typing import Literal

EngineName = Literal["spectrum-gaussian", "distance", "neighbours", "fluctuation", "baseline"]
DEFAULT_ENGINES: tuple[EngineName, ...] = ("spectrum-gaussian", "distance")
"""The two engines find different faults: decision 14 has the table."""
REMOVED_ENGINES = ("subspace", "level", "autoencoder")
"""Engines of earlier versions. No evidence supported them: decision 14."""
