"""Members of zip archives from elsewhere."""

import io
import struct
import zipfile

import pytest

from ml.system.zip_members import ZIP_ERRORS, read_member

START_OF_DIRECTORY = 16  # bytes into the end record: where the directory begins, which shifts all members


def test_a_member_outside_the_archive_is_refused() -> None:
    """An end record whose offsets lead before the file's begin: a damaged archive, not an error of the system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("spec.json", b"{}")
    damaged = bytearray(content.getvalue())
    end = damaged.rfind(b"PK\x05\x06")
    (start,) = struct.unpack_from("<I", damaged, end + START_OF_DIRECTORY)
    struct.pack_into("<I", damaged, end + START_OF_DIRECTORY, start + 100)
    with zipfile.ZipFile(io.BytesIO(damaged)) as archive, pytest.raises(ZIP_ERRORS):
        read_member(archive, archive.getinfo("spec.json"))
