"""Idempotency-Key: the rule of all routes that take one.

The same request with the same key is done once; its repetition is answered and changes nothing. Another request with
this key is refused. Jobs keep the keys in the queue, together with their records; uploads and thresholds keep them in
the record of machines.
"""

import hashlib
from collections.abc import Iterable

from ml.errors import IdempotencyConflict

KEPT_S = 24 * 3600
PATTERN = r"^[\x21-\x7e]{1,128}$"
DIGEST_DIGITS = 32  # 128 bits of SHA-256


def digest_of(content: bytes | bytearray) -> str:
    """Return the digest of some bytes: 32 hexadecimal digits.

    Example:
        >>> digest_of(b"")
        'e3b0c44298fc1c149afbf4c8996fb924'
    """
    return hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]


def digest_of_request(parts: Iterable[str]) -> str:
    """Return the digest of a request from its parts; two requests are the same if it is."""
    return digest_of("\0".join(parts).encode())


def require_same_request(known: str | None, digest: str) -> bool:
    """Return whether a request with a key was done before.

    Args:
        known: digest of the request that used the key; None if it was not used.
        digest: digest of this request.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    if known is not None and known != digest:
        raise IdempotencyConflict("This Idempotency-Key was used for another request: use a new key.")
    return known is not None
