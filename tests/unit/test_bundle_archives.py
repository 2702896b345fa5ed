"""Bundles packed into one file, and archives from elsewhere."""

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.errors import BundleDamaged, BundleUnrecognised, ModelError
from ml.models import archives, bundle
from ml.models.bundle import Bundle
from tests.unit import bundles
from tests.unit.bundles import FILES, flip_a_bit


def test_an_archive_has_the_bundle_and_nothing_else(champion: Path, tmp_path: Path) -> None:
    """Packed and unpacked files are equal to the byte, and no partial file is left."""
    (tmp_path / "out").mkdir()
    archives.pack(champion, tmp_path / "model.zip")
    archives.unpack(tmp_path / "model.zip", tmp_path / "out")
    for file in (*FILES, bundle.MANIFEST):
        assert (tmp_path / "out" / file).read_bytes() == (champion / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip", "out"]


def test_a_damaged_bundle_is_not_packed(folder: Path, tmp_path: Path) -> None:
    """A damaged bundle is refused, and no archive is written."""
    flip_a_bit(folder / "network.tflite")
    with pytest.raises(BundleDamaged):
        archives.pack(folder, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


@pytest.fixture(scope="session")
def archive(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged archive. For reading."""
    path = tmp_path_factory.mktemp("archive") / "model.zip"
    archives.pack(champion, path)
    return path


@pytest.mark.parametrize(
    "member", ["../evil", "/evil", "evil/../../x", "spec.json/../../evil", "readme.txt", "models/spec.json"]
)
def test_an_archive_with_another_member_is_not_unpacked(archive: Path, tmp_path: Path, member: str) -> None:
    """A path outside the folder, or a file that is not part of a bundle, is refused; nothing is written."""
    file, out = tmp_path / "model.zip", tmp_path / "a" / "b"
    out.mkdir(parents=True)
    shutil.copy(archive, file)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr(member, b"evil")
    with pytest.raises(BundleUnrecognised, match="no exported model"):
        archives.unpack(file, out)
    assert not any(out.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"model.zip", "a"}


def test_another_zip_is_refused(tmp_path: Path) -> None:
    """A zip without a manifest is refused."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as opened:
        opened.writestr("holiday.jpg", b"")
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleUnrecognised, match=r"holiday\.jpg"):
        archives.unpack(tmp_path / "photos.zip", tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "unknown-compression"])
def test_an_archive_that_cannot_be_unpacked_is_refused(archive: Path, tmp_path: Path, offset: int, value: int) -> None:
    """A password or an unknown compression is a ModelError."""
    (tmp_path / "out").mkdir()
    (tmp_path / "model.zip").write_bytes(bundles.set_in_zip_directory(archive.read_bytes(), offset, value))
    with pytest.raises(ModelError):
        archives.unpack(tmp_path / "model.zip", tmp_path / "out")


def test_a_member_whose_name_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    """A name that is marked as UTF-8 and is none makes the archive unreadable, and does not end in a traceback."""
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ärger.json", b"{}")
    file.write_bytes(file.read_bytes().replace("ä".encode(), b"\xb5\xb5"))
    with pytest.raises(BundleUnrecognised, match="no readable zip archive"):
        archives.unpack(file, tmp_path)


def test_an_archive_with_a_damaged_member_is_refused(archive: Path, tmp_path: Path) -> None:
    """Compressed bytes that cannot be decompressed are a ModelError."""
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("network.tflite")
    damaged = bytearray(archive.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    damaged[start : start + 16] = b"\xff" * 16
    (tmp_path / "out").mkdir()
    (tmp_path / "model.zip").write_bytes(damaged)
    with pytest.raises(ModelError):
        archives.unpack(tmp_path / "model.zip", tmp_path / "out")


@settings(max_examples=150)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_archive_is_unpacked_unchanged_or_refused(
    archive: Path, champion: Path, tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, cut: bool
) -> None:
    """With one flipped bit or a cut anywhere, unpacking gives the same bundle or a ModelError."""
    damaged = bytearray(archive.read_bytes())
    position = int(at * len(damaged))
    damaged[position] ^= 1 << bit
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "model.zip").write_bytes(damaged[:position] if cut else damaged)
    (folder / "out").mkdir()
    try:
        archives.unpack(folder / "model.zip", folder / "out")
        bundle.verify(folder / "out")
    except ModelError:
        return
    assert Bundle.read(folder / "out").version == Bundle.read(champion).version
