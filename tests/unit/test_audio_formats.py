"""Formats that are read here: each file is built by hand, and its samples are compared with the exact values."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.audio import formats
from ml.audio.decode import decode
from ml.audio.info import read_info
from ml.errors import AudioError, EmptyAudio, TruncatedAudio, UnsupportedCodec
from tests import sounds
from tests.unit.test_audio_hostile import assert_decodes_or_is_refused, mutated, mutations

RATE_HZ = 8_000
FRAMES = RATE_HZ // 2
WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
WAVE64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def left_justified(bits: int, stored_bits: int, channels: int = 1) -> NDArray[np.int64]:
    """Integers of ``bits`` bits in the upper bits of ``stored_bits``, with both ends of the range."""
    highest = 2 ** (bits - 1)
    values = np.random.default_rng(bits).integers(-highest, highest, (FRAMES, channels))
    values[0], values[1] = -highest, highest - 1
    return values << (stored_bits - bits)


def integers(values: NDArray[np.int64], size: int, order: str) -> bytes:
    """Integers of ``size`` bytes, two's complement."""
    eight = values.astype(f"{order}i8").view(np.uint8).reshape(-1, 8)
    return (eight[:, :size] if order == "<" else eight[:, 8 - size :]).tobytes()


def extensible(bits: int, valid_bits: int, channels: int = 1, tag: int = sounds.PCM) -> bytes:
    """The body of an extensible 'fmt ' chunk with valid bits."""
    fmt = bytearray(sounds.fmt_body(tag, bits, channels, RATE_HZ, extensible=True))
    struct.pack_into("<H", fmt, 18, valid_bits)
    return bytes(fmt)


def wave64(fmt: bytes, body: bytes, *, data_size: int | None = None, before: bytes = b"") -> bytes:
    """A Wave64 file: chunks with GUIDs, 64-bit sizes that count their own 24 bytes, and padding to 8."""

    def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
        size = 24 + len(body) if size is None else size
        return name + WAVE64_TAIL + struct.pack("<Q", size) + body + bytes(-len(body) % 8)

    content = b"wave" + WAVE64_TAIL + chunk(b"fmt ", fmt) + before + chunk(b"data", body, data_size)
    return WAVE64_RIFF + struct.pack("<Q", 24 + len(content)) + content


def extended(rate_hz: int) -> bytes:
    """A whole number as an 80-bit float."""
    exponent = rate_hz.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, rate_hz << (63 - exponent))


def aiff(
    body: bytes,
    bits: int,
    *,
    kind: bytes | None = None,
    channels: int = 1,
    frames: int = FRAMES,
    rate_hz: int = RATE_HZ,
    ssnd_size: int | None = None,
    before: bytes = b"",
    samples_first: bool = False,
    offset: int = 0,
) -> bytes:
    """An AIFF file, or AIFF-C with ``kind``, each of whose claims can be set apart from the truth."""
    comm = struct.pack(">hIh", channels, frames & 0xFFFFFFFF, bits) + extended(rate_hz)
    if kind is not None:
        comm += kind + b"\x04none\x00"
    size = 8 + offset + len(body) if ssnd_size is None else ssnd_size
    ssnd = sounds.chunk(b"SSND", struct.pack(">II", offset, 0) + bytes(offset) + body, ">", size)
    described = sounds.chunk(b"COMM", comm, ">")
    content = before + (ssnd + described if samples_first else described + ssnd)
    form = b"AIFF" if kind is None else b"AIFC"
    return b"FORM" + struct.pack(">I", 4 + len(content)) + form + content


@pytest.mark.parametrize("container", ["RIFF", "RIFX", "RF64", "BW64"])
def test_eight_bits_are_unsigned(container: str) -> None:
    """0, 128 and 255 are -1, 0 and 127 / 128, in each kind of WAV."""
    codes = np.random.default_rng(1).integers(0, 256, (FRAMES, 2), np.uint8)
    codes[0] = 0, 255
    data = sounds.wav(codes.tobytes(), bits=8, channels=2, rate_hz=RATE_HZ, container=container)
    found = decode(data, channel=1)
    np.testing.assert_array_equal(found.samples, (codes[:, 1].astype(int) - 128) / np.float32(128))
    assert found.quality.clipped_share == pytest.approx(np.isin(codes, [0, 255]).mean())
    assert (read_info(data).codec, read_info(data).bits, found.quality.codec) == ("pcm", 8, None)


