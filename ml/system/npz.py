"""NumPy archives (``.npz``) from elsewhere, read within limits."""

import io
import math
import tokenize
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.system.zip_members import read_member

SUFFIX = ".npy"
NUMBERS = "biuf"  # kinds of NumPy types: bool, signed, unsigned, floating


def read_arrays(content: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive of ``numpy.savez``; each has plain numbers.

    ``numpy.load`` allocates memory for the shape that a header states, however short the member is.

    Args:
        content: the archive.
        max_bytes: largest size of all members together, unpacked.

    Raises:
        ValueError: a member is no array of plain numbers, its header does not match its size, or all are too large.
        ZIP_ERRORS: one of these: the archive cannot be unpacked.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        total = sum(info.file_size for info in archive.infolist())
        if total > max_bytes:
            raise ValueError(f"its arrays unpack to {total} bytes; at most {max_bytes} were expected")
        return {info.filename.removesuffix(SUFFIX): _array(read_member(archive, info)) for info in archive.infolist()}


def _array(member: bytes) -> NDArray[Any]:
    stream = io.BytesIO(member)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array has the format {version}; (1, 0) was expected")
    try:
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the header of an array cannot be read: {type(error).__name__}") from error
    if dtype.kind not in NUMBERS or not all(length >= 0 for length in shape):
        raise ValueError(f"an array has the type {dtype.str} and the shape {shape}; plain numbers were expected")
    if math.prod(shape) * dtype.itemsize != len(member) - stream.tell():
        raise ValueError(f"an array of the shape {shape} and the type {dtype.str} has another number of bytes")
    # A copy, because the bytes cannot be changed, and arrays of numpy.load can.
    flat = np.frombuffer(member, dtype, offset=stream.tell()).copy()
    return flat.reshape(shape, order="F" if is_fortran else "C")
