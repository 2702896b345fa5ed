"""Names of the methods to split a dataset."""

from typing import Literal

SplitMethod = Literal["auto", "group", "blocks", "machine", "given"]
# Sides of these methods can share a session, so their figures hold for the recorded sessions only.
METHODS_WITHIN_SESSIONS: tuple[SplitMethod, ...] = ("blocks", "given")
