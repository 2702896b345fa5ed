"""Coded files: decoded in a child process as libsndfile and FFmpeg decode them, within limits, or refused by name."""

import io
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from ml.audio import decoder, decoder_child
from ml.audio.decode import decode
from ml.audio.info import read_info
from ml.audio.limits import DEFAULT_LIMITS
from ml.dataset.indexing.build import index
from ml.dataset.summary import summarise
from ml.errors import (
    AudioError,
    DecoderFailed,
    DecoderMissing,
    EmptyAudio,
    MalformedAudio,
    RecordingTooLong,
    TruncatedAudio,
    UnpackedTooLarge,
    UnsupportedCodec,
)
from tests import sounds

RATE_HZ = 16_000
SAMPLES = sounds.noise(RATE_HZ, 1)


@cache
def with_soundfile(kind: str, subtype: str, channels: int = 1, rate_hz: int = RATE_HZ) -> bytes:
    """One second that libsndfile has coded."""
    file = io.BytesIO()
    sf.write(file, np.tile(SAMPLES, (1, channels)), rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


@cache
def with_ffmpeg(container: str, codec: str, channels: int = 1, rate_hz: int = RATE_HZ) -> bytes:
    """One second that FFmpeg has coded."""
    file, layout = io.BytesIO(), "stereo" if channels == 2 else "mono"
    whole = (np.tile(SAMPLES, (rate_hz // RATE_HZ, channels)) * 32_767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(whole.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate_hz
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 64_000
        context, queue = stream.codec_context, av.AudioFifo()
        for part in av.AudioResampler(format=context.format, layout=layout, rate=rate_hz).resample(frame):
            queue.write(part)
        # A buffer of single frames, as the coder takes them; the last one may be shorter.
        while part := queue.read(context.frame_size or 1024, partial=True):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


BY_LIBSNDFILE = {
    "mp3": ("MP3", "MPEG_LAYER_III", "float32"),
    "vorbis": ("OGG", "VORBIS", "float32"),
    "opus": ("OGG", "OPUS", "float32"),
    "alac": ("CAF", "ALAC_16", "int16"),
    "pcm": ("AU", "PCM_16", "int16"),
    "mulaw": ("AU", "ULAW", "int16"),
    "ima_adpcm": ("WAV", "IMA_ADPCM", "int16"),
    "ms_adpcm": ("WAV", "MS_ADPCM", "int16"),
}


@pytest.mark.parametrize("codec", BY_LIBSNDFILE)
def test_libsndfile_decodes_in_a_child(codec: str) -> None:
    """The samples are exactly those of libsndfile; what is lossy is marked."""
    kind, subtype, dtype = BY_LIBSNDFILE[codec]
    data = with_soundfile(kind, subtype, 2)
    expected: NDArray[np.generic] = sf.read(io.BytesIO(data), dtype=dtype, always_2d=True)[0]
    found = decode(data, channel=1)
    full_scale = 1.0 if dtype == "float32" else 32_768
    # libmpg123 rounds the last bit in another way after sf.read has searched the start of the file.
    tolerance = 1e-7 if codec == "mp3" else 0
    np.testing.assert_allclose(found.samples, (expected[:, 1] / full_scale).astype(np.float32), rtol=0, atol=tolerance)
    assert (found.sample_rate_hz, found.quality.channels, read_info(data).codec) == (RATE_HZ, 2, codec)
    assert found.quality.codec == (None if codec in ("alac", "pcm") else codec)


@pytest.mark.parametrize(
    ("container", "codec", "name", "lossy"),
    [
        ("ipod", "aac", "aac", True),
        ("ipod", "alac", "alac", False),
        ("adts", "aac", "aac", True),
        ("asf", "wmav2", "wmav2", True),
        ("webm", "libopus", "opus", True),
        ("wv", "wavpack", "wavpack", False),
        ("avi", "pcm_s16le", "pcm", False),
        ("wav", "wmav2", "wmav2", True),
    ],
)
def test_pyav_decodes_in_a_child(container: str, codec: str, name: str, lossy: bool) -> None:
    """What libsndfile cannot read; without losses the samples are exact, else nearly those that were coded."""
    rate_hz = 48_000 if codec == "libopus" else RATE_HZ
    found = decode(with_ffmpeg(container, codec, rate_hz=rate_hz))
    assert (found.quality.codec, found.sample_rate_hz) == (name if lossy else None, rate_hz)
    level = 10 * np.log10(np.mean(SAMPLES**2))
    assert found.quality.level_dbfs == pytest.approx(level, abs=1.5)
    if not lossy and codec != "wavpack":  # FFmpeg's coder of WavPack takes other samples
        expected = (SAMPLES[:, 0] * 32_767).astype(np.int16) / np.float32(32_768)
        np.testing.assert_array_equal(found.samples, expected)


def test_the_same_samples_have_the_same_hash_without_losses() -> None:
    """ALAC in M4A and PCM in WAV are one recording to a dataset."""
    whole = (SAMPLES[:, 0] * 32_767).astype(np.int16)
    wav = sounds.wav(whole.astype("<i2").tobytes(), rate_hz=RATE_HZ)
    coded, plain = read_info(with_ffmpeg("ipod", "alac")), read_info(wav)
    assert (coded.audio_hash, coded.codec) == (plain.audio_hash, "alac")


def test_a_dataset_has_coded_files_and_counts_their_codecs(tmp_path: Path) -> None:
    """A folder with WAV, MP3 and M4A: all three are recordings."""
    (tmp_path / "normal").mkdir()
    for name, data in (
        ("a.wav", sounds.recording(SAMPLES)),
        ("b.mp3", with_soundfile("MP3", "MPEG_LAYER_III")),
        ("c.M4A", with_ffmpeg("ipod", "aac")),
    ):
        (tmp_path / "normal" / name).write_bytes(data)
    summary = summarise(index(tmp_path))
    assert summary["recordings"] == 3
    assert sorted(share["value"] for share in summary["shares"]["codec"]) == ["aac", "mp3", "pcm"]


@pytest.mark.parametrize("kind", ["mp3", "m4a"])
def test_a_coded_file_that_states_more_than_it_has_is_cut_short(kind: str) -> None:
    """The header of an MP3, and the table of an MP4, promise a length."""
    data = {
        "mp3": lambda: with_soundfile("MP3", "MPEG_LAYER_III"),
        "m4a": lambda: moved_to_start(with_ffmpeg("ipod", "aac")),
    }[kind]()
    assert len(decode(data).samples) > 15_000
    with pytest.raises((TruncatedAudio, MalformedAudio)):
        decode(data[: len(data) * 3 // 4])


def test_notes_in_another_encoding_are_no_reason_to_refuse() -> None:
    """Some programs write names in Latin-1 where UTF-8 belongs."""
    data = with_ffmpeg("ipod", "aac")
    assert b"Lavf" in data
    np.testing.assert_array_equal(decode(data.replace(b"Lavf", b"L\xe6vf")).samples, decode(data).samples)


def moved_to_start(mp4: bytes) -> bytes:
    """The same MP4 with its table before the samples, as for streaming; the places in the table move with them."""
    atoms, at = {}, 0
    while at < len(mp4):
        size = int.from_bytes(mp4[at : at + 4], "big")
        atoms[mp4[at + 4 : at + 8]] = mp4[at : at + size]
        at += size
    table = bytearray(atoms.pop(b"moov"))
    start = table.index(b"stco") + 12
    (count,) = struct.unpack_from(">I", table, start - 4)
    places = np.frombuffer(bytes(table[start : start + 4 * count]), ">u4") + len(table)
    table[start : start + 4 * count] = places.astype(">u4").tobytes()
    return atoms.pop(b"ftyp") + bytes(table) + b"".join(atoms.values())


def test_without_the_extra_the_refusal_states_how_to_convert(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command; what libsndfile decodes needs no extra."""
    monkeypatch.setattr(decoder, "find_spec", lambda _: None)
    with pytest.raises(DecoderMissing, match=r"ffmpeg -i in\.m4a out\.wav.*pip install 'signalml\[formats\]'"):
        decode(with_ffmpeg("ipod", "aac"))
    with pytest.raises(DecoderMissing, match="a WAV file with wma"):
        decode(with_ffmpeg("wav", "wmav2"))
    assert decode(with_soundfile("MP3", "MPEG_LAYER_III")).quality.codec == "mp3"
    with pytest.raises(UnsupportedCodec, match="Ogg"):  # not "missing": this file is damaged
        decode(b"OggS" + bytes(500))


def test_a_longer_recording_than_accepted_is_not_decoded_to_its_end() -> None:
    """The child stops at the limit of duration, and at that of memory."""
    data = with_soundfile("MP3", "MPEG_LAYER_III")
    with pytest.raises(RecordingTooLong):
        decode(data, limits=replace(DEFAULT_LIMITS, max_duration_s=0.6))
    with pytest.raises(UnpackedTooLarge):
        decode(data, limits=replace(DEFAULT_LIMITS, max_unpacked_bytes=40_000))


def test_a_bomb_is_refused_at_the_limit() -> None:
    """Some kilobytes of ALAC would unpack to 22 minutes: the child ends after ten of them."""
    file = io.BytesIO()
    sf.write(file, np.zeros((1_300 * 4_000, 1), np.int16), 4_000, format="CAF", subtype="ALAC_16")
    begin = time.monotonic()
    with pytest.raises(RecordingTooLong):
        decode(file.getvalue())
    assert time.monotonic() - begin < 10


def test_a_slow_decoder_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, the child is killed."""
    monkeypatch.setattr(decoder, "MAX_WALL_S", 0.01)
    with pytest.raises(DecoderFailed, match=r"stopped after 0\.01 s"):
        decode(with_soundfile("MP3", "MPEG_LAYER_III"))


def test_a_decoder_without_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit applies within the child only."""
    monkeypatch.setattr(decoder, "MAX_MEMORY_BYTES", 60 * 2**20)
    with pytest.raises(DecoderFailed):
        decode(with_soundfile("OGG", "VORBIS"))


CHILDREN = {
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "status -11"),
    "spins": ("while True: pass", r"stopped after 3 s|status -24"),
    "floods": ("while True: print('x' * 10000)", "status"),
    "reports nonsense": ("print('[1, 2]')", "status 0"),
    "ends at once": ("", "status 0"),
}


@pytest.mark.parametrize("kind", CHILDREN)
def test_a_child_that_fails_is_an_error_of_the_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real child that does what a decoder with a fault may do: each time a clean refusal, within seconds."""
    program, pattern = CHILDREN[kind]
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(decoder_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(decoder, "MAX_WALL_S", 3.0)
    begin = time.monotonic()
    with pytest.raises(DecoderFailed, match=pattern):
        decode(with_soundfile("MP3", "MPEG_LAYER_III"))
    assert time.monotonic() - begin < 6


def test_the_child_can_open_nothing() -> None:
    """After its imports: no file, no connection, no process."""
    program = f"""
import importlib.util, os, socket, subprocess, sys
spec = importlib.util.spec_from_file_location("child", {decoder_child.__file__!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
child._close_doors()
for attempt in (lambda: open("/etc/passwd"), socket.socket, lambda: subprocess.run(["true"])):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["24", "24", "24"]  # EMFILE


def test_the_child_gets_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and passwords of the service are not in its memory."""
    (tmp_path / "child.py").write_text("import os; print('[\"' + ' '.join(sorted(os.environ)) + '\"]')")
    monkeypatch.setattr(decoder_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setenv("SIGNALML_SECRET", "secret")
    seen: list[bytes | None] = []
    read = decoder._read_report
    monkeypatch.setattr(decoder, "_read_report", lambda pipe: seen.append(read(pipe)) or seen[0])
    with pytest.raises(DecoderFailed):
        decode(with_soundfile("MP3", "MPEG_LAYER_III"))
    assert b"SECRET" not in (seen[0] or b"SECRET")


MAGICS: dict[str, Callable[[], bytes]] = {
    "mp3": lambda: b"\xff\xfb\x90\x64",
    "id3": lambda: b"ID3\4\0\0\0\0\0\0",
    "ogg": lambda: b"OggS",
    "caf": lambda: b"caff\0\1\0\0",
    "au": lambda: b".snd",
    "mp4": lambda: b"\0\0\0\x20ftypM4A ",
    "matroska": lambda: b"\x1aE\xdf\xa3",
    "wma": lambda: bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "ms-adpcm": lambda: sounds.wav(b"", tag=2, bits=4),
    "ima4": lambda: (
        b"FORM\0\0\0\0AIFCCOMM\0\0\0\x18\0\1\0\0\0\0\0\x10\x40\x0c\xfa" + bytes(7) + b"ima4\0\0SSND\0\0\0\0"
    ),
}


@pytest.mark.parametrize("kind", MAGICS)
def test_noise_after_the_first_bytes_is_refused(kind: str) -> None:
    """A file that only begins as a recording."""
    data = MAGICS[kind]() + np.random.default_rng(3).bytes(3_000)
    with pytest.raises(AudioError) as refusal:
        decode(data)
    assert str(refusal.value).endswith(".")


def test_a_film_without_sound_is_empty() -> None:
    """An MP4 with pictures only."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        output.mux(stream.encode(None))
    with pytest.raises(EmptyAudio, match="without a sound track"):
        decode(file.getvalue())
