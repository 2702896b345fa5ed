"""Random changes of valid inputs."""

import random
import struct
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 2, 7, 8, 15, 16, 24, 31, 32, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000)
LARGE = (0x7FFFF000, 0xFFFFFFFE, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


class Mutator:
    """Maker of changed inputs from a seed of the random numbers.

    Args:
        seeds: valid inputs.
        words: byte strings to insert.
        head_bytes: most changes are made in as many bytes at the start.
        seed: seed of the random numbers.
    """

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes], head_bytes: int, seed: int) -> None:
        self._seeds, self._words, self._head_bytes = seeds, words or (b"\0",), head_bytes
        self._random = random.Random(seed)

    def make(self) -> bytes:
        """Return a valid input with one to eight changes."""
        data = bytearray(self._random.choice(self._seeds))
        for _ in range(1 + int(self._random.expovariate(0.7))):
            self._random.choice(CHANGES)(self, data)
        return bytes(data)

    def _at(self, data: bytearray) -> int:
        """Return a position: in the head mostly, otherwise anywhere."""
        end = min(len(data), self._head_bytes) if self._random.random() < 0.85 else len(data)
        return self._random.randrange(end + 1)

    def set_byte(self, data: bytearray) -> None:
        """Replace a byte."""
        at = self._at(data)
        data[at : at + 1] = bytes([self._random.randrange(256)])

    def flip_bit(self, data: bytearray) -> None:
        """Change one bit."""
        if data:
            data[min(self._at(data), len(data) - 1)] ^= 1 << self._random.randrange(8)

    def set_number(self, data: bytearray) -> None:
        """Write a number of 2, 4 or 8 bytes that is often special."""
        kind = self._random.choice("HIQ")
        order = self._random.choice("<>")
        value = self._random.choice((*NUMBERS, *LARGE, self._random.getrandbits(64)))
        packed = struct.pack(order + kind, value & (1 << 8 * struct.calcsize(kind)) - 1)
        at = self._at(data)
        data[at : at + len(packed)] = packed

    def add_to_number(self, data: bytearray) -> None:
        """Change a number of 4 bytes a little."""
        at = self._at(data)
        if at + 4 <= len(data):
            order = self._random.choice("<>")
            (value,) = struct.unpack_from(order + "I", data, at)
            struct.pack_into(order + "I", data, at, (value + self._random.choice((-8, -2, -1, 1, 2, 8))) & 0xFFFFFFFF)

    def cut(self, data: bytearray) -> None:
        """Cut off the end."""
        del data[self._at(data) if self._random.random() < 0.3 else self._random.randrange(len(data) + 1) :]

    def drop(self, data: bytearray) -> None:
        """Remove up to 16 bytes."""
        at = self._at(data)
        del data[at : at + self._random.randrange(1, 17)]

    def repeat(self, data: bytearray) -> None:
        """Repeat up to 64 bytes, up to 100 times."""
        at = self._at(data)
        part = data[at : at + self._random.randrange(1, 65)]
        if len(data) < 1 << 20:
            data[at:at] = part * self._random.choice((1, 2, 100))

    def insert_word(self, data: bytearray) -> None:
        """Insert or write a word that the parser knows."""
        at = self._at(data)
        word = self._random.choice(self._words)
        data[at : at + (len(word) if self._random.random() < 0.5 else 0)] = word

    def splice(self, data: bytearray) -> None:
        """Continue with a part of another input."""
        other = self._random.choice(self._seeds)
        at = self._at(data)
        data[at:] = other[self._random.randrange(len(other) + 1) :]


CHANGES: tuple[Callable[[Mutator, bytearray], None], ...] = (
    *(Mutator.set_byte, Mutator.flip_bit, Mutator.set_number, Mutator.set_number, Mutator.add_to_number),
    *(Mutator.cut, Mutator.drop, Mutator.repeat, Mutator.insert_word, Mutator.insert_word, Mutator.splice),
)