@pytest.mark.parametrize(
    ("valid_bits", "stored_bits"), [(12, 16), (14, 16), (20, 24), (20, 32), (24, 32), (17, 32), (8, 16), (16, 32)]
)
@pytest.mark.parametrize("kind", ["wav", "w64"])
def test_valid_bits_are_the_upper_ones(kind: str, valid_bits: int, stored_bits: int) -> None:
    """wValidBitsPerSample: full scale is that of the stored bits, and the largest value is clipped."""
    values = left_justified(valid_bits, stored_bits, 2)
    fmt = extensible(stored_bits, valid_bits, 2)
    body = integers(values, stored_bits // 8, "<")
    data = wave64(fmt, body) if kind == "w64" else sounds.wav(body, fmt=fmt)
    found = decode(data, channel=0)
    np.testing.assert_array_equal(found.samples, (values[:, 0] / 2.0 ** (stored_bits - 1)).astype(np.float32))
    full = (values == values.min()) | (values == values.max())
    assert found.quality.clipped_share == pytest.approx(full.mean())
    assert read_info(data).bits == valid_bits


@pytest.mark.parametrize(("bits", "size"), [(12, 2), (20, 3), (20, 4), (24, 4)])
def test_plain_pcm_of_other_sizes_is_left_justified(bits: int, size: int) -> None:
    """Without the extensible format, the blocks show in how many bytes a sample is stored."""
    values = left_justified(bits, 8 * size)
    fmt = sounds.fmt_body(sounds.PCM, bits, 1, RATE_HZ, block=size)
    found = decode(sounds.wav(integers(values, size, "<"), fmt=fmt))
    np.testing.assert_array_equal(found.samples, (values[:, 0] / 2.0 ** (8 * size - 1)).astype(np.float32))


@pytest.mark.parametrize("valid_bits", [0, 99])
def test_impossible_valid_bits_are_not_believed(valid_bits: int) -> None:
    """Zero, or more bits than are stored: all stored bits count, as before."""
    body = sounds.encode(sounds.noise(FRAMES), "pcm16")
    found = decode(sounds.wav(body, fmt=extensible(16, valid_bits)))
    np.testing.assert_array_equal(found.samples, decode(sounds.wav(body, rate_hz=RATE_HZ)).samples)


def mu_law(code: int) -> int:
    """G.711, table 2a, at 16 bits: the end of the segment, then the step within it."""
    code = ~code & 0xFF
    segment, step = code >> 4 & 7, code & 15
    size = (33 + 2 * step) * 2**segment - 33
    return 4 * (-size if code & 0x80 else size)


def a_law(code: int) -> int:
    """G.711, table 1a, at 16 bits."""
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 15
    size = 2 * step + 1 if segment == 0 else (2 * step + 33) * 2 ** (segment - 1)
    return 8 * (size if code & 0x80 else -size)


G711 = {"mulaw": (7, b"ulaw", mu_law, 32_124), "alaw": (6, b"alaw", a_law, 32_256)}


@pytest.mark.parametrize("codec", G711)
@pytest.mark.parametrize("kind", ["wav", "extensible", "w64", "aiff"])
def test_telephone_codes_have_the_values_of_g711(codec: str, kind: str) -> None:
    """All 256 codes, as the recommendation defines them; both ends are full scale."""
    tag, name, value, highest = G711[codec]
    codes = np.tile(np.arange(256, dtype=np.uint8), 16)
    fmt = sounds.fmt_body(tag, 8, 1, RATE_HZ)
    data = {
        "wav": lambda: sounds.wav(codes.tobytes(), fmt=fmt + b"\0\0", before=sounds.chunk(b"fact", bytes(4))),
        "extensible": lambda: sounds.wav(codes.tobytes(), fmt=extensible(8, 8, tag=tag)),
        "w64": lambda: wave64(fmt, codes.tobytes()),
        "aiff": lambda: aiff(codes.tobytes(), 16, kind=name, frames=len(codes)),
    }[kind]()
    expected = np.array([value(code) for code in range(256)])
    assert (expected.max(), expected.min()) == (highest, -highest)
    found = decode(data)
    np.testing.assert_array_equal(found.samples, np.tile(expected, 16) / np.float32(32_768))
    assert found.quality.clipped_share == pytest.approx(2 / 256)
    assert (found.quality.codec, read_info(data).codec, read_info(data).bits) == (codec, codec, 8)


@pytest.mark.parametrize("encoding", sorted(sounds.ENCODINGS))
@pytest.mark.parametrize("kind", ["BW64", "w64", "w64-extensible"])
def test_wave64_and_bw64_have_the_samples_of_wav(kind: str, encoding: str) -> None:
    """The same samples in another container are the same to the bit, and have the same hash."""
    samples = sounds.noise(FRAMES, 3)
    plain = sounds.recording(samples, encoding, RATE_HZ)
    if kind == "BW64":
        other = sounds.recording(samples, encoding, RATE_HZ, "BW64")
    else:
        tag, bits = sounds.ENCODINGS[encoding]
        fmt = sounds.fmt_body(tag, bits, 3, RATE_HZ, extensible="-" in kind)
        notes = b"LIST" + WAVE64_TAIL + struct.pack("<Q", 24 + 5) + b"notes" + bytes(3)
        other = wave64(fmt, sounds.encode(samples, encoding), before=notes)
    np.testing.assert_array_equal(decode(other).samples, decode(plain).samples)
    assert read_info(other).audio_hash == read_info(plain).audio_hash


AIFF_KINDS: dict[str, tuple[bytes | None, int, str]] = {
    "AIFF of 8 bits": (None, 8, ">i1"),
    "AIFF of 16 bits": (None, 16, ">i2"),
    "AIFF of 32 bits": (None, 32, ">i4"),
    "NONE": (b"NONE", 16, ">i2"),
    "twos": (b"twos", 16, ">i2"),
    "sowt": (b"sowt", 16, "<i2"),
    "in32": (b"in32", 16, ">i4"),
    "23ni": (b"23ni", 32, "<i4"),
    "fl32": (b"fl32", 32, ">f4"),
    "FL32": (b"FL32", 32, ">f4"),
    "fl64": (b"fl64", 64, ">f8"),
}


@pytest.mark.parametrize("kind", AIFF_KINDS)
def test_each_kind_of_aiff_has_its_exact_samples(kind: str) -> None:
    """Big-endian and little-endian integers and floats, of two channels."""
    name, bits, dtype = AIFF_KINDS[kind]
    if "f" in dtype:
        values = sounds.noise(FRAMES, 2).astype(dtype)
        expected = values.astype(np.float32)
    else:
        whole = 8 * int(dtype[2])
        values = left_justified(whole, whole, 2).astype(dtype)
        expected = (values.astype(np.float64) / 2.0 ** (whole - 1)).astype(np.float32)
    found = decode(aiff(values.tobytes(), bits, kind=name, channels=2), channel=1)
    np.testing.assert_array_equal(found.samples, expected[:, 1])
    assert found.sample_rate_hz == RATE_HZ


@pytest.mark.parametrize(
    ("name", "bits", "order"), [(None, 24, ">"), (None, 20, ">"), (b"in24", 24, ">"), (b"42n1", 24, "<")]
)
def test_aiff_of_20_and_24_bits(name: bytes | None, bits: int, order: str) -> None:
    """Three bytes for each sample, in either order."""
    values = left_justified(bits, 24)
    found = decode(aiff(integers(values, 3, order), bits, kind=name))
    np.testing.assert_array_equal(found.samples, (values[:, 0] / 2.0**23).astype(np.float32))


def test_aiff_with_raw_bytes_is_unsigned() -> None:
    """The compression 'raw ' is unsigned, and 8 bits without it are signed."""
    codes = np.arange(FRAMES, dtype=np.uint8)
    found = decode(aiff(codes.tobytes(), 8, kind=b"raw "))
    np.testing.assert_array_equal(found.samples, (codes.astype(int) - 128) / np.float32(128))


def test_chunks_of_aiff_may_have_any_order_and_the_samples_an_offset() -> None:
    """COMM after SSND, other chunks of odd size before, and bytes between the head of SSND and the samples."""
    body = integers(left_justified(16, 16), 2, ">")
    plain = decode(aiff(body, 16)).samples
    notes = sounds.chunk(b"NAME", b"fan", ">") + sounds.chunk(b"ANNO", b"", ">")
    for data in (aiff(body, 16, samples_first=True), aiff(body, 16, before=notes), aiff(body, 16, offset=6)):
        np.testing.assert_array_equal(decode(data).samples, plain)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 352_800, 384_000])
