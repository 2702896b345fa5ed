"""Signatures of exported models: the seal of an archive, signed with Ed25519.

A seal lists the SHA-256 of each member of an archive. It can have a signature of this list. Without a signature it
protects against accidents only. The keys are in :mod:`ml.models.key_ring`.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml.errors import BundleDamaged, SignatureInvalid
from ml.system.atomic import to_json

FORMAT, FORMAT_VERSION = "signalml-archive", 1

_required = False


def require_signatures(required: bool) -> None:
    """Set whether this process imports and serves only models that a trusted key has signed."""
    global _required
    _required = required


def signatures_required() -> bool:
    """Return whether this process imports and serves only models that a trusted key has signed."""
    return _required


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Private key with its name."""

    name: str
    private: Ed25519PrivateKey


class Signature(NamedTuple):
    """Signature of a seal: name that the signer gave the key, raw public key, and signature."""

    signer: str
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """Digests of all members of an archive, with or without a signature.

    Attributes:
        version: version of the model.
        members: SHA-256 of each member, 64 hexadecimal digits, by name.
        signature: signature of version and members; None without one.
    """

    version: str
    members: Mapping[str, str]
    signature: Signature | None = None

    @classmethod
    def of(cls, version: str, members: Mapping[str, str], key: SigningKey | None = None) -> Self:
        """Return the seal of a version, signed if there is a key."""
        unsigned = cls(version, dict(members))
        if key is None:
            return unsigned
        raw = key.private.public_key().public_bytes_raw()
        return cls(version, dict(members), Signature(key.name, raw, key.private.sign(unsigned._signed_bytes())))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the bytes of :meth:`to_bytes`.

        Raises:
            BundleDamaged: they are no seal.
        """
        try:
            values = json.loads(content)
            if (values["format"], values["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"its format is {values['format']!r}, {values['format_version']!r}")
            members = {str(name): str(digest) for name, digest in values["members"].items()}
            return cls(str(values["version"]), members, _signature_of(values.get("signature")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BundleDamaged(f"The list of digests in the archive cannot be read ({error}).") from error

    def to_bytes(self) -> bytes:
        """Return the seal as JSON."""
        values: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
        values |= {"version": self.version, "members": dict(self.members)}
        if self.signature is not None:
            signer, public_key, signature = self.signature
            values["signature"] = {
                "algorithm": "ed25519",
                "signer": signer,
                "public_key": base64.b64encode(public_key).decode(),
                "signature": base64.b64encode(signature).decode(),
            }
        return to_json(values)

    def check_members(self, members: Mapping[str, str], source: str) -> None:
        """Compare the seal with the members that were found.

        Raises:
            BundleDamaged: they differ.
        """
        for name in sorted(self.members.keys() | members.keys()):
            if self.members.get(name) != members.get(name):
                raise BundleDamaged(f"{source}: {name} was changed, added or removed after the export.")

    def check_signature(self, source: str) -> None:
        """Verify the signature, if there is one, whoever signed.

        Raises:
            SignatureInvalid: the signature does not match.
        """
        if self.signature is None:
            return
        try:
            public = Ed25519PublicKey.from_public_bytes(self.signature.public_key)
            public.verify(self.signature.signature, self._signed_bytes())
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid(
                f"The signature of {source} does not match its content: get the model from its source again."
            ) from error

    def _signed_bytes(self) -> bytes:
        """Return the canonical form of version and members, which a key signs."""
        content = {"members": dict(self.members), "version": self.version}
        return (
            f"{FORMAT} {FORMAT_VERSION}\n".encode()
            + json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        )


def _signature_of(values: Any) -> Signature | None:
    if values is None:
        return None
    if values["algorithm"] != "ed25519":
        raise ValueError(f"its signature is of the kind {values['algorithm']!r}")
    public_key, signature = (base64.b64decode(values[name], validate=True) for name in ("public_key", "signature"))
    return Signature(str(values["signer"]), public_key, signature)
