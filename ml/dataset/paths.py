"""Folders of datasets and computed features in ``SIGNALML_HOME``; no dataset name leads out of it."""

import re
from pathlib import Path

from ml.errors import InvalidName
from ml.system.validation import shorten

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def features_folder(home: Path) -> Path:
    """Return the folder of the feature store."""
    return home / "features"


def index_cache_file(home: Path) -> Path:
    """Return the file with the measured facts of recordings, shared by all indexing in this home."""
    return features_folder(home) / "index.jsonl"


def datasets_folder(home: Path) -> Path:
    """Return the folder that contains the datasets of a home."""
    return home / "datasets"


def dataset_folder(home: Path, name: str) -> Path:
    """Return the folder of the dataset ``name``, whether or not it exists.

    Raises:
        InvalidName: the name has too many characters, or characters that are not allowed.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidName(
            f"{shorten(name)!r} is not a valid dataset name: 1 to 64 lower-case letters, digits, dots, hyphens and "
            "underscores were expected, starting with a letter or a digit."
        )
    return datasets_folder(home) / name
