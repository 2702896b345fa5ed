"""What is measured of a running service: memory, descriptors and threads of its processes, and files."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Folders of a home to which each job or training adds files on purpose; they are kept for days, or until removed.
GROWING = ("jobs", "models", "training")
QUEUE, API, WORKER = "queue", "api", "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """State of a service.

    Attributes:
        memory_mb: resident memory of its processes by kind: queue, API, workers.
        descriptors, threads: number of open files and of threads of all processes.
        processes: number of processes.
        temporary: number of files and folders in its folder for temporary files.
        files: number of files in the home, without those that each job or training leaves on purpose.
        hidden: number of hidden files and folders in the home: work that was begun.
    """

    memory_mb: dict[str, float]
    descriptors: int
    threads: int
    processes: int
    temporary: int
    files: int
    hidden: int


def measure(parent: psutil.Process, home: Path, temporary: Path) -> Measurement:
    """Measure a service and all its processes."""
    memory_mb = dict.fromkeys((API, WORKER, QUEUE), 0.0)
    descriptors = threads = processes = 0
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            with process.oneshot():
                memory_mb[_kind(process)] += process.memory_info().rss / 1e6
                threads += process.num_threads()
            descriptors += process.num_fds()
            processes += 1
    below = [path for path in home.rglob("*") if path.relative_to(home).parts[0] not in GROWING]
    return Measurement(
        memory_mb=memory_mb,
        descriptors=descriptors,
        threads=threads,
        processes=processes,
        temporary=sum(1 for _ in temporary.rglob("*")),
        files=sum(path.is_file() and not path.name.startswith(".") for path in below),
        hidden=sum(path.name.startswith(".") for path in home.rglob("*")),
    )


def _kind(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    if "server.conf" in command or process.name() in ("valkey-server", "redis-server"):
        return QUEUE
    return WORKER if " worker" in command else API
