"""NumPy archives from elsewhere: equal to numpy.load for what this project writes, and refused otherwise."""

import io
import struct
import zipfile

import numpy as np
import pytest

from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.errors import BundleDamaged
from ml.system.npz import read_arrays
from tests.unit import detectors

LIMIT = 2**20
HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


def packed(member: bytes) -> bytes:
    """Return an archive with one member."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scales.npy", member)
    return content.getvalue()


def with_header(header: str, content: bytes = bytes(64)) -> bytes:
    """Return an array file with this header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def test_arrays_are_those_of_numpy() -> None:
    """Values, types, shapes and the order in memory are equal, and the arrays can be changed."""
    written = {
        "a/b": np.arange(6, dtype=np.float16).reshape(2, 3),
        "c": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "d": np.array(3),
        "e": np.zeros((0, 4), bool),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **written)
    found = read_arrays(content.getvalue(), LIMIT)
    assert list(found) == list(written)
    for name, array in written.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)
    found["c"][0, 0] = 7


@pytest.mark.parametrize(
    "member",
    [
        with_header(HEADER.format("<f8", "(1000000000000,)")),
        with_header(HEADER.format("<f8", "(300000000,)")),
        with_header(HEADER.format("<f8", "(-1,)")),
        with_header(HEADER.format("|O", "(1,)")),
        with_header(HEADER.format("<c16", "(4,)")),
        with_header(HEADER.format("<U16", "(1,)")),
        with_header(HEADER.format("<f8", "(7,)")),
        with_header("(" * 5000),
        with_header("-" * 9000 + "1"),
        with_header(""),
        b"",
        b"\x93NUMPY\x03\x00",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(member: bytes) -> None:
    """A false shape, another type, or a header that cannot be read: an error by name, and no memory for the shape."""
    with pytest.raises(ValueError, match=r"array|magic|header|Cannot parse"):
        read_arrays(packed(member), LIMIT)
    facts, _ = detector_to_bytes(detectors.detector())
    with pytest.raises(BundleDamaged):
        detector_from_bytes(facts, packed(member))


def test_an_archive_that_unpacks_to_too_much_is_refused() -> None:
    """The stated sizes are added before anything is unpacked."""
    with pytest.raises(ValueError, match="at most 1048576"):
        read_arrays(packed(with_header(HEADER.format("|u1", f"({LIMIT},)"), bytes(LIMIT))), LIMIT)
