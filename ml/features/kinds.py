"""Kinds of features that a training can use."""

from typing import Literal

FeatureKind = Literal["spectrum", "original"]
"""``spectrum``: log-mel bands at the sample rate of the recordings. ``original``: MFCCs of the original project."""
