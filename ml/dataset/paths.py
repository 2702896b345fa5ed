"""Where datasets, and what was computed from them, lie below ``SIGNALML_HOME``; never a way out of there."""

import re
from pathlib import Path

from ml.errors import InvalidName

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def features_folder(home: Path) -> Path:
    """Where features are kept."""
    return home / "features"


def index_cache_file(home: Path) -> Path:
    """Where what was measured of recordings is kept, for everything that indexes in this home."""
    return features_folder(home) / "index.jsonl"


def datasets_folder(home: Path) -> Path:
    """Where the datasets of a home lie."""
    return home / "datasets"


def dataset_folder(home: Path, name: str) -> Path:
    """Where the dataset ``name`` of a home lies, whether or not there is one.

    Raises:
        InvalidName: the name has other characters than a folder's name may have, or more of them.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no name for a dataset: 1 to 64 lower-case letters, digits, dots, hyphens and underscores "
            "were expected, the first one a letter or a digit."
        )
    return datasets_folder(home) / name
