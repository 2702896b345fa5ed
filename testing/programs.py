"""Programs that tests start, stop, kill and pause."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from testing.servers import wait_until

STOP_S = 5.0
WAITING_BYTES = 2**15


class PatientWriter:
    """Writer of a pipe whose reader may be late: what the pipe does not take waits, up to a second of sound.

    A pipe holds little if this computer has many of them. A writer that waited itself would stop the other outputs.

    Args:
        file: file descriptor of the pipe.
    """

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file, self._waiting = file, b""

    def write(self, data: bytes) -> None:
        """Write samples; drop them if too much waits.

        Raises:
            BrokenPipeError: nobody reads.
        """
        if len(self._waiting) < WAITING_BYTES:
            self._waiting += data
        with suppress(BlockingIOError):
            self._waiting = self._waiting[os.write(self._file, self._waiting) :]


class RunningProgram:
    """A program with all its children. Use it as a context manager, or with :meth:`start` and :meth:`stop`.

    Args:
        command: the program and its arguments.
        log: file of its stdout and stderr, which is appended to.
        ready: returns whether it can be used.
        variables: its environment; by default, that of this process.
        reads: whether :meth:`write` gives it stdin.
    """

    def __init__(
        self,
        command: Sequence[object],
        log: Path,
        ready: Callable[[], bool] = lambda: True,
        variables: Mapping[str, str] | None = None,
        reads: bool = False,
    ) -> None:
        self._command, self._log, self._ready = list(map(str, command)), log, ready
        self._variables, self._reads = variables, reads
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: PatientWriter | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it, and wait until it can be used."""
        self.launch()
        try:
            wait_until(self._is_ready)
        except BaseException:  # also Ctrl-C: nothing is left
            self.kill()
            raise
        return self

    def launch(self) -> None:
        """Start it without waiting."""
        with self._log.open("ab") as log:
            stdin = subprocess.PIPE if self._reads else subprocess.DEVNULL
            self._process = subprocess.Popen(
                self._command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=self._variables,
                start_new_session=True,
                bufsize=0,
            )
        if self._process.stdin is not None:
            self._writer = PatientWriter(self._process.stdin.fileno())

    def stop(self) -> None:
        """Let it end, and kill what is left of it."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """Kill it with its children, as a failing computer would."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = self._writer = None

    def pause(self) -> None:
        """Stop it without an end: its connections stay open, and nothing comes."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text(errors="replace")

    def write(self, data: bytes) -> None:
        """Write to its stdin; most is dropped if it does not read, and all if it does not run."""
        writer = self._writer
        if writer is not None:
            with suppress(OSError):  # it has ended
                writer.write(data)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return self._ready()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def accepts(address: int | str) -> bool:
    """Return whether a server accepts connections, at a port of this computer or at a socket file."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(address if isinstance(address, str) else ("127.0.0.1", address)) == 0
