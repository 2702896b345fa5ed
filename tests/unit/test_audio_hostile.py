"""Invalid audio files: refused with a specific error and what was found, in little memory and time."""

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audio.decode import decode
from ml.errors import (
    AudioError,
    EmptyAudio,
    MalformedAudio,
    NotAudio,
    NotFinite,
    RecordingTooLong,
    RecordingTooShort,
    TooManyChannels,
    TruncatedAudio,
    UnpackedTooLarge,
    UnsupportedCodec,
    UnsupportedSampleRate,
)
from tests import sounds

SECOND = sounds.encode(sounds.noise(16_000), "pcm16")
FLAC = sounds.flac(sounds.noise(16_000, 2))
MAX_GROWTH_BYTES = 50 * 2**20


class Hostile(NamedTuple):
    """An invalid file, the error it must raise, and a pattern that the message must match."""

    make: Callable[[], bytes]
    error: type[AudioError]
    found: str


def _floats(value: float, bits: int = 32) -> bytes:
    samples = np.zeros(16_000, f"<f{bits // 8}")
    samples[9_000] = value
    return sounds.wav(samples.tobytes(), tag=sounds.FLOAT, bits=bits)


def _with_codec(tag: int, bits: int = 16) -> Callable[[], bytes]:
    return lambda: sounds.wav(SECOND, tag=tag, bits=bits)


def _data_before_fmt() -> bytes:
    fmt = sounds.chunk(b"fmt ", sounds.fmt_body(sounds.PCM, 16, 1, 16_000))
    content = b"WAVE" + sounds.chunk(b"data", SECOND) + fmt
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _without_data() -> bytes:
    return sounds.wav(b"")[: -len(b"data\0\0\0\0")]


def _other_subformat() -> bytes:
    fmt = sounds.fmt_body(sounds.PCM, 16, 1, 16_000, extensible=True)
    return sounds.wav(SECOND, fmt=fmt[:-1] + b"\0")


