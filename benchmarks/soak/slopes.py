"""Slopes of measurements over time, with confidence intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

CONFIDENCE = 0.95
# Share of the measurements at the start that do not count: caches fill, and libraries are loaded.
WARM_UP = 0.25


class Slope(NamedTuple):
    """Growth over a whole run, with its 95 % interval, in the unit of the measurement."""

    growth: float
    low: float
    high: float

    def is_bounded(self, bound: float) -> bool:
        """Whether no growth is shown, or the growth is at most, with this confidence, ``bound``."""
        return self.low <= 0 or self.high <= bound


def slope(values: Sequence[float]) -> Slope:
    """Fit a line to all but the first quarter of evenly spaced measurements.

    ``b = sum (x - mean x)(y - mean y) / sum (x - mean x)^2``; the interval is ``b +- t s / sqrt(sum (x - mean x)^2)``
    with the standard deviation ``s`` of the residuals and Student's t with n - 2 degrees of freedom. Neighbouring
    measurements are alike, which this does not know: the interval is a little too narrow.

    Args:
        values: at least six measurements.

    Returns:
        The growth of the line over all measurements, the first quarter included.
    """
    y = np.asarray(values[math.floor(WARM_UP * len(values)) :], float)
    x = np.arange(len(y)) - (len(y) - 1) / 2
    spread = float(np.square(x).sum())
    steepness = float((x * y).sum()) / spread
    residuals = y - y.mean() - steepness * x
    error = math.sqrt(float(np.square(residuals).sum()) / (len(y) - 2) / spread)
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(y) - 2)) * error
    steps = len(values) - 1
    return Slope(steepness * steps, (steepness - half) * steps, (steepness + half) * steps)


def print_slopes(slopes: Mapping[str, Slope], bounds: Mapping[str, float], console: Console, digits: int = 1) -> bool:
    """Print one row for each value; returns whether all are bounded."""
    table = Table("", "growth over the run", "95 % interval", "bound", "", box=None)
    for name, found in slopes.items():
        passed = found.is_bounded(bounds[name])
        interval = f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
        outcome = "pass" if passed else "[red]fail"
        table.add_row(name, f"{found.growth:+.{digits}f}", interval, f"{bounds[name]:g}", outcome)
    console.print(table)
    return all(found.is_bounded(bounds[name]) for name, found in slopes.items())
