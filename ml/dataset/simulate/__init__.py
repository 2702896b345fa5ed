"""Fans that never existed, with three faults, in the MIMII layout: shafts, blades, bearings, flow and rooms."""

from ml.dataset.simulate.plan import FAULTS, Plan
from ml.dataset.simulate.tree import simulate

__all__ = ["FAULTS", "Plan", "simulate"]
