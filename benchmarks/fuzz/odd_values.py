"""Changes of bytes and of JSON values that parsers are known to stumble over."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MOST_BYTES = 2**20
LONGEST_LIST = 200_000  # characters
ODD_TEXTS = (
    "",
    " ",
    "\0",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "%00",
    "%2e%2e%2f",
    "a" * 300,
    "a" * 40_000,
    "é\u0301\u202e\ufeff",
    "\ud800",
    "=1+1",
    "<script>",
    "a\r\nb: c",
    "null",
    "champion",
    "previous",
    "9" * 5000,
    "1e999",
    "-0",
    "nan",
    "inf",
    "true",
    "{}",
    "'; DROP TABLE machines; --",
    "2026-11-29T00:00:00Z",
    "\U0001f600" * 50,
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    {},
    [[]],
    {"": ""},
    *ODD_TEXTS,
)


def mutate(random: Random, content: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Change some bytes: flips, edge values, removals, repetitions, exchanges and words of the format."""
    changed = bytearray(content)
    for _ in range(1 << random.randrange(4)):
        random.choice(_CHANGES)(random, changed, words)
    return bytes(changed[:MOST_BYTES])


def _flip(random: Random, content: bytearray, _: Sequence[bytes]) -> None:
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def _set_edge(random: Random, content: bytearray, _: Sequence[bytes]) -> None:
    size = random.choice((1, 2, 4, 8))
    value = random.choice(EDGES) % (1 << 8 * size)
    at = random.randrange(max(1, len(content)))
    content[at : at + size] = value.to_bytes(size, random.choice(("little", "big")))


def _remove(random: Random, content: bytearray, _: Sequence[bytes]) -> None:
    at = random.randrange(max(1, len(content)))
    del content[at : at + random.choice((1, 2, 16, 1000, len(content)))]


def _repeat(random: Random, content: bytearray, _: Sequence[bytes]) -> None:
    at, size = random.randrange(max(1, len(content))), random.choice((1, 4, 64, 1000))
    content[at:at] = content[at : at + size] * random.choice((1, 2, 100))


def _exchange(random: Random, content: bytearray, _: Sequence[bytes]) -> None:
    one, other = (random.randrange(max(1, len(content))) for _ in range(2))
    piece = content[one : one + 32]
    content[other : other + len(piece)] = piece


def _insert_word(random: Random, content: bytearray, words: Sequence[bytes]) -> None:
    at = random.randrange(len(content) + 1)
    content[at:at] = random.choice(words) if words else random.randbytes(random.choice((1, 8, 200)))


_Change = Callable[[Random, bytearray, Sequence[bytes]], None]
_CHANGES: tuple[_Change, ...] = (_flip, _flip, _set_edge, _remove, _repeat, _exchange, _insert_word, _insert_word)


def odd_value(random: Random, depth: int = 0) -> Any:
    """Return a JSON value of any type, sometimes nested."""
    kind = random.random()
    if depth < 3 and kind < 0.15:
        return [odd_value(random, depth + 1) for _ in range(random.choice((1, 2, 50)))]
    if depth < 3 and kind < 0.3:
        return {random.choice(ODD_TEXTS): odd_value(random, depth + 1) for _ in range(random.choice((1, 3, 30)))}
    return random.choice(ODD_VALUES)


def change_value(random: Random, value: Any) -> Any:
    """Return a copy of a JSON value in which one place is changed, removed or added."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name, changed = random.choice(list(value)), dict(value)
        what = random.random()
        if what < 0.1:
            del changed[name]
        elif what < 0.2:
            changed[random.choice(ODD_TEXTS)] = odd_value(random)
        else:
            changed[name] = change_value(random, value[name])
        return changed
    if isinstance(value, list) and value and random.random() < 0.8:
        items, at = list(value), random.randrange(len(value))
        if random.random() < 0.2:
            size = max(1, len(repr(items)))
            return items * min(random.choice((0, 2, 1000)), max(1, LONGEST_LIST // size))
        items[at] = change_value(random, items[at])
        return items
    return odd_value(random)


def json_text(random: Random, value: Any) -> bytes:
    """Return JSON text of a value, sometimes damaged: deep nesting, doubled keys, long numbers, changed bytes."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.8).encode("utf-8", "surrogatepass")
    what = random.random()
    if what < 0.05:
        depth = random.choice((100, 1000, 30_000))
        return random.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
    if what < 0.1 and text[:1] == b"{":
        return text[:-1] + b"," + text[1:] if len(text) > 2 else text
    if what < 0.15:
        return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b" " * 1000, b"//")) + text
    if what < 0.3:
        return mutate(random, text, WORDS)
    return text


WORDS = (b"null", b"1e999", b"-", b"\\ud800", b"\\u0000", b'"', b"{", b"[", b",", b"NaN", b"9" * 4500, b"\xff")
