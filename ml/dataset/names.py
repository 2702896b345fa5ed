"""Names of datasets below ``SIGNALML_HOME``: one folder each, and never a way out of there."""

import re
from pathlib import Path

from ml.errors import InvalidName

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


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
    return home / "datasets" / name