def test_rates_of_aiff_are_80_bit_floats(rate_hz: int) -> None:
    """Rates up to 384 kHz, also those that are no multiple of 1000."""
    data = aiff(bytes(2 * rate_hz), 16, frames=rate_hz, rate_hz=rate_hz)
    assert decode(data).quality.sample_rate_hz == rate_hz


def test_flac_of_8_bits_is_read() -> None:
    """The samples are those of libsndfile."""
    data = sounds.flac(sounds.noise(FRAMES, 2, level=0.3), RATE_HZ, 8)
    np.testing.assert_array_equal(decode(data, channel=0).samples, sounds.read_with_soundfile(data)[:, 0])
    assert read_info(data).bits == 8


def test_an_id3_tag_before_flac_is_passed_over() -> None:
    """Some programs write a tag before the file; its size has seven bits in each byte."""
    data = sounds.flac(sounds.noise(FRAMES), RATE_HZ)
    tag = b"ID3\4\0\0" + bytes([0, 0, 1, 72]) + bytes(200)
    np.testing.assert_array_equal(decode(tag + data).samples, decode(data).samples)


# Sizes that writers leave if they cannot return to the header.
OPEN_SIZES = [
    *(0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF - 36, 0xFFFFFF00, 0x7FFFFFFF, 0x7FFFFFFE, 0x7FFFFFDB, 0x80000000),
    *(0x7FFFF000, 0x7FFFF000 + 36, 0x7FFFF000 - 44, 0x7FFFF024, 0x7FFFFFFF - 44, 0),
]