HOSTILE = {
    "nothing": Hostile(lambda: b"", EmptyAudio, "a recording was expected"),
    "wav-without-samples": Hostile(lambda: sounds.wav(b""), EmptyAudio, "no samples"),
    "png": Hostile(lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), NotAudio, "PNG"),
    "jpeg": Hostile(lambda: b"\xff\xd8\xff\xe0" + bytes(100), NotAudio, "JPEG"),
    "playlist": Hostile(lambda: b"#EXTM3U\nfile:///etc/passwd\n", NotAudio, "playlist"),
    "pdf": Hostile(lambda: b"%PDF-1.7" + bytes(100), NotAudio, "PDF"),
    "zip": Hostile(lambda: b"PK\3\4" + bytes(100), NotAudio, "zip"),
    "html": Hostile(lambda: b"<!DOCTYPE html>", NotAudio, "HTML"),
    "random": Hostile(lambda: bytes.fromhex("8badf00d") + bytes(100), NotAudio, "8b ad f0 0d"),
    "one-byte": Hostile(lambda: b"R", NotAudio, "52"),
    "riff-webp": Hostile(lambda: b"RIFF" + bytes(4) + b"WEBP" + bytes(100), MalformedAudio, "not a WAVE"),
    "riff-alone": Hostile(lambda: b"RIFF", MalformedAudio, "RIFF"),
    "g726": Hostile(_with_codec(0x0045, 4), UnsupportedCodec, "G.726 ADPCM"),
    "unknown-codec": Hostile(_with_codec(0xBEEF), UnsupportedCodec, "0xbeef"),
    "pcm4": Hostile(_with_codec(sounds.PCM, 4), UnsupportedCodec, "4-bit PCM"),
    "pcm12-in-one-byte": Hostile(_with_codec(sounds.PCM, 12), MalformedAudio, "12 bits in blocks of 1 bytes"),
    "pcm64": Hostile(_with_codec(sounds.PCM, 64), UnsupportedCodec, "64-bit PCM"),
    "float16": Hostile(_with_codec(sounds.FLOAT, 16), UnsupportedCodec, "16-bit float"),
    "other-subformat": Hostile(_other_subformat, UnsupportedCodec, "subformat"),
    "cut-in-samples": Hostile(lambda: sounds.wav(SECOND)[:-1000], TruncatedAudio, "32000 bytes.* the file has 31000"),
    "one-byte-short": Hostile(lambda: sounds.wav(SECOND)[:-1], TruncatedAudio, "31999"),
    "cut-in-fmt": Hostile(lambda: sounds.wav(SECOND)[:28], TruncatedAudio, "fmt "),
    "cut-in-another-chunk": Hostile(
        lambda: sounds.wav(SECOND, before=sounds.chunk(b"LIST", b"", size=10**9)), TruncatedAudio, "LIST"
    ),
    "three-gigabytes": Hostile(lambda: sounds.wav(SECOND, data_size=3 * 10**9), TruncatedAudio, "3000000000"),
    "rf64-promising-exabytes": Hostile(
        lambda: sounds.wav(SECOND, container="RF64", data_size=2**60), TruncatedAudio, str(2**60)
    ),
    "fmt-of-14-bytes": Hostile(
        lambda: sounds.wav(SECOND, fmt=sounds.fmt_body(1, 16, 1, 16_000)[:14]), MalformedAudio, "14 bytes"
    ),
    "extensible-of-24-bytes": Hostile(
        lambda: sounds.wav(SECOND, fmt=sounds.fmt_body(1, 16, 1, 16_000, extensible=True)[:24]),
        MalformedAudio,
        "40 bytes.*24",
    ),
    "data-before-fmt": Hostile(_data_before_fmt, MalformedAudio, "before"),
    "no-data": Hostile(_without_data, MalformedAudio, "'data'"),
    "block-too-small": Hostile(lambda: sounds.wav(SECOND, channels=2, block=2), MalformedAudio, "2 channels.*2 bytes"),
    "block-of-0": Hostile(lambda: sounds.wav(SECOND, block=0), MalformedAudio, "blocks of 0"),
    "no-channels": Hostile(lambda: sounds.wav(SECOND, channels=0), MalformedAudio, "0 channels"),
    "65-channels": Hostile(lambda: sounds.wav(bytes(65 * 2 * 16_000), channels=65), TooManyChannels, "65"),
    "30000-channels": Hostile(lambda: sounds.wav(bytes(60_000), channels=30_000), TooManyChannels, "30000"),
    "0-hz": Hostile(lambda: sounds.wav(SECOND, rate_hz=0), UnsupportedSampleRate, "0 Hz"),
    "3999-hz": Hostile(lambda: sounds.wav(SECOND, rate_hz=3_999), UnsupportedSampleRate, "3999"),
    "384001-hz": Hostile(lambda: sounds.wav(SECOND, rate_hz=384_001), UnsupportedSampleRate, "384001"),
    "4-gigahertz": Hostile(lambda: sounds.wav(SECOND, rate_hz=2**32 - 1), UnsupportedSampleRate, "4294967295"),
    "too-short": Hostile(lambda: sounds.wav(SECOND[: 2 * 7840]), RecordingTooShort, "0.490 s"),
    "one-frame": Hostile(lambda: sounds.wav(SECOND[:2]), RecordingTooShort, "0.000 s"),
    "too-long": Hostile(lambda: sounds.wav(bytes(2 * 4_000 * 601), rate_hz=4_000), RecordingTooLong, "601"),
    "too-large": Hostile(
        lambda: sounds.wav(bytes(2 * 64 * 600_000), channels=64), UnpackedTooLarge, "146 MiB.* 128 MiB"
    ),
    "nan": Hostile(lambda: _floats(np.nan), NotFinite, "NaN"),
    "infinity": Hostile(lambda: _floats(np.inf), NotFinite, "infinite"),
    "minus-infinity-64": Hostile(lambda: _floats(-np.inf, 64), NotFinite, "infinite"),
    "1e30": Hostile(lambda: _floats(1e30), NotFinite, "1e.30"),
    "minus-1e300": Hostile(lambda: _floats(-1e300, 64), NotFinite, "1e.300"),
    "flac-magic-alone": Hostile(lambda: FLAC[:4], TruncatedAudio, "4 bytes"),
    "flac-cut-in-header": Hostile(lambda: FLAC[:30], TruncatedAudio, "30 bytes"),
    "flac-without-streaminfo": Hostile(lambda: FLAC[:4] + b"\4" + FLAC[5:], MalformedAudio, "type 4"),
    "flac-12-bit": Hostile(lambda: sounds.flac_claiming(FLAC, bits=12), UnsupportedCodec, "12-bit"),
    "flac-1-hz": Hostile(lambda: sounds.flac_claiming(FLAC, rate_hz=1), UnsupportedSampleRate, "1 Hz"),
    "flac-too-short": Hostile(lambda: sounds.flac(sounds.noise(7_840)), RecordingTooShort, "0.490 s"),
    "flac-too-long": Hostile(lambda: sounds.flac_claiming(FLAC, frames=2**36 - 1), RecordingTooLong, "4294967.3 s"),
    "flac-claiming-gigabytes": Hostile(
        lambda: sounds.flac_claiming(FLAC, rate_hz=192_000, channels=8, frames=192_000 * 599),
        UnpackedTooLarge,
        "3510 MiB",
    ),
    "flac-of-noise-for-frames": Hostile(
        lambda: FLAC[:100] + np.random.default_rng(0).bytes(len(FLAC) - 100), MalformedAudio, "cannot be decoded"
    ),
}


