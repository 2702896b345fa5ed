"""The kinds of features that a training can use."""

from typing import Literal

FeatureKind = Literal["spectrum", "original"]
"""``spectrum``: log-mel bands at the recordings' own rate. ``original``: the MFCCs of the original project."""
