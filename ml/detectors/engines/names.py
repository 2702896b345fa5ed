"""Names of the engines, without importing them: schemas and the command line start fast."""

from typing import Literal

EngineName = Literal["discriminant", "spectrum-gaussian", "distance", "neighbours", "fluctuation", "baseline"]
DEFAULT_ENGINES: tuple[EngineName, ...] = ("discriminant", "distance")
"""The two engines find different faults: decisions 14 and 18 have the tables."""
REMOVED_ENGINES = ("subspace", "level", "autoencoder")
"""Engines of earlier versions. No evidence supported them: decision 14."""
