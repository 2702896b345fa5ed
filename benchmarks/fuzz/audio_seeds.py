"""Small valid recordings of each format."""

import io
import struct

import av
import numpy as np
import soundfile as sf

RATE_HZ = 8_000
SAMPLES = np.random.default_rng(0).normal(0, 0.1, (RATE_HZ * 6 // 10, 1))


def sound_file(kind: str, subtype: str, endian: str = "FILE", channels: int = 1) -> bytes:
    """A file that libsndfile writes."""
    file = io.BytesIO()
    sf.write(file, np.tile(SAMPLES, (1, channels)), RATE_HZ, format=kind, subtype=subtype, endian=endian)
    return file.getvalue()


def av_file(container: str, codec: str) -> bytes:
    """A file that FFmpeg writes."""
    file = io.BytesIO()
    frame = av.AudioFrame.from_ndarray((SAMPLES * 32_767).astype(np.int16).reshape(1, -1), layout="mono")
    frame.sample_rate = RATE_HZ
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE_HZ, layout="mono")
        stream.bit_rate = 32_000
        context, queue = stream.codec_context, av.AudioFifo()
        for part in av.AudioResampler(format=context.format, layout="mono", rate=RATE_HZ).resample(frame):
            queue.write(part)
        while part := queue.read(context.frame_size or 1024, partial=True):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def with_chunks(wav: bytes) -> bytes:
    """A WAV with other chunks before the format and the samples, and after them."""
    notes = b"bext" + struct.pack("<I", 5) + b"notes\0"
    return wav[:12] + b"JUNK" + struct.pack("<I", 28) + bytes(28) + wav[12:36] + notes + wav[36:] + notes
