"""Names of the methods to split a dataset."""

from typing import Literal

SplitMethod = Literal["auto", "group", "blocks", "machine", "given"]
