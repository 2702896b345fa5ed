"""Names that become parts of paths: one check for ids of jobs, names of datasets, versions, keys and result files."""

import re
from pathlib import Path

from ml.errors import InvalidName
from ml.system.text import printable

PATH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
MAX_SHOWN = 80


def child(folder: Path, name: str, pattern: re.Pattern[str] = PATH_NAME) -> Path:
    """Return the path of the file or folder ``name`` directly in ``folder``, whether or not it exists.

    Names can come from records, archives and requests, so each is checked where it becomes a path.

    Args:
        folder: the folder.
        name: the name; never a path.
        pattern: stricter pattern of the whole name.

    Raises:
        InvalidName: the name does not match, or it leads out of the folder.

    Example:
        >>> child(Path("jobs"), "plan-7").as_posix()
        'jobs/plan-7'
    """
    if not isinstance(name, str) or not PATH_NAME.fullmatch(name) or not pattern.fullmatch(name):
        raise InvalidName(
            f"{printable(str(name))[:MAX_SHOWN]!r} cannot be the name of a file or folder in {folder.name}: letters, "
            "digits, dots, hyphens and underscores were expected, starting with a letter or a digit."
        )
    return folder / name
