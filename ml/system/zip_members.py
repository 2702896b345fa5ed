"""Members of zip archives that somebody else may have packed."""

import zipfile
import zlib

# What zipfile raises for an archive that is damaged, encrypted or packed in a way it does not know.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """All of a member, stored or deflated; how long it is, which ``info`` says, is the caller's to look at first.

    Raises:
        one of UNREADABLE_ZIP: it does not unpack.
    """
    # The other kinds of compression fail in ways of their own.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError(f"{info.filename} has the compression {info.compress_type}")
    return archive.read(info)
