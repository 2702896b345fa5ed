"""The two servers as a user starts them: each a process of its own, on a free port, in a temporary home."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.inference import load, samples

READY_WITHIN_S = 120.0
POLL_S = 0.005
STOP_WITHIN_S = 30.0
MIB = 2**20


class ServerFailed(RuntimeError):
    """A server ended, or was not ready in time; the message ends in the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How a server is started, and which routes it is measured by; the first is what the other server has too.

    Attributes:
        name: in tables and results.
        command: without the port.
        port_option: how the command line names the port; None where ``SIGNALML_PORT`` does.
        ready_path: answered with 200 when, and not before, the model is loaded.
        routes: keys of :data:`benchmarks.inference.load.ROUTES`.
        environment: on top of the user's.
        folder: where it is started.
    """

    name: str
    command: tuple[str, ...]
    port_option: str | None
    ready_path: str
    routes: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """Resident memory of a server's processes, in MiB. ``peak`` is the highest that the largest process ever had."""

    processes: int
    largest: float
    total: float
    peak: float | None


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready; ``started`` on the clock of ``time.perf_counter``."""

    process: subprocess.Popen[bytes]
    port: int
    started: float
    ready_s: float

    def memory(self) -> ServerMemory:
        """Resident memory now."""
        main = psutil.Process(self.process.pid)
        processes = [main, *main.children(recursive=True)]
        resident = {process.pid: process.memory_info().rss / MIB for process in processes}
        largest = max(resident, key=lambda pid: resident[pid])
        return ServerMemory(len(processes), resident[largest], sum(resident.values()), _peak_mib(largest))


def original(data: Path) -> ServerSpec:
    """The original's way."""
    return ServerSpec(
        name="original's way",
        command=(sys.executable, "-m", "benchmarks.inference.original", "--data", str(data.resolve())),
        port_option="--port",
        ready_path="/",
        routes=("/inference",),
        environment={},
        folder=samples.REPOSITORY,
    )


def signalml(home: Path) -> ServerSpec:
    """This service, with its defaults."""
    return ServerSpec(
        name="signalml",
        command=(*_signalml_command(), "serve"),
        port_option=None,
        ready_path="/readyz",
        routes=("/inference", "/v1/predict"),
        environment={"SIGNALML_HOME": str(home)},
        folder=home,
    )


def import_model(home: Path, data: Path) -> None:
    """Import the original's network into ``home`` and make it the champion, as a user does.

    Raises:
        ServerFailed: the command failed.
    """
    command = [*_signalml_command(), "models", "import", str(samples.weights(data).resolve()), "--promote"]
    environment = _environment({"SIGNALML_HOME": str(home)})
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"{' '.join(command[-4:])} failed:\n{done.stderr[-2000:]}")


def _signalml_command() -> tuple[str, ...]:
    """The installed command beside this Python; where there is none, the module that it runs."""
    installed = Path(sys.executable).with_name("signalml")
    return (str(installed),) if installed.exists() else (sys.executable, "-m", "cli.main")


def _environment(extra: dict[str, str]) -> dict[str, str]:
    """The user's environment without settings of this service, which would make it another than the default one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGNALML_")}
    return kept | extra


@contextmanager
def run_server(server: ServerSpec, log: Path) -> Iterator[RunningServer]:
    """Start ``server``, wait until it is ready, and stop it at the end.

    Raises:
        ServerFailed
    """
    port = _free_port()
    environment = _environment(server.environment | {"SIGNALML_PORT": str(port)})
    command = [*server.command, *([server.port_option, str(port)] if server.port_option else [])]
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, cwd=server.folder, stdout=output, stderr=output)
        try:
            _wait_until_ready(process, port, server, log)
            yield RunningServer(process, port, started, time.perf_counter() - started)
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, server: ServerSpec, log: Path) -> None:
    give_up = time.perf_counter() + READY_WITHIN_S
    while time.perf_counter() < give_up:
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} ended with status {process.returncode}:\n{_tail(log)}")
        try:
            if load.get(port, server.ready_path) == 200:
                return
        except OSError:
            pass
        time.sleep(POLL_S)
    raise ServerFailed(f"{server.name} was not ready within {READY_WITHIN_S:g} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((load.HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _peak_mib(pid: int) -> float | None:
    """Linux keeps the high-water mark of resident memory; elsewhere there is none to be had."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None
