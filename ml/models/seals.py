"""Seals of the versions in a home: who signed them, and whether they may be served.

::

    <models>/signatures/<version>.json   seal of a version that was imported with a signature, or signed here

A version in a home can get other labels and another threshold, so only its manifest is compared with its seal. The
manifest covers every file of the bundle.
"""

import hashlib
from pathlib import Path

from ml.errors import SignatureInvalid
from ml.models.bundle import MANIFEST
from ml.models.key_ring import KeyRing
from ml.models.signing import Seal, SigningKey, signatures_required
from ml.system.atomic import write_atomic
from ml.system.names import child

FOLDER = "signatures"


class SealStore:
    """Seals of all versions of one home.

    Args:
        home: SIGNALML_HOME.
        models: folder of its versions.
    """

    def __init__(self, home: Path, models: Path) -> None:
        self._keys = KeyRing(home)
        self._models = models

    def check(self, seal: Seal | None, source: str) -> str | None:
        """Return the trusted key that an archive is signed with; None without one, if signatures are not required.

        Raises:
            SignatureMissing, SignatureInvalid, SignerUnknown: signatures are required.
        """
        if signatures_required():
            return self._keys.require_trusted(seal, source)
        return None if seal is None else self._keys.trusted_name(seal)

    def require(self, version: str) -> None:
        """Require, if this process serves signed models only, that a trusted key has signed a version as it is now.

        Raises:
            BundleDamaged: the file of its signature cannot be read.
            SignatureMissing, SignatureInvalid, SignerUnknown
        """
        if not signatures_required():
            return
        file = self.file(version)
        seal = Seal.from_bytes(file.read_bytes()) if file.is_file() else None
        self._keys.require_trusted(seal, version)
        if seal is None or seal.version != version or not self._is_of(seal, version):
            raise SignatureInvalid(f"The signature of {version} is that of another content: import the model again.")

    def keep(self, version: str, seal: Seal | None) -> None:
        """Keep the signed seal of an archive, if it is that of the present bundle; only a trusted one replaces one."""
        if seal is None or seal.signature is None or not self._is_of(seal, version):
            return
        if not self.file(version).exists() or self._keys.trusted_name(seal) is not None:
            self._write(version, seal)

    def sign(self, version: str, key: SigningKey) -> None:
        """Sign a version as it is now."""
        self._write(version, Seal.of(version, {MANIFEST: self._digest(version)}, key))

    def _is_of(self, seal: Seal, version: str) -> bool:
        return seal.members.get(MANIFEST) == self._digest(version)

    def _write(self, version: str, seal: Seal) -> None:
        file = self.file(version)
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, seal.to_bytes())

    def file(self, version: str) -> Path:
        """Return the file of a version's seal, whether or not it exists."""
        return child(self._models / FOLDER, f"{version}.json")

    def _digest(self, version: str) -> str:
        return hashlib.sha256((child(self._models, version) / MANIFEST).read_bytes()).hexdigest()
