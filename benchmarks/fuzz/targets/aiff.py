"""AIFF and AIFF-C."""

from benchmarks.fuzz.audio_seeds import sound_file
from benchmarks.fuzz.parsing import parse_here
from benchmarks.fuzz.target import Target
from ml.errors import AudioError

SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
SEEDS = {
    **{subtype: sound_file("AIFF", subtype) for subtype in SUBTYPES},
    "sowt": sound_file("AIFF", "PCM_16", "LITTLE"),
    "of 3 channels": sound_file("AIFF", "PCM_16", channels=3),
}
WORDS = (b"FORM", b"AIFF", b"AIFC", b"COMM", b"SSND", b"NONE", b"sowt", b"fl32", b"ulaw", b"raw ", b"ima4", b"in24")
TARGET = Target(SEEDS, parse_here, (AudioError,), WORDS)
