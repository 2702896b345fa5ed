"""WAV, RF64 and Wave64."""

from benchmarks.fuzz.audio_seeds import sound_file, with_chunks
from benchmarks.fuzz.parsing import parse_here
from benchmarks.fuzz.target import Target
from ml.errors import AudioError

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
SEEDS = {
    **{
        f"{kind} {subtype}": sound_file(kind, subtype)
        for kind in ("WAV", "WAVEX", "W64", "RF64")
        for subtype in SUBTYPES
    },
    **{f"RIFX {subtype}": sound_file("WAV", subtype, "BIG") for subtype in SUBTYPES},
    "with chunks": with_chunks(sound_file("WAV", "PCM_16")),
    "of 8 channels": sound_file("WAVEX", "PCM_16", channels=8),
}
WORDS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"WAVE", b"fmt ", b"data", b"ds64", b"LIST", b"fact", b"\xfe\xff")
TARGET = Target(SEEDS, parse_here, (AudioError,), WORDS)
