"""Deadline for the progress of an answer: a client that does not read its answer loses its connection.

Without it, such a client holds a connection, a part of the answer in memory, and the work that makes the rest, for as
long as it likes.
"""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable

CHECK_S = 1.0
# An answer of 16 KiB in the default 30 s is about 4000 bits a second.
MIN_BYTES = 16 * 2**10


class WriteDeadline:
    """Watch of the bytes of one connection that its client has not taken yet.

    A client must take :data:`MIN_BYTES`, or everything that waits, within each ``limit_s``.

    Args:
        transport: the connection.
        loop: event loop of the connection.
        limit_s: seconds.
        on_stall: called once if the client has not taken enough.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        on_stall: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._limit_s = limit_s
        self._on_stall = on_stall
        self._waiting = self._taken = 0
        self._since = loop.time()
        self._timer = self._start_timer()

    def end(self) -> None:
        """End the watch: the connection has ended."""
        self._timer.cancel()

    def _start_timer(self) -> asyncio.TimerHandle:
        return self._loop.call_later(min(CHECK_S, self._limit_s / 4), self._check)

    def _check(self) -> None:
        waiting, now = _bytes_waiting(self._transport), self._loop.time()
        # What was written meanwhile hides a part of what was taken. With a check each second, a client that reads is
        # seen to take something often enough.
        self._taken += max(0, self._waiting - waiting)
        self._waiting = waiting
        if waiting == 0 or self._taken >= MIN_BYTES:
            self._taken, self._since = 0, now
        elif now - self._since > self._limit_s:
            self._on_stall()
            return
        self._timer = self._start_timer()


def _bytes_waiting(transport: asyncio.Transport) -> int:
    """Return the bytes that were written and not taken: those of the process, and those that the system has still."""
    return transport.get_write_buffer_size() + _bytes_in_system(transport)


def _bytes_in_system(transport: asyncio.Transport) -> int:
    """Return the bytes that the system has sent without an acknowledgement, or not sent; 0 if it cannot be known."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError):  # a closed socket, or a system without this call
        return 0
    return int(struct.unpack("i", answer)[0])
