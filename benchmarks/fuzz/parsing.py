"""Parsers of recordings, with checks of their results."""

import numpy as np

from ml.audio import aiff, formats, wav
from ml.audio.decode import decode
from ml.audio.info import read_info
from ml.errors import AudioError


class NotHere(AudioError):
    """The changed file has become one of a format that a child process decodes."""

    code = "left out: for the child"


def parse(data: bytes) -> None:
    """Decode a recording, and check what comes out."""
    found = decode(data, channel="intact")
    assert found.samples.dtype == np.float32
    assert np.isfinite(found.samples).all()
    assert len(found.samples) == round(found.quality.duration_s * found.sample_rate_hz)
    assert 0.5 <= found.quality.duration_s <= 600


def parse_here(data: bytes) -> None:
    """Decode and measure a recording of a format that is read in this process."""
    head = formats.without_id3(memoryview(data))
    file = formats.recognise(head)
    if file is not None and (file.decoder != "here" or _is_coded(head, file)):
        raise NotHere
    parse(data)
    read_info(data)


def _is_coded(data: memoryview, file: formats.FileFormat) -> bool:
    if file is formats.FLAC:
        return False
    return (aiff if file is formats.AIFF else wav).read_header(data).encoding == "coded"
