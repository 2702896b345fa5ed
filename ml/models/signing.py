"""Signatures of exported models: Ed25519 keys of a home, and the seal of an archive.

::

    <home>/signing-keys/NAME.key             private key, PEM; only its owner may read it
    <home>/signing-keys/NAME.pub             its public key, to be given to other computers
    <home>/trusted-keys/NAME.pub             public keys whose models this home accepts
    <home>/models/signatures/<version>.json  seal of a version that was imported or signed here

A seal lists the SHA-256 of each member of an archive. It can have a signature of this list. Without a signature it
protects against accidents only.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml.errors import (
    BundleDamaged,
    SignatureInvalid,
    SignatureMissing,
    SignerUnknown,
    SigningKeyInvalid,
    SigningKeyNotFound,
)
from ml.system.atomic import to_json, write_atomic
from ml.system.names import child

FORMAT, FORMAT_VERSION = "signalml-archive", 1
SIGNING_FOLDER, TRUSTED_FOLDER = "signing-keys", "trusted-keys"
PRIVATE, PUBLIC = ".key", ".pub"
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PRIVATE_MODE, PRIVATE_FOLDER_MODE = 0o600, 0o700
MAX_KEY_BYTES = 4096

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


class KeyRing:
    """Signing keys and trusted keys of a home.

    Args:
        home: SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._own, self._trusted = home / SIGNING_FOLDER, home / TRUSTED_FOLDER

    def create(self, name: str) -> Path:
        """Make a signing key; return the path of its public key, which other computers can trust.

        Raises:
            SigningKeyInvalid: a key with this name exists, or the name is not allowed.
        """
        private = _key_file(self._own, name, PRIVATE)
        if private.exists():
            raise SigningKeyInvalid(f"There is already a signing key called {name!r}: use another name.")
        key = Ed25519PrivateKey.generate()
        self._own.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(private, pem, mode=PRIVATE_MODE)
        public = _key_file(self._own, name, PUBLIC)
        write_atomic(public, _public_pem(key.public_key()))
        return public

    def signing_key(self, name: str) -> SigningKey:
        """Return a signing key.

        Raises:
            SigningKeyNotFound, SigningKeyInvalid
        """
        file = _key_file(self._own, name, PRIVATE)
        if not file.is_file():
            own = ", ".join(self.own()) or "none"
            raise SigningKeyNotFound(
                f"There is no signing key called {name!r}; the keys are: {own}. Make one with  signalml keys signing "
                "new NAME"
            )
        return SigningKey(name, _read_private(file))

    def own(self) -> dict[str, bytes]:
        """Return name and raw public key of each signing key. A damaged key has an empty public key."""
        return _public_keys(self._own)

    def trusted(self) -> dict[str, bytes]:
        """Return name and raw public key of each trusted key. A damaged key has an empty public key."""
        return _public_keys(self._trusted)

    def trust(self, file: Path, name: str | None = None) -> str:
        """Trust a public key; return the name under which it is kept.

        Args:
            file: file of :meth:`create` that ends in ``.pub``.
            name: name for the key; None takes the name of the file.

        Raises:
            SigningKeyInvalid: the file has no Ed25519 public key, or another key has this name.
        """
        chosen = file.stem if name is None else name
        target = _key_file(self._trusted, chosen, PUBLIC)
        key = _read_public(file)
        if target.exists() and self.trusted().get(chosen) != key.public_bytes_raw():
            raise SigningKeyInvalid(f"Another trusted key is called {chosen!r}: choose a name with --name.")
        self._trusted.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        write_atomic(target, _public_pem(key))
        return chosen

    def distrust(self, name: str) -> None:
        """Remove a trusted key.

        Raises:
            SigningKeyNotFound
        """
        file = _key_file(self._trusted, name, PUBLIC)
        if not file.is_file():
            raise SigningKeyNotFound(f"There is no trusted key called {name!r}.")
        file.unlink()

    def trusted_name(self, seal: Seal) -> str | None:
        """Return the trusted key that a seal is signed with; None without a signature, or if the key is not trusted."""
        if seal.signature is None:
            return None
        return next((name for name, raw in self.trusted().items() if raw and raw == seal.signature.public_key), None)

    def require_trusted(self, seal: Seal | None, source: str) -> str:
        """Require that a trusted key has signed; return the name of the key.

        Raises:
            SignatureMissing, SignatureInvalid, SignerUnknown
        """
        if seal is None or seal.signature is None:
            raise SignatureMissing(
                f"{source} is not signed, and only signed models are accepted (SIGNALML_REQUIRE_SIGNED_BUNDLES). Sign "
                "it at its source:  signalml models export VERSION FILE --sign NAME"
            )
        seal.check_signature(source)
        name = self.trusted_name(seal)
        if name is None:
            raise SignerUnknown(
                f"{source} is signed with the key {fingerprint(seal.signature.public_key)}, which is not trusted here. "
                "If its owner is trusted:  signalml keys signing trust FILE.pub"
            )
        return name


def fingerprint(public_key: bytes) -> str:
    """Return a public key as text, to be compared by people."""
    return public_key.hex()


def _key_file(folder: Path, name: str, suffix: str) -> Path:
    if not KEY_NAME.fullmatch(name):
        raise SigningKeyInvalid(
            f"{name!r} is no name of a key: 1 to 64 letters, digits, dots, hyphens and underscores were expected, "
            "starting with a letter or a digit."
        )
    return child(folder, f"{name}{suffix}")


def _public_keys(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix == PUBLIC and KEY_NAME.fullmatch(path.stem))
    return {file.stem: _raw_or_empty(file) for file in files}


def _raw_or_empty(file: Path) -> bytes:
    try:
        return _read_public(file).public_bytes_raw()
    except (SigningKeyInvalid, OSError):
        return b""


def _read_public(file: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(_key_bytes(file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyInvalid(
            f"{file.name} is no public key; a file of  signalml keys signing new  was expected."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise SigningKeyInvalid(f"{file.name} is a key of another kind; an Ed25519 public key was expected.")
    return key


def _read_private(file: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(_key_bytes(file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyInvalid(f"{file.name} is damaged, or it has a password: make another key.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyInvalid(f"{file.name} is a key of another kind; an Ed25519 private key was expected.")
    return key


def _key_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_KEY_BYTES)


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _signature_of(values: Any) -> Signature | None:
    if values is None:
        return None
    if values["algorithm"] != "ed25519":
        raise ValueError(f"its signature is of the kind {values['algorithm']!r}")
    public_key, signature = (base64.b64decode(values[name], validate=True) for name in ("public_key", "signature"))
    return Signature(str(values["signer"]), public_key, signature)
