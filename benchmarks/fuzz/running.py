"""Targets that make their inputs themselves, and may need a running service."""

from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Protocol


class Fault(Exception):
    """An input had an effect that no input may have; the message describes the effect."""


class RunningTarget(Protocol):
    """One parser, prepared. Its module in ``targets`` has a function ``open_target``, see :class:`OpenTarget`."""

    memory_bytes: int
    """Largest growth of the memory of the process under test, after the first inputs."""

    def make(self, random: Random) -> bytes:
        """Return one input. The same random numbers give the same input."""

    def check(self, data: bytes) -> str:
        """Give one input to the parser; returns what became of it: ``accepted``, or the code of a clear refusal.

        Raises:
            Fault, or any other exception: the answer is a fault.
        """

    def memory(self) -> int:
        """Return the resident memory of the process under test now, in bytes."""


class OpenTarget(Protocol):
    """Function that prepares a target in an empty folder, and cleans up after it."""

    def __call__(self, folder: Path) -> AbstractContextManager[RunningTarget]:
        """Prepare the target."""
