"""Which recordings a model was fitted on, as its training has written it down."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ml.dataset import Entry


@dataclass(frozen=True, slots=True)
class Fitted:
    """The sides of a training's split: ``train``, ``validation``, ``test`` or ``left out``, by audio hash."""

    sides: Mapping[str, str]

    @classmethod
    def of(cls, home: Path, version: str) -> Self | None:
        """Read ``<home>/training/<version>/split.csv``; None for a model that was not trained in this home."""
        file = home / "training" / version / "split.csv"
        if not file.is_file():
            return None
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
            return cls({row["audio_hash"]: row["side"] for row in csv.DictReader(lines)})

    def side(self, entry: Entry) -> str | None:
        """On which side a recording was; None for one that the training has not seen."""
        return self.sides.get(entry.audio_hash)
