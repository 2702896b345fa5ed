"""Keys of a home that sign models, and public keys whose models it accepts.

::

    <home>/signing-keys/NAME.key             private key, PEM; only its owner may read it
    <home>/signing-keys/NAME.pub             its public key, to be given to other computers
    <home>/trusted-keys/NAME.pub             public keys whose models this home accepts
"""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ml.errors import SignatureMissing, SignerUnknown, SigningKeyInvalid, SigningKeyNotFound
from ml.models.signing import Seal, SigningKey
from ml.system.atomic import file_lock, write_atomic
from ml.system.audit import record_change
from ml.system.names import child

SIGNING_FOLDER, TRUSTED_FOLDER = "signing-keys", "trusted-keys"
PRIVATE, PUBLIC = ".key", ".pub"
KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PRIVATE_MODE, PRIVATE_FOLDER_MODE = 0o600, 0o700
MAX_KEY_BYTES = 4096


class KeyRing:
    """Signing keys and trusted keys of a home.

    Args:
        home: SIGNALML_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._own, self._trusted = home / SIGNING_FOLDER, home / TRUSTED_FOLDER

    def create(self, name: str) -> Path:
        """Make a signing key; return the path of its public key, which other computers can trust.

        Raises:
            SigningKeyInvalid: a key with this name exists, or the name is not allowed.
        """
        private, public = (_key_file(self._own, name, suffix) for suffix in (PRIVATE, PUBLIC))
        self._own.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        with file_lock(self._own / ".lock"):
            if private.exists():
                raise SigningKeyInvalid(f"There is already a signing key called {name!r}: use another name.")
            key = Ed25519PrivateKey.generate()
            # The private key comes last: without it, the name is free again.
            write_atomic(public, _public_pem(key.public_key()))
            write_atomic(private, _private_pem(key), mode=PRIVATE_MODE)
        self._record("create", name, key.public_key())
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
        self._record("trust", chosen, key)
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
        self._record("distrust", name)

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

    def _record(self, action: str, name: str, key: Ed25519PublicKey | None = None) -> None:
        after = None if key is None else fingerprint(key.public_bytes_raw())
        record_change(self._home, f"signing-key.{action}", name, after=after)


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


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
