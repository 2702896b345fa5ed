"""Names of the false-alarm rates, in a module that imports nothing else."""

from typing import Literal

Sensitivity = Literal["low", "medium", "high"]
