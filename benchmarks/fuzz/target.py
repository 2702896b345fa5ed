"""What a target of the fuzzer is: how its inputs are made, and which answers to them are faults."""

from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Protocol


class Fault(Exception):
    """An input had an effect that no input may have; the message describes the effect."""


class Target(Protocol):
    """One parser.

    A module ``benchmarks/fuzz/<name>.py`` has a function ``open_target``, see :class:`OpenTarget`. Its docstring says
    what is tried.
    """

    memory_bytes: int
    """Largest growth of the memory of the process under test, after the first inputs."""

    def make(self, random: Random) -> bytes:
        """Return one input. The same random numbers give the same input."""

    def check(self, data: bytes) -> None:
        """Give one input to the parser; a clear refusal is a correct answer.

        Raises:
            Fault, or any other exception: the answer is a fault.
        """

    def memory(self) -> int:
        """Return the resident memory of the process under test now, in bytes."""


class OpenTarget(Protocol):
    """Function that prepares a target in an empty folder, and cleans up after it."""

    def __call__(self, folder: Path) -> AbstractContextManager[Target]:
        """Prepare the target."""
