"""What the C and C++ below Python does to a process: its notes on stderr, and the memory it hands back too soon."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO

from ml.errors import SignalMLError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 256 * 2**20
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def reuse_memory() -> None:
    """Let glibc keep what is freed, up to 256 MiB, for the next recording; elsewhere nothing happens.

    By default it hands blocks of 128 KiB and more back to the kernel, which then clears each page anew: measured, a
    10 s recording of 8 channels takes 4.3 ms of CPU with it and 3.2 ms without. For processes that judge one recording
    after another; it is set for the whole process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def set_idle_priority() -> None:
    """Let this thread, and those that it starts from now on, run only where no other wants the core (Linux only).

    A thread of the policy SCHED_IDLE is put aside the moment that another wakes up, where one of niceness 19 finishes
    its slice of some milliseconds first. There is no way back for an ordinary user.
    """
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # a sandbox may not allow it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def signal_on_parent_death(parent: int, number: signal.Signals) -> None:
    """Have this process sent a signal when its parent is gone, however that ended (Linux only: elsewhere it stays).

    Args:
        parent: the process id of the parent; where that is another by now, this process ends at once.
        number: which signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def start_in_new_session(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a command that a terminal's Ctrl-C does not reach, and that is told to stop when this process is gone.

    Args:
        command: what to start; never anything that a client has sent.
        options: of ``subprocess.Popen``.
    """
    # Only the process that was forked runs this; a thread that held a lock here would be needed for it to hang.
    tied = partial(signal_on_parent_death, os.getpid(), signal.SIGTERM)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=tied, **options)  # noqa: S603 - see above


@contextmanager
def quiet_native_stderr() -> Iterator[TextIO]:
    """Keep what TensorFlow and LiteRT write to stderr (that they found a CPU) from a reader, unless something breaks.

    Yields:
        A stream that still reaches stderr.
    """
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", buffering=1) as terminal, tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield terminal
        except (SignalMLError, KeyboardInterrupt):
            raise
        except BaseException:  # whatever it is, the notes may say why; raised again
            notes.seek(0)
            terminal.write(notes.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal.fileno(), 2)
