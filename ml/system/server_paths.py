"""Paths of this computer in texts that leave it: a client has no use for them, and they describe the computer."""

import os
import re
from pathlib import Path

# Folders of an absolute path. Routes of the service begin with /v1.
FOLDERS = re.compile(r"(?<![\w./:-])/(?!v1/)(?:[^\s/:;,'\"()<>]+/)+")


def hide_home(text: str, home: Path) -> str:
    """Return a text with paths below ``home`` relative to it.

    Args:
        text: message.
        home: SIGNALML_HOME.

    Example:
        >>> hide_home("No model is challenger in /srv/signalml/models.", Path("/srv/signalml"))
        'No model is challenger in models.'
    """
    for folder in {os.path.abspath(home), str(home.resolve())}:  # noqa: PTH100 - both, with and without links
        if folder != "/":
            text = text.replace(f"{folder}/", "").replace(folder, "SIGNALML_HOME")
    return text


def hide_folders(text: str, home: Path) -> str:
    """Return a text with paths below ``home`` relative to it, and other absolute paths without their folders.

    Args:
        text: message.
        home: SIGNALML_HOME.

    Example:
        >>> hide_folders("/mnt/nas/hall-3/a.csv cannot be read.", Path("/srv/signalml"))
        'a.csv cannot be read.'
    """
    return FOLDERS.sub("", hide_home(text, home))
