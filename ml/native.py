"""What the C and C++ below Python does to a process: its notes on stderr, and the memory it hands back too soon."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ml.errors import SignalMLError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
KEPT_BYTES = 256 * 2**20


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


@contextmanager
def notes_held_back() -> Iterator[TextIO]:
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
