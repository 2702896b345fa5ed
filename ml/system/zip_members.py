"""Members of zip archives, which can come from unknown sources."""

import struct
import zipfile
import zlib

# Errors of zipfile for an archive that is damaged, encrypted or compressed in an unknown way.
# UnicodeDecodeError: a name is marked as UTF-8, and is none.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, UnicodeDecodeError)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read a whole member, stored or deflated.

    The caller must check its size, ``info.file_size``, before.

    Raises:
        ZIP_ERRORS: one of these: the member cannot be unpacked.
    """
    # Other kinds of compression raise other errors.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError(f"{info.filename} has the compression {info.compress_type}")
    try:
        return archive.read(info)
    except (OSError, ValueError, struct.error) as error:  # an offset outside the archive
        raise zipfile.BadZipFile(f"{info.filename} cannot be read: {error}") from error