@pytest.mark.parametrize("case", list(HOSTILE.values()), ids=list(HOSTILE))
def test_each_kind_is_refused_with_its_error_and_the_value_found(case: Hostile) -> None:
    """Each kind of invalid bytes has its own error, whose message names the value found."""
    with pytest.raises(case.error, match=case.found) as refusal:
        decode(case.make())
    assert type(refusal.value) is case.error
    assert str(refusal.value).endswith(".")


def test_a_path_is_refused_as_its_bytes_are(tmp_path: Path) -> None:
    """A file on disk raises the same error as its bytes; one example of each error."""
    samples = {case.error: case for case in reversed(HOSTILE.values())}  # the first of each
    assert len(samples) == 11
    for number, case in enumerate(samples.values()):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(case.make())
        with pytest.raises(case.error, match=case.found) as refusal:
            decode(path)
        assert type(refusal.value) is case.error


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_flac_cut_short_is_refused(keep: float) -> None:
    """A FLAC file with missing samples is refused, however few are missing."""
    with pytest.raises((TruncatedAudio, MalformedAudio)):
        decode(FLAC[: round(len(FLAC) * keep)])


def test_a_flac_with_fewer_samples_than_its_header_states_is_refused() -> None:
    """A header that states one second more than was coded is refused."""
    with pytest.raises((TruncatedAudio, MalformedAudio)):
        decode(sounds.flac_claiming(FLAC, frames=32_000))


@pytest.mark.parametrize("at", [0.25, 0.5, 0.75])
def test_a_flac_with_corrupted_frames_is_refused(at: float) -> None:
    """FLAC frames have a checksum: a damaged frame is an error and not silence."""
    damaged = bytearray(FLAC)
    start = round(len(FLAC) * at)
    damaged[start : start + 16] = bytes(byte ^ 0xFF for byte in damaged[start : start + 16])
    with pytest.raises(MalformedAudio):
        decode(bytes(damaged))


def test_a_flac_yields_no_more_than_its_header_states() -> None:
    """Of ten minutes after a header that states one second, one second is decoded."""
    found = decode(sounds.flac_claiming(sounds.silent_flac(600, 1), frames=16_000))
    assert len(found.samples) == 16_000


def test_a_million_empty_chunks_are_refused_at_once() -> None:
    """The reader stops after 256 chunks: less than half a second for 8 MB of them."""
    data = sounds.wav(SECOND, before=sounds.chunk(b"junk", b"") * 1_000_000)
    start = time.process_time()
    with pytest.raises(MalformedAudio, match="256 chunks"):
        decode(data)
    assert time.process_time() - start < 0.5


MEASURE = """
import sys
from pathlib import Path
from ml.audio.decode import decode
from ml.errors import AudioError
from tests import sounds

def kilobytes(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1])

decode(sounds.flac(sounds.noise(16_000)))  # load modules on first use
data = Path(sys.argv[1]).read_bytes() if sys.argv[2] == "bytes" else Path(sys.argv[1])
before = kilobytes("VmRSS")
try:
    decode(data)
    print("accepted", end=" ")
except AudioError as error:
    print(type(error).__name__, end=" ")
print(1024 * (kilobytes("VmHWM") - before))
"""
BOMBS = {
    "ten-minutes-of-silence": (lambda: sounds.silent_flac(601, 8), "RecordingTooLong"),
    "eight-channels-of-silence": (lambda: sounds.silent_flac(599, 8), "UnpackedTooLarge"),
    "header-claiming-petabytes": (
        lambda: sounds.flac_claiming(FLAC, rate_hz=192_000, frames=2**36 - 1),
        "RecordingTooLong",
    ),
    "header-claiming-125-mebibytes": (
        lambda: sounds.flac_claiming(FLAC, rate_hz=32_000, frames=16_000_000),
        "MalformedAudio|TruncatedAudio",
    ),
    "wav-claiming-four-gigabytes": (lambda: sounds.wav(SECOND, data_size=4 * 10**9), "TruncatedAudio"),
    "sixty-four-channels": (lambda: sounds.wav(bytes(2 * 64 * 600_000), channels=64), "UnpackedTooLarge"),
    "nan-at-the-end-of-minutes": (
        lambda: sounds.wav(bytes(10_000_000) + np.float32(np.nan).tobytes(), tag=sounds.FLOAT, bits=32),
        "NotFinite",
    ),
}


