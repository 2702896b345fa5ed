"""Signed models: who signed, what is covered, and what is refused where signatures are required."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from api.settings import Settings
from ml.errors import (
    BundleDamaged,
    ModelError,
    SignatureInvalid,
    SignatureMissing,
    SignerUnknown,
    SigningKeyInvalid,
    SigningKeyNotFound,
)
from ml.models import signing
from ml.models.key_ring import KeyRing
from ml.models.registry import Registry
from ml.models.signing import Seal, require_signatures
from ml.system.audit import read_entries
from tests.unit.bundles import edit_json
from tests.unit.registries import NAMES


@pytest.fixture
def required() -> Iterator[None]:
    """This process accepts signed models only."""
    require_signatures(True)
    yield
    require_signatures(False)


@pytest.fixture
def keys(home: Path) -> KeyRing:
    """The keys of the home with the champion; one of them is ``hall``."""
    ring = KeyRing(home)
    ring.create("hall")
    return ring


@pytest.fixture
def signed(registry: Registry, keys: KeyRing, tmp_path: Path) -> Path:
    """An archive of the champion with renamed classes, signed with ``hall``."""
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "signed.zip", keys.signing_key("hall"))
    return tmp_path / "signed.zip"


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    """An empty home that trusts the key ``hall`` of the other one."""
    (tmp_path / "other").mkdir()
    return Registry(tmp_path / "other")


def trust(home: Path, other: Registry) -> None:
    """Trust the key ``hall`` of a home in another one."""
    KeyRing(other.folder.parent).trust(home / "signing-keys" / "hall.pub")


@pytest.mark.usefixtures("required")
def test_a_model_of_a_trusted_key_is_imported_and_served(home: Path, other: Registry, signed: Path) -> None:
    """The import names the key, and the version loads; without the key it loads no longer."""
    trust(home, other)
    imported = other.import_archive(signed)
    assert imported.signer == "hall"
    assert other.promote(imported.version) == imported.version
    assert other.load_predictor("champion").model.labels.classes[0].name == "gut"
    KeyRing(other.folder.parent).distrust("hall")
    with pytest.raises(SignerUnknown, match="keys signing trust"):
        other.load_predictor("champion")


@pytest.mark.usefixtures("required")
def test_a_model_that_is_not_signed_is_refused(
    registry: Registry, home: Path, other: Registry, signed: Path, tmp_path: Path
) -> None:
    """An archive without a signature, of an unknown key, or whose list of digests was removed adds nothing."""
    registry.export("champion", tmp_path / "unsigned.zip")
    with pytest.raises(SignatureMissing, match="--sign NAME"):
        other.import_archive(tmp_path / "unsigned.zip")
    with pytest.raises(SignerUnknown):
        other.import_archive(signed)
    trust(home, other)
    with zipfile.ZipFile(signed, "a") as opened:
        opened.comment = b""
    with pytest.raises(SignatureMissing):
        other.import_archive(signed)
    assert other.versions() == []


@pytest.mark.usefixtures("required")
def test_a_model_of_this_home_is_served_after_it_is_signed(registry: Registry, home: Path, first: str) -> None:
    """Before, it is neither promoted nor loaded; moved thresholds and new names do not change its signature."""
    ring = KeyRing(home)
    ring.trust(ring.create("hall"))
    for refused in (lambda: registry.load_predictor("champion"), lambda: registry.promote(first, "challenger")):
        with pytest.raises(SignatureMissing):
            refused()
    assert registry.sign("champion", ring.signing_key("hall")) == first
    registry.rename_classes("champion", NAMES)
    assert registry.load_predictor("champion").model.version == first


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize("damage", ["another-manifest", "another-version", "garbage", "edited"])
def test_a_signature_of_another_content_is_refused(registry: Registry, home: Path, first: str, damage: str) -> None:
    """A signature covers the manifest of its version, which covers every file."""
    ring = KeyRing(home)
    ring.trust(ring.create("hall"))
    key = ring.signing_key("hall")
    registry.sign(first, key)
    file = registry.folder / "signatures" / f"{first}.json"
    if damage == "another-manifest":
        edit_json("manifest.json", lambda m: m.update(created="2020-01-01T00:00:00+00:00"))(registry.folder / first)
    elif damage == "another-version":
        file.write_bytes(Seal.of("other-0123456789", Seal.from_bytes(file.read_bytes()).members, key).to_bytes())
    elif damage == "garbage":
        file.write_bytes(b"{")
    else:
        values = json.loads(file.read_bytes())
        values["members"]["manifest.json"] = "0" * 64
        file.write_text(json.dumps(values))
    with pytest.raises(BundleDamaged if damage == "garbage" else SignatureInvalid):
        registry.load_predictor("champion")


def test_a_damaged_signature_is_refused_also_where_none_is_required(
    registry: Registry, other: Registry, signed: Path
) -> None:
    """A changed digest, a changed signature, and a key of another owner do not match."""
    with zipfile.ZipFile(signed) as opened:
        seal = Seal.from_bytes(opened.comment)
    assert seal.signature is not None
    stranger = KeyRing(other.folder.parent)
    stranger.create("hall")
    (raw,) = stranger.own().values()
    for changed in (
        seal.signature._replace(signature=bytes(64)),
        seal.signature._replace(signature=b""),
        seal.signature._replace(public_key=raw),
        seal.signature._replace(public_key=b""),
    ):
        with zipfile.ZipFile(signed, "a") as opened:
            opened.comment = Seal(seal.version, seal.members, changed).to_bytes()
        with pytest.raises(SignatureInvalid, match="does not match its content"):
            other.import_archive(signed)
    assert other.versions() == []


def test_a_signed_archive_has_no_effect_where_none_is_required(other: Registry, signed: Path) -> None:
    """A model of an unknown key is imported, without a name of a key."""
    assert other.import_archive(signed).signer is None


def test_only_the_owner_can_read_a_private_key(home: Path, keys: KeyRing) -> None:
    """Mode 600 in a folder of mode 700; a key is never replaced."""
    file = home / "signing-keys" / "hall.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(SigningKeyInvalid, match="already a signing key called 'hall'"):
        keys.create("hall")


def test_keys_and_signatures_are_in_the_audit_log(registry: Registry, home: Path, keys: KeyRing) -> None:
    """Whoever trusts a key decides which models are accepted."""
    keys.trust(home / "signing-keys" / "hall.pub", "line-3")
    keys.distrust("line-3")
    version = registry.sign("champion", keys.signing_key("hall"))
    public = keys.own()["hall"].hex()
    assert [(each["action"], each["object"], each["after"]) for each in read_entries(home)][-4:] == [
        ("signing-key.create", "hall", public),
        ("signing-key.trust", "line-3", public),
        ("signing-key.distrust", "line-3", None),
        ("model.sign", version, "hall"),
    ]


def test_a_public_key_without_its_private_key_leaves_the_name_free(home: Path, keys: KeyRing) -> None:
    """As after a kill between the two files."""
    (home / "signing-keys" / "hall.key").unlink()
    public = keys.create("hall")
    assert keys.own()["hall"] == keys.signing_key("hall").private.public_key().public_bytes_raw()
    assert public.is_file()


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "a\0", "-x", "a b", "x" * 65, "\x1b[31m", ".key"])
def test_a_name_of_a_key_is_no_path(home: Path, name: str) -> None:
    """It is refused wherever a key is made, found or removed."""
    ring = KeyRing(home)
    for refused in (ring.create, ring.signing_key, ring.distrust):
        with pytest.raises(SigningKeyInvalid, match="no name of a key"):
            refused(name)


def test_keys_that_do_not_exist_or_are_damaged_are_refused(home: Path, keys: KeyRing, tmp_path: Path) -> None:
    """Each by name; a damaged key does not break the list."""
    with pytest.raises(SigningKeyNotFound, match="the keys are: hall"):
        keys.signing_key("hall-2")
    with pytest.raises(SigningKeyNotFound):
        keys.distrust("hall-2")
    for content in (b"", b"nonsense", _key_of_another_kind(), (home / "signing-keys" / "hall.key").read_bytes()):
        (tmp_path / "x.pub").write_bytes(content)
        with pytest.raises(SigningKeyInvalid, match=r"x\.pub"):
            keys.trust(tmp_path / "x.pub")
    keys.trust(home / "signing-keys" / "hall.pub")
    keys.create("second")
    with pytest.raises(SigningKeyInvalid, match="Another trusted key is called 'hall'"):
        keys.trust(home / "signing-keys" / "second.pub", "hall")
    (home / "trusted-keys" / "broken.pub").write_bytes(b"nonsense")
    (home / "signing-keys" / "second.key").write_bytes(b"nonsense")
    assert list(keys.trusted()) == ["broken", "hall"]
    assert keys.trusted()["broken"] == b""
    with pytest.raises(SigningKeyInvalid, match=r"second\.key"):
        keys.signing_key("second")


def _key_of_another_kind() -> bytes:
    public = Ed448PrivateKey.generate().public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_setting_is_applied_to_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings decide for every registry of the process; the default accepts models without a signature."""
    monkeypatch.setenv("SIGNALML_REQUIRE_SIGNED_BUNDLES", "true")
    Settings()
    assert signing.signatures_required()
    monkeypatch.delenv("SIGNALML_REQUIRE_SIGNED_BUNDLES")
    Settings()
    assert not signing.signatures_required()


def test_seals_are_compared_in_full(signed: Path) -> None:
    """Members that are missing or additional do not match."""
    with zipfile.ZipFile(signed) as opened:
        seal = Seal.from_bytes(opened.comment)
    seal.check_members(seal.members, "it")
    for changed in (dict(list(seal.members.items())[1:]), dict(seal.members) | {"more.json": "0"}):
        with pytest.raises(ModelError, match="was changed, added or removed"):
            seal.check_members(changed, "it")


def test_a_trusted_signature_replaces_one_of_an_unknown_key(
    registry: Registry, home: Path, other: Registry, signed: Path
) -> None:
    """A model that was imported before its key was trusted is served after it is imported again."""
    stranger = KeyRing(other.folder.parent)
    stranger.create("stranger")
    version = other.import_archive(signed).version
    other.sign(version, stranger.signing_key("stranger"))
    trust(home, other)
    require_signatures(True)
    try:
        with pytest.raises(SignerUnknown):
            other.load_predictor(version)
        assert not other.import_archive(signed).is_new
        assert other.load_predictor(version).model.version == version
    finally:
        require_signatures(False)
