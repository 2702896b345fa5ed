"""FLAC, with and without a length in its header."""

from benchmarks.fuzz.audio_seeds import sound_file
from benchmarks.fuzz.parsing import parse_here
from benchmarks.fuzz.target import Target
from ml.errors import AudioError


def _without_length(flac: bytes) -> bytes:
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


KNOWN = {
    **{subtype: sound_file("FLAC", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")},
    "of 8 channels": sound_file("FLAC", "PCM_16", channels=8),
}
SEEDS = KNOWN | {f"{name} without length": _without_length(data) for name, data in KNOWN.items()}
TARGET = Target(SEEDS, parse_here, (AudioError,), (b"fLaC", b"ID3", b"\xff\xf8", b"OggS"), head_bytes=200)
