"""Which recordings a model was fitted on, as its training has written it down."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ml.dataset.entries import Entry

TEST = "test"
# The side of what the recipe was measured on, and the served network then fitted to.
TEST_THEN_FITTED = "test, then fitted"


@dataclass(frozen=True, slots=True)
class RecordedSplit:
    """The sides of a training's split: ``train``, ``validation``, ``test`` or ``left out``, by audio hash.

    After a final fit to all sides the test side is called ``test, then fitted``.
    """

    sides: Mapping[str, str]

    @classmethod
    def read(cls, home: Path, version: str) -> Self | None:
        """Read ``<home>/training/<version>/split.csv``; None for a model that was not trained in this home."""
        file = home / "training" / version / "split.csv"
        if not file.is_file():
            return None
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            return cls({row["audio_hash"]: row["side"] for row in csv.DictReader(lines)})

    def side(self, entry: Entry) -> str | None:
        """On which side a recording was; None for one that the training has not seen."""
        return self.sides.get(entry.audio_hash)

    def served_model_saw(self, entry: Entry) -> bool:
        """Whether the network that serves was fitted, or chosen, by this recording; or it lay beside one that was."""
        return self.side(entry) not in (TEST, None)

    def evaluated_model_saw(self, entry: Entry) -> bool:
        """The same of the network that was measured, which no test side was ever shown to."""
        return self.side(entry) not in (TEST, TEST_THEN_FITTED, None)
