"""Programs that some tests need: without them, tests are skipped on a laptop and fail in CI."""

import os
import shutil

import pytest

# Set by .ci/run, which installs the programs.
COMPLETE = "SIGNALML_TESTS_COMPLETE"


def require_program(name: str) -> None:
    """Skip the test without this program; in CI, fail."""
    if shutil.which(name) is not None:
        return
    problem = f"{name} is not installed: apt-get install {name}"
    if os.environ.get(COMPLETE):
        pytest.fail(f"{problem}; {COMPLETE} is set")
    pytest.skip(problem)