@pytest.mark.parametrize("size", OPEN_SIZES, ids=hex)
@pytest.mark.parametrize("bits", [8, 16, 24])
def test_a_streamed_wav_is_read_to_its_end(size: int, bits: int) -> None:
    """What is there is read, and an incomplete last frame is left out."""
    encoded = integers(left_justified(bits, bits, 2), bits // 8, "<")
    true = sounds.wav(encoded, bits=bits, channels=2, rate_hz=RATE_HZ)
    streamed = sounds.wav(encoded, bits=bits, channels=2, rate_hz=RATE_HZ, data_size=size)
    for tail in (b"", b"\1", encoded[: bits // 8 * 2 - 1]):
        np.testing.assert_array_equal(decode(streamed + tail).samples, decode(true).samples)


@pytest.mark.parametrize("container", ["RF64", "BW64"])
@pytest.mark.parametrize("size", [0, 2**64 - 1, 2**63 - 1, 2**63, 0xFFFFFFFF])
def test_a_streamed_rf64_is_read_to_its_end(container: str, size: int) -> None:
    """The size in 'ds64' may be unknown, too."""
    body = sounds.encode(sounds.noise(FRAMES), "pcm16")
    streamed = sounds.wav(body, rate_hz=RATE_HZ, container=container, data_size=size)
    np.testing.assert_array_equal(decode(streamed).samples, decode(sounds.wav(body, rate_hz=RATE_HZ)).samples)


def test_an_rf64_without_ds64_is_read_to_its_end() -> None:
    """The size 2**32 - 1 then states nothing."""
    body = sounds.encode(sounds.noise(FRAMES), "pcm16")
    streamed = sounds.wav(body, rate_hz=RATE_HZ, data_size=0xFFFFFFFF)
    np.testing.assert_array_equal(decode(b"RF64" + streamed[4:]).samples, decode(streamed).samples)


@pytest.mark.parametrize("size", [0, 24, 2**64 - 1, 2**63 - 1])
def test_a_streamed_wave64_is_read_to_its_end(size: int) -> None:
    """24 is the size of a chunk with nothing in it."""
    fmt, body = sounds.fmt_body(sounds.PCM, 16, 1, RATE_HZ), sounds.encode(sounds.noise(FRAMES), "pcm16")
    np.testing.assert_array_equal(decode(wave64(fmt, body, data_size=size)).samples, decode(wave64(fmt, body)).samples)


@pytest.mark.parametrize("frames", [0, 0xFFFFFFFF, 0x7FFFFFFF, 10**7])
@pytest.mark.parametrize("size", [0, 8, 0xFFFFFFFF, 0x7FFFF000])
def test_a_streamed_aiff_is_read_to_its_end(frames: int, size: int) -> None:
    """Neither the frames of COMM nor the size of SSND are known."""
    body = integers(left_justified(16, 16), 2, ">")
    np.testing.assert_array_equal(
        decode(aiff(body, 16, frames=frames, ssnd_size=size)).samples, decode(aiff(body, 16)).samples
    )


def test_a_streamed_flac_is_read_to_its_end() -> None:
    """A header with the total 0, of 8, 16 and 24 bits; a cut one is read as far as it is whole."""
    for bits in (8, 16, 24):
        data = sounds.flac(sounds.noise(30_000, 2, level=0.3), RATE_HZ, bits)
        streamed = sounds.flac_claiming(data, frames=0)
        np.testing.assert_array_equal(decode(streamed).samples, decode(data).samples)
        assert read_info(streamed).audio_hash == read_info(data).audio_hash
    cut = decode(streamed[: len(streamed) * 2 // 3]).samples
    assert 12_000 < len(cut) < 20_000
    np.testing.assert_array_equal(cut, decode(data).samples[: len(cut)])


def test_a_streamed_flac_is_still_limited() -> None:
    """Without a total, the samples themselves are counted, and the counting ends at the limit."""
    with pytest.raises(AudioError, match="600 s"):
        decode(sounds.flac_claiming(sounds.silent_flac(601, 1), frames=0))


def test_an_empty_data_chunk_before_others_is_empty() -> None:
    """Zero bytes of samples are meant if the rest of the file is a row of chunks."""
    with pytest.raises(EmptyAudio):
        decode(sounds.wav(b"", after=sounds.chunk(b"LIST", b"INFOISFTnone") + sounds.chunk(b"id3 ", b"tag")))


@pytest.mark.parametrize("missing", [1, 2, 1000])
def test_a_true_size_is_a_promise(missing: int) -> None:
    """A WAV, a Wave64 or an AIFF that lacks samples which its header states is refused."""
    body = sounds.encode(sounds.noise(FRAMES), "pcm16")
    for data in (
        sounds.wav(body, rate_hz=RATE_HZ),
        wave64(sounds.fmt_body(sounds.PCM, 16, 1, RATE_HZ), body),
        aiff(body, 16),
        sounds.wav(body, rate_hz=RATE_HZ, container="BW64"),
    ):
        with pytest.raises(TruncatedAudio, match="Send the whole file"):
            decode(data[:-missing])


def test_a_stated_size_with_half_a_frame_is_read() -> None:
    """Some writers count the padding of 24-bit samples."""
    body = sounds.encode(sounds.noise(FRAMES + 1), "pcm24")
    data = sounds.wav(body + b"\0", bits=24, rate_hz=RATE_HZ)
    assert len(decode(data).samples) == FRAMES + 1


@pytest.mark.parametrize("name", [b"fact", b"LIST", b"bext", b"junk"])
def test_a_forgotten_padding_byte_before_any_chunk_is_forgiven(name: bytes) -> None:
    """Also if the next chunk is neither 'fmt ' nor 'data'."""
    body = sounds.encode(sounds.noise(8_000), "pcm16")
    before = sounds.chunk(b"iXML", b"odd").removesuffix(b"\0") + sounds.chunk(name, b"even")
    assert decode(sounds.wav(body, rate_hz=RATE_HZ, before=before)).samples.shape == (8_000,)


def test_an_empty_data_chunk_before_the_samples_is_passed_over() -> None:
    """Without another one, the recording is empty."""
    body = sounds.encode(sounds.noise(8_000), "pcm16")
    good = sounds.wav(body, rate_hz=RATE_HZ)
    position = good.index(b"data")
    assert decode(good[:position] + sounds.chunk(b"data", b"") + good[position:]).samples.shape == (8_000,)
    with pytest.raises(EmptyAudio):
        decode(good[:position] + sounds.chunk(b"data", b"") + sounds.chunk(b"LIST", b"INFO"))


def test_a_forgotten_padding_byte_is_forgiven() -> None:
    """A chunk of odd size without its padding: the next chunk begins at once."""
    body = sounds.encode(sounds.noise(FRAMES), "pcm16")
    good = sounds.wav(body, rate_hz=RATE_HZ, before=sounds.chunk(b"iXML", b"odd"))
    at = good.index(b"data")
    np.testing.assert_array_equal(decode(good[: at - 1] + good[at:]).samples, decode(good).samples)


@pytest.mark.parametrize("name", [b"JUNK", b"bext", b"iXML", b"LIST", b"fact", b"PEAK", b"cue ", b"PAD "])
def test_chunks_before_the_format_are_passed_over(name: bytes) -> None:
    """Of odd and even size, and empty, before 'fmt ' and before 'data'."""
    plain = sounds.wav(sounds.encode(sounds.noise(FRAMES), "pcm16"), rate_hz=RATE_HZ)
    for size in (0, 1, 602, 603):
        notes = sounds.chunk(name, bytes(size))
        data = plain[:12] + notes + plain[12:36] + notes + plain[36:]
        np.testing.assert_array_equal(decode(data).samples, decode(plain).samples)


@pytest.mark.parametrize("kind", [b"MAC9", b"QDM2", b"\0\0\0\0"])
def test_an_unknown_compression_is_named(kind: bytes) -> None:
    """The four letters are in the message."""
    with pytest.raises(UnsupportedCodec, match="ffmpeg"):
        decode(aiff(bytes(2 * FRAMES), 16, kind=kind))


SMALL: dict[str, Callable[[], bytes]] = {
    "wav of 8 bits": lambda: sounds.wav(bytes(range(256)) * 16, bits=8, rate_hz=RATE_HZ),
    "wav of 20 in 32": lambda: sounds.wav(bytes(4 * FRAMES), fmt=extensible(32, 20)),
    "mu-law": lambda: sounds.wav(bytes(range(256)) * 16, tag=7, bits=8, rate_hz=RATE_HZ),
    "wave64": lambda: wave64(sounds.fmt_body(sounds.PCM, 16, 1, RATE_HZ), bytes(2 * FRAMES)),
    "aiff": lambda: aiff(bytes(2 * FRAMES), 16),
    "aiff-c": lambda: aiff(bytes(4 * FRAMES), 32, kind=b"fl32"),
    "flac without a length": lambda: sounds.flac_claiming(sounds.flac(sounds.noise(FRAMES), RATE_HZ), frames=0),
    "8-bit flac": lambda: sounds.flac(sounds.noise(FRAMES), RATE_HZ, 8),
}
MADE = {name: make() for name, make in SMALL.items()}


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(MADE)), changes=mutations)
def test_changed_files_of_each_format_decode_or_are_refused(name: str, changes: list[tuple[str, int, int]]) -> None:
    """A valid file with up to four changes in its header is a recording or an AudioError."""
    data = mutated(MADE[name], changes)
    found = formats.recognise(memoryview(data))
    if found is None or found.decoder == "here":  # the others take a process each
        assert_decodes_or_is_refused(data)


def test_soundfile_reads_what_these_tests_build() -> None:
    """The builders of this file are right: libsndfile finds the same samples."""
    body = integers(left_justified(16, 16), 2, "<")
    for data in (
        wave64(sounds.fmt_body(sounds.PCM, 16, 1, RATE_HZ), body),
        aiff(integers(left_justified(16, 16), 2, ">"), 16),
        aiff(body, 16, kind=b"sowt"),
    ):
        samples, rate_hz = sf.read(io.BytesIO(data), dtype="int16")
        assert rate_hz == RATE_HZ
        np.testing.assert_array_equal(samples, left_justified(16, 16)[:, 0])