# All of them from bytes; from a path, a real archive and a file that is wrong at its very end.
SOURCES = [
    *((bomb, "bytes") for bomb in BOMBS),
    ("eight-channels-of-silence", "path"),
    ("nan-at-the-end-of-minutes", "path"),
]


@pytest.mark.parametrize(("bomb", "source"), SOURCES)
def test_a_file_that_unpacks_to_gigabytes_is_refused_in_little_memory(bomb: str, source: str, tmp_path: Path) -> None:
    """The peak memory of a new process grows by less than 50 MB, for claimed and for real sizes."""
    make, expected = BOMBS[bomb]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    command = [sys.executable, "-c", MEASURE, str(path), source]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome, growth = done.stdout.split()
    assert outcome in expected.split("|")
    assert int(growth) < MAX_GROWTH_BYTES


def assert_decodes_or_is_refused(data: bytes) -> None:
    """Check that decoding gives finite float32 samples of the stated duration, or an AudioError."""
    try:
        found = decode(data)
    except AudioError:
        return
    assert found.samples.dtype == np.float32
    assert found.samples.ndim == 1
    assert np.isfinite(found.samples).all()
    assert len(found.samples) == round(found.quality.duration_s * found.sample_rate_hz)
    assert 0.5 <= found.quality.duration_s <= 600
    assert 4_000 <= found.sample_rate_hz <= 384_000
    assert 0 <= found.quality.clipped_share <= 1


@settings(max_examples=300)
@given(
    start=st.sampled_from(
        [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFX\0\0\0\0WAVEfmt ", b"RF64\0\0\0\0WAVEds64", b"fLaC"]
    ),
    rest=st.binary(max_size=200),
)
def test_arbitrary_bytes_decode_or_are_refused(start: bytes, rest: bytes) -> None:
    """Any bytes, also after valid first bytes, are a recording or an AudioError."""
    assert_decodes_or_is_refused(start + rest)


VALID = [
    sounds.recording(sounds.noise(2_400, 2), encoding, 4_000, container, extensible)
    for encoding in sounds.ENCODINGS
    for container, extensible in [("RIFF", False), ("RIFF", True), ("RIFX", False), ("RF64", True)]
]
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 120), st.integers(0, 255)),
        st.tuples(st.just("flip"), st.integers(0, 120), st.integers(0, 7)),
        st.tuples(st.just("word"), st.integers(0, 60), st.sampled_from([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])),
        st.tuples(st.just("cut"), st.integers(0, 50_000), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 120), st.integers(1, 8)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """Apply each change: set or flip a byte, write a 32-bit word, cut off the end, drop bytes."""
    found = bytearray(data)
    for kind, at, value in changes:
        if at >= len(found):
            continue
        if kind == "set":
            found[at] = value
        elif kind == "flip":
            found[at] ^= 1 << value
        elif kind == "word":
            found[2 * at : 2 * at + 4] = struct.pack("<I", value)
        elif kind == "cut":
            del found[at:]
        else:
            del found[at : at + value]
    return bytes(found)


@settings(max_examples=500)
@given(data=st.sampled_from(VALID), changes=mutations)
def test_mutated_wav_headers_decode_or_are_refused(data: bytes, changes: list[tuple[str, int, int]]) -> None:
    """A WAV file with changed or missing header bytes is a recording or an AudioError."""
    assert_decodes_or_is_refused(mutated(data, changes))


@settings(max_examples=200)
@given(
    changes=mutations,
    deep=st.lists(st.tuples(st.just("set"), st.integers(0, len(FLAC) - 1), st.integers(0, 255)), max_size=2),
)
def test_mutated_flac_decodes_or_is_refused(
    changes: list[tuple[str, int, int]], deep: list[tuple[str, int, int]]
) -> None:
    """A FLAC file with changes in its header and frames is a recording or an AudioError."""
    assert_decodes_or_is_refused(mutated(mutated(FLAC, deep), changes))
