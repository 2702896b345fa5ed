"""Sounds that the tests make for themselves, and the files that they come in, truthful or not."""

import io
import struct

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
# KSDATAFORMAT_SUBTYPE_*: the fields of a GUID after its first, which is the format tag.
GUID_FIELDS = (0x0000, 0x0010, bytes.fromhex("800000aa00389b71"))
ENCODINGS = {"pcm16": (PCM, 16), "pcm24": (PCM, 24), "pcm32": (PCM, 32), "float32": (FLOAT, 32), "float64": (FLOAT, 64)}


def noise(frames: int, channels: int = 1, seed: int = 0, level: float = 0.1) -> NDArray[np.float64]:
    """White noise, ``(frames, channels)``, within -1 to 1."""
    return np.clip(np.random.default_rng(seed).normal(0, level, (frames, channels)), -1, 1)


def sine(frequency_hz: float, frames: int, rate_hz: int, amplitude: float = 1.0) -> NDArray[np.float64]:
    """A pure tone, ``(frames, 1)``."""
    return amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(frames) / rate_hz)[:, None]


def fan(duration_s: float, rate_hz: int = 16_000, seed: int = 0, blade_hz: float = 120.0) -> NDArray[np.float64]:
    """A hum with harmonics in noise, slowly swelling, ``(frames, 1)``."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    hum = sum(np.sin(2 * np.pi * blade_hz * k * time_s) / k for k in range(1, 7))
    swell = 1 + 0.5 * np.sin(2 * np.pi * time_s / 7)
    return (0.05 * hum * swell)[:, None] + noise(len(time_s), seed=seed, level=0.02)


def encode(samples: NDArray[np.float64], encoding: str, order: str = "<") -> bytes:
    """Samples in -1 to 1 as the body of a data chunk."""
    tag, bits = ENCODINGS[encoding]
    if tag == FLOAT:
        return samples.astype(f"{order}f{bits // 8}").tobytes()
    highest = 2 ** (bits - 1)
    whole = np.clip(np.round(samples * highest), -highest, highest - 1).astype(np.int64)
    if bits == 24:
        four = whole.astype(f"{order}i4").view(np.uint8).reshape(-1, 4)
        return (four[:, :3] if order == "<" else four[:, 1:]).tobytes()
    return whole.astype(f"{order}i{bits // 8}").tobytes()


def chunk(name: bytes, body: bytes, order: str = "<", size: int | None = None) -> bytes:
    """One RIFF chunk, padded to even length, with a declared size of ``size`` bytes."""
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt_body(
    tag: int,
    bits: int,
    channels: int,
    rate_hz: int,
    *,
    order: str = "<",
    extensible: bool = False,
    block: int | None = None,
) -> bytes:
    """The body of a ``fmt `` chunk."""
    block = (channels * bits // 8) & 0xFFFF if block is None else block
    outer = EXTENSIBLE if extensible else tag
    body = struct.pack(f"{order}HHIIHH", outer, channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block, bits)
    if not extensible:
        return body
    second, third, rest = GUID_FIELDS
    return body + struct.pack(f"{order}HHIIHH", 22, bits, 0, tag, second, third) + rest


def wav(
    body: bytes,
    *,
    tag: int = PCM,
    bits: int = 16,
    channels: int = 1,
    rate_hz: int = 16_000,
    container: str = "RIFF",
    extensible: bool = False,
    block: int | None = None,
    data_size: int | None = None,
    fmt: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A WAV file, each of whose claims can be set apart from the truth.

    Args:
        body: what the data chunk holds.
        tag, bits, channels, rate_hz, block: fields of the ``fmt `` chunk.
        container: RIFF, RIFX, RF64 or BW64.
        extensible: whether the format is written as WAVE_FORMAT_EXTENSIBLE.
        data_size: the size that is claimed for the data, in the ds64 chunk if there is one.
        fmt: the body of the ``fmt `` chunk, in the place of the truth.
        before, after: chunks between format and data, and after the data.
    """
    order = ">" if container == "RIFX" else "<"
    if fmt is None:
        fmt = fmt_body(tag, bits, channels, rate_hz, order=order, extensible=extensible, block=block)
    size = len(body) if data_size is None else data_size
    start = b"WAVE"
    if container in ("RF64", "BW64"):
        start += chunk(b"ds64", struct.pack("<QQQI", 2**33, size, 0, 0))
        size = 0xFFFFFFFF
    content = start + chunk(b"fmt ", fmt, order) + before + chunk(b"data", body, order, size) + after
    whole = 0xFFFFFFFF if container in ("RF64", "BW64") else len(content)
    return container.encode() + struct.pack(f"{order}I", whole) + content


def recording(
    samples: NDArray[np.float64],
    encoding: str = "pcm16",
    rate_hz: int = 16_000,
    container: str = "RIFF",
    extensible: bool = False,
) -> bytes:
    """A truthful WAV file of ``samples``, ``(frames, channels)``."""
    tag, bits = ENCODINGS[encoding]
    body = encode(samples, encoding, ">" if container == "RIFX" else "<")
    return wav(
        body,
        tag=tag,
        bits=bits,
        channels=samples.shape[1],
        rate_hz=rate_hz,
        container=container,
        extensible=extensible,
    )


def with_chunk(recording: bytes, name: bytes, body: bytes) -> bytes:
    """A WAV file with one more chunk, after the samples."""
    whole = recording + chunk(name, body)
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def flac(samples: NDArray[np.float64], rate_hz: int = 16_000, bits: int = 16) -> bytes:
    """A truthful FLAC file of ``samples``, ``(frames, channels)``."""
    file = io.BytesIO()
    sf.write(file, samples, rate_hz, format="FLAC", subtype=f"PCM_{bits if bits > 8 else 'S8'}")
    return file.getvalue()


def silent_flac(seconds: int, channels: int, rate_hz: int = 16_000) -> bytes:
    """A FLAC of digital silence: a thousandth of what it unpacks to."""
    file = io.BytesIO()
    with sf.SoundFile(file, "w", rate_hz, channels, format="FLAC", subtype="PCM_16") as writer:
        for _ in range(seconds):
            writer.write(np.zeros((rate_hz, channels), np.int16))
    return file.getvalue()


def flac_claiming(
    data: bytes,
    *,
    rate_hz: int | None = None,
    channels: int | None = None,
    bits: int | None = None,
    frames: int | None = None,
) -> bytes:
    """The same FLAC under a header (RFC 9639, 8.2) that declares something else."""
    packed = int.from_bytes(data[18:26], "big")
    for value, shift, width in ((rate_hz, 44, 20), (channels, 41, 3), (bits, 36, 5), (frames, 0, 36)):
        if value is not None:
            stored = value - 1 if shift in (41, 36) else value
            packed = packed & ~((1 << width) - 1 << shift) | stored << shift
    return data[:18] + packed.to_bytes(8, "big") + data[26:]


def read_with_soundfile(data: bytes) -> NDArray[np.float64]:
    """What libsndfile makes of it, ``(frames, channels)``: an independent reading."""
    samples: NDArray[np.float64] = sf.read(io.BytesIO(data), dtype="float64", always_2d=True)[0]
    return samples
