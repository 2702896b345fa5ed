"""On what, with what and of which commit a measurement was made; no host names, no paths."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.inference.samples import REPOSITORY

PACKAGES = (
    "ai-edge-litert",
    "fastapi",
    "flask",
    "keras",
    "librosa",
    "numba",
    "numpy",
    "python-multipart",
    "resampy",
    "scipy",
    "starlette",
    "tensorflow",
    "uvicorn",
    "uvloop",
    "werkzeug",
)


def machine() -> dict[str, Any]:
    """Processor, memory, system, and how busy it was just before: 1-minute load average."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def made() -> dict[str, Any]:
    """Date and commit; ``changed`` tells of files that no commit has."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def versions() -> dict[str, str]:
    """Python and the packages that either side answers with."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
