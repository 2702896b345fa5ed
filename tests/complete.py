"""Programs that some tests need: without them, tests are skipped on a laptop and fail in CI."""

import os
import shutil
from pathlib import Path

import pytest

# Set by .ci/run, which installs the programs.
COMPLETE = "SIGNALML_TESTS_COMPLETE"
FAKETIME = "libfaketimeMT.so.1"
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


def require_program(name: str) -> str:
    """Return the path of a program; skip the test without it, or fail in CI."""
    return _require(shutil.which(name), name)


def require_faketime() -> str:
    """Return the path of libfaketime, for ``LD_PRELOAD``; skip the test without it, or fail in CI."""
    found = (path for folder in LIBRARIES for path in Path(folder).glob(f"**/faketime/{FAKETIME}"))
    return _require(next(map(str, found), None), "libfaketime")


def _require(found: str | None, name: str) -> str:
    if found is None:
        problem = f"{name} is not installed: apt-get install {name}"
        if os.environ.get(COMPLETE):
            pytest.fail(f"{problem}; {COMPLETE} is set")
        pytest.skip(problem)
    return found
