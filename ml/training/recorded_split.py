"""Recorded split of a training: the side of each recording."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ml.dataset.entries import Entry
from ml.training.paths import SPLIT, records_folder

TEST = "test"
# Side of recordings that were tested on first, and that the served model was then fitted to.
TEST_THEN_FITTED = "test, then fitted"


@dataclass(frozen=True, slots=True)
class RecordedSplit:
    """Side of each recording of a training, by audio hash.

    The sides are ``train``, ``validation``, ``test`` and ``left out``. Test recordings that the final fit has learned
    from are on the side ``test, then fitted``.
    """

    sides: Mapping[str, str]

    @classmethod
    def read(cls, home: Path, version: str) -> Self | None:
        """Read ``<home>/training/<version>/split.csv``; None for a model that was not trained in this home."""
        file = records_folder(home, version) / SPLIT
        if not file.is_file():
            return None
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            return cls({row["audio_hash"]: row["side"] for row in csv.DictReader(lines)})

    def side(self, entry: Entry) -> str | None:
        """Return the side of a recording; None if it was not part of the training."""
        return self.sides.get(entry.audio_hash)

    def served_model_saw(self, entry: Entry) -> bool:
        """Whether the served model has seen a recording. Recordings that were left out count as seen."""
        return self.side(entry) not in (TEST, None)

    def evaluated_model_saw(self, entry: Entry) -> bool:
        """Whether the measured model has seen a recording. It has seen no recording of the test side."""
        return self.side(entry) not in (TEST, TEST_THEN_FITTED, None)
