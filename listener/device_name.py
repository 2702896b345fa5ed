"""Name of a device, as it states it in events that it reports to another service."""

import platform
from pathlib import Path

from listener.options import LISTENER_FOLDER
from ml.system.atomic import make_folder, write_atomic

FILE = "device-name"
LONGEST = 64
UNNAMED = "listener"


def device_name(home: Path, wanted: str = "") -> str:
    """Return the name of the device: the wanted one, else that of its computer at the first call in this home.

    It is kept, because the name of a container is another one each time that it is made.

    Args:
        home: SIGNALML_HOME.
        wanted: name that a person chose; empty without one.

    Raises:
        OSError: the name cannot be kept.
    """
    if wanted:
        return wanted
    file = home / LISTENER_FOLDER / FILE
    known = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    if known:
        return known[:LONGEST]
    name = platform.node()[:LONGEST] or UNNAMED
    make_folder(file.parent)
    write_atomic(file, f"{name}\n".encode())
    return name
