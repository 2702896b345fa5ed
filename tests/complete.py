"""Programs that some tests need: without them, tests are skipped on a laptop and fail in CI."""

import os
import shutil
import subprocess

import pytest

from testing.listening import SYSTEM_PYTHON

# Set by .ci/run, which installs the programs.
COMPLETE = "SIGNALML_TESTS_COMPLETE"


def require_program(name: str) -> None:
    """Skip the test without this program; in CI, fail."""
    if shutil.which(name) is not None:
        return
    _miss(f"{name} is not installed: apt-get install {name}")


def require_rtsp_server() -> None:
    """Skip the test without the library of RTSP servers of the system's Python; in CI, fail."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if shutil.which(SYSTEM_PYTHON) and not subprocess.run((SYSTEM_PYTHON, "-c", check), capture_output=True).returncode:
        return
    _miss("the RTSP server is not installed: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")


def require_listening_programs() -> None:
    """Skip the test without a program that live listening meets; in CI, fail."""
    for program in ("pulseaudio", "pactl", "pacat", "ffmpeg", "icecast2", "mosquitto"):
        require_program(program)
    require_rtsp_server()


def _miss(problem: str) -> None:
    if os.environ.get(COMPLETE):
        pytest.fail(f"{problem}; {COMPLETE} is set")
    pytest.skip(problem)
