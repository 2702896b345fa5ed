"""Coded files: MP3, Ogg, M4A and others. Each input starts a process, so there are some per second only."""

from benchmarks.fuzz.audio_seeds import av_file, sound_file
from benchmarks.fuzz.parsing import parse
from benchmarks.fuzz.target import Target
from ml.errors import AudioError

BY_LIBSNDFILE = (
    *(("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "ALAC_16"), ("CAF", "PCM_16")),
    *(("AU", "PCM_16"), ("AU", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")),
    *(("AIFF", "IMA_ADPCM"), ("NIST", "PCM_16"), ("VOC", "PCM_16")),
)
BY_FFMPEG = (
    *(("ipod", "aac"), ("ipod", "alac"), ("adts", "aac"), ("matroska", "aac"), ("avi", "pcm_s16le"), ("tta", "tta")),
    *(("wv", "wavpack"), ("amr", "libopencore_amrnb")),
)
SEEDS = {
    **{" ".join(each): sound_file(*each) for each in BY_LIBSNDFILE},
    **{" ".join(each): av_file(*each) for each in BY_FFMPEG},
}
WORDS = (b"OggS", b"ID3", b"ftyp", b"moov", b"mdat", b"stsd", b"dref", b"url file:///etc/passwd\0", b"caff", b"data")
TARGET = Target(SEEDS, parse, (AudioError,), WORDS, head_bytes=1024)
