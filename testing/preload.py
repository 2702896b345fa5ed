"""Small libraries in C that tests load into a process, with ``LD_PRELOAD``."""

import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent


def build(name: str, folder: Path) -> Path:
    """Compile ``testing/<name>.c`` with gcc into a folder; returns the library."""
    library = folder / f"{name}.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(FOLDER / f"{name}.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library
