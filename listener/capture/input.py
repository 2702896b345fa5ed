"""Input of a reader: bytes of samples from a program or a pipe."""

from typing import Protocol

from listener.sound import SourceState


class InputLost(Exception):
    """The input gives no more usable samples.

    Attributes:
        state: what happened.
        cause: why, as the tool reported it.
    """

    def __init__(self, state: SourceState, cause: str) -> None:
        super().__init__(cause)
        self.state, self.cause = state, cause


class Input(Protocol):
    """One connection to a source."""

    def read(self, timeout_s: float) -> bytes | None:
        """Return the bytes that arrived; ``b""`` without any in this time; None if the writer has gone.

        Raises:
            InputLost: the input ended.
        """

    def messages(self) -> str:
        """Return the last messages of the tool; empty without any."""

    def close(self) -> bool:
        """End it, without a process or a descriptor left. It can be called again.

        Returns:
            Whether it has ended; a program that hangs in the kernel does not end.
        """
