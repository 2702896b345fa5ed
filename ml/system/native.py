"""Process settings below Python: memory of glibc, priority, signals, native output on stderr."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any, TextIO

from ml.errors import SignalMLError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 256 * 2**20
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@cache
def c_library() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None)


def reuse_memory() -> None:
    """Let glibc keep up to 256 MiB of freed memory for the next recording; without glibc, do nothing.

    By default, glibc returns blocks of 128 KiB and more to the kernel, which then clears each page again. Measured: a
    10 s recording of 8 channels takes 4.3 ms of CPU by default, and 3.2 ms with this setting. It applies to the whole
    process, and is for processes that judge many recordings.
    """
    mallopt = getattr(c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def set_idle_priority() -> None:
    """Let this thread, and threads that it starts later, run only on idle cores (Linux only).

    A thread with the policy SCHED_IDLE stops as soon as another thread needs the core. A thread with niceness 19 first
    finishes its time slice of some milliseconds. An ordinary user cannot undo this.
    """
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # a sandbox can forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def signal_on_parent_death(parent: int, number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends, for any reason (Linux only).

    Args:
        parent: process id of the parent; if the parent is another process now, the signal is sent at once.
        number: the signal.
    """
    if sys.platform == "linux":
        c_library().prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def start_in_new_session(
    command: Sequence[str], death_signal: signal.Signals = signal.SIGTERM, **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a command that ignores the terminal's Ctrl-C and gets a signal when this process ends.

    The kernel also sends the signal when the thread that called this function ends.

    Args:
        command: the command; never text from a client.
        death_signal: the signal.
        options: keyword arguments of ``subprocess.Popen``.
    """
    # preexec_fn runs in the forked process. It can hang only if another thread held a lock during the fork, such as
    # that of the loader of libraries: so the C library is looked up before the fork.
    c_library()
    stop_with_parent = partial(signal_on_parent_death, os.getpid(), death_signal)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=stop_with_parent, **options)  # noqa: S603 - no text from a client


@contextmanager
def quiet_native_stderr() -> Iterator[TextIO]:
    """Hide the messages of TensorFlow and LiteRT on stderr, unless an unexpected error occurs.

    Yields:
        A stream that still writes to stderr.
    """
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", buffering=1) as terminal, tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield terminal
        except (SignalMLError, KeyboardInterrupt):
            raise
        except BaseException:  # the hidden messages can explain any other error
            notes.seek(0)
            terminal.write(notes.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal.fileno(), 2)
