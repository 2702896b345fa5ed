"""One child process that writes samples to its stdout."""

import fcntl
import os
import re
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from listener.capture.causes import Credentials, Messages
from listener.capture.input import InputLost
from ml.errors import ProgramMissing
from ml.system.native import start_in_new_session

READ_BYTES = 2**17
PIPE_BYTES, MESSAGE_PIPE_BYTES = 2**20, 2**18
KILL_WAIT_S = 1.0
MAX_MESSAGES_READS = 32


class Command(NamedTuple):
    """Command that writes samples to stdout.

    Attributes:
        words: the program and its arguments.
        stdin: text for its stdin, such as an address with credentials: arguments are visible to all users.
        credentials: credentials that no message shows.
        noise: lines of stderr with one of these texts are left out.
        refused: a line of stderr that matches ends the program; the whole match is the cause.
    """

    words: tuple[str, ...]
    stdin: bytes = b""
    credentials: Credentials = Credentials()
    noise: tuple[str, ...] = ()
    refused: re.Pattern[str] | None = None

    @property
    def program(self) -> str:
        """Name of the program."""
        return Path(self.words[0]).name


class Program:
    """A running command. The thread that starts it must also close it: the kernel ends it with its thread.

    Raises:
        ProgramMissing: it cannot be started.
    """

    def __init__(self, command: Command) -> None:
        self._command = command
        self._messages = Messages(command.credentials, command.noise)
        self._process = _start(command)
        stdin, self._stdout, self._stderr = _pipes(self._process)
        self._out, self._err = self._stdout.fileno(), self._stderr.fileno()
        self._poll = select.poll()
        for file, size in ((self._out, PIPE_BYTES), (self._err, MESSAGE_PIPE_BYTES)):
            os.set_blocking(file, False)
            self._poll.register(file, select.POLLIN)
            _enlarge(file, size)
        with suppress(BrokenPipeError):
            os.write(stdin.fileno(), command.stdin)
        stdin.close()

    @property
    def pid(self) -> int:
        """Process id, which is also that of its group."""
        return self._process.pid

    def read(self, timeout_s: float) -> bytes:
        """Return the bytes that arrived within this time.

        Raises:
            InputLost: the program ended.
        """
        ready = dict(self._poll.poll(timeout_s * 1000))
        if self._err in ready:
            self._read_messages()
        if self._out not in ready:
            return b""
        try:
            data = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise InputLost("failed", self._ending())
        return data

    def messages(self) -> str:
        """Return its last messages."""
        self._read_messages(may_refuse=False)
        return self._messages.text()

    def close(self) -> bool:
        """Kill it and all processes of its group; wait for its end, for at most a second.

        Returns:
            Whether it has ended.
        """
        if self._process.returncode is not None:
            return True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._stdout.close()
        self._stderr.close()
        with suppress(subprocess.TimeoutExpired):  # only if a driver of the kernel hangs
            self._process.wait(KILL_WAIT_S)
        return self._process.returncode is not None

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended. It is not reaped, so that its id stays its own until :meth:`close`."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _ending(self) -> str:
        """Return how the program ended, with its last messages."""
        deadline = time.monotonic() + KILL_WAIT_S
        while not self.has_ended and time.monotonic() < deadline:
            time.sleep(0.01)
        how = f"ended with {self._status()}" if self.has_ended else "closed its output"
        messages = self.messages()
        return f"{self._command.program} {how}{f': {messages}' if messages else ''}"

    def _status(self) -> str:
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return "" if found is None else f"{'status' if found.si_code == os.CLD_EXITED else 'signal'} {found.si_status}"

    def _read_messages(self, may_refuse: bool = True) -> None:
        """Read what waits on stderr: a program that can write no message stops."""
        for _ in range(MAX_MESSAGES_READS):
            try:
                data = os.read(self._err, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                with suppress(KeyError):
                    self._poll.unregister(self._err)
                return
            for line in self._messages.add(data):
                refused = self._command.refused and self._command.refused.search(line)
                if refused and may_refuse:
                    raise InputLost("failed", refused[0])


def _enlarge(pipe: int, size: int) -> None:
    """Enlarge a pipe: the program goes on while this process is busy."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # an ordinary user has a limit for all pipes together
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], ...]:
    return tuple(pipe for pipe in (process.stdin, process.stdout, process.stderr) if pipe is not None)


def _start(command: Command) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGNALML_")}
    try:
        return start_in_new_session(
            command.words,
            death_signal=signal.SIGKILL,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=kept | {"LC_ALL": "C"},
            bufsize=0,
        )
    except OSError as error:
        raise ProgramMissing(f"{command.program} cannot be started: {error.strerror}.") from error
