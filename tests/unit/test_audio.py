"""Decoding of valid recordings: the same samples as libsndfile, and correct facts."""

import dataclasses
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audio.decode import decode
from ml.audio.limits import DEFAULT_LIMITS
from ml.audio.recording import Recording
from ml.errors import ChannelNotFound, RecordingTooLong, RecordingTooShort
from tests import sounds

RATE_HZ = 4_000
ENCODINGS = st.sampled_from(sorted(sounds.ENCODINGS))
# Mixing in float32 rounds each of up to 64 channels once.
MEAN_TOLERANCE = 1e-6
containers = st.sampled_from(
    [("RIFF", False), ("RIFF", True), ("RIFX", False), ("RF64", False), ("RF64", True)],
)


@settings(max_examples=80)
@given(
    container=containers,
    encoding=ENCODINGS,
    channels=st.integers(1, 64),
    frames=st.integers(RATE_HZ // 2, RATE_HZ),
    seed=st.integers(0, 2**32),
)
def test_every_accepted_wav_is_the_mean_of_what_libsndfile_reads(
    container: tuple[str, bool], encoding: str, channels: int, frames: int, seed: int
) -> None:
    """Each container with each encoding, of 1 to 64 channels and any length, gives libsndfile's samples, averaged."""
    samples = sounds.noise(frames, channels, seed, level=0.4)
    data = sounds.recording(samples, encoding, RATE_HZ, *container)
    found = decode(data)
    expected = sounds.read_with_soundfile(data).mean(axis=1)
    assert found.samples.dtype == np.float32
    assert found.samples.shape == (frames,)
    np.testing.assert_allclose(found.samples, expected, rtol=0, atol=MEAN_TOLERANCE)


@pytest.mark.parametrize("encoding", ["pcm16", "pcm24", "float32"])
def test_an_extensible_rifx_is_read_as_libsndfile_reads_it(encoding: str) -> None:
    """In RIFX the fields of the subformat's GUID are big-endian too."""
    data = sounds.recording(sounds.noise(RATE_HZ, 2), encoding, RATE_HZ, "RIFX", extensible=True)
    expected = sounds.read_with_soundfile(data).mean(axis=1)
    np.testing.assert_allclose(decode(data).samples, expected, rtol=0, atol=MEAN_TOLERANCE)


@settings(max_examples=30)
@given(
    bits=st.sampled_from([16, 24]),
    channels=st.integers(1, 8),
    frames=st.integers(RATE_HZ // 2, 2 * RATE_HZ),
    seed=st.integers(0, 2**32),
)
def test_flac_is_the_mean_of_what_libsndfile_reads(bits: int, channels: int, frames: int, seed: int) -> None:
    """FLAC of 16 and 24 bits, of 1 to 8 channels and any length, gives libsndfile's samples, averaged."""
    data = sounds.flac(sounds.noise(frames, channels, seed, level=0.4), RATE_HZ, bits)
    expected = sounds.read_with_soundfile(data).mean(axis=1)
    np.testing.assert_allclose(decode(data).samples, expected, rtol=0, atol=MEAN_TOLERANCE)


@pytest.mark.parametrize("channel", [0, 3, 6])
@pytest.mark.parametrize("form", ["wav", "flac"])
def test_one_channel_is_that_channel_alone(form: str, channel: int) -> None:
    """A channel chosen by its index equals libsndfile's column."""
    samples = sounds.noise(RATE_HZ, 7)
    data = sounds.recording(samples, "pcm24", RATE_HZ) if form == "wav" else sounds.flac(samples, RATE_HZ)
    expected = sounds.read_with_soundfile(data)[:, channel]
    np.testing.assert_allclose(decode(data, channel=channel).samples, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("channel", [-1, 2, 64])
def test_a_missing_channel_is_refused_by_number(channel: int) -> None:
    """The message has the requested channel and the number of channels."""
    with pytest.raises(ChannelNotFound, match=rf"channel {channel} .*has 2"):
        decode(sounds.recording(sounds.noise(RATE_HZ, 2), rate_hz=RATE_HZ), channel=channel)


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_bytes_and_paths_give_the_same(form: str, tmp_path: Path) -> None:
    """bytes, bytearray, memoryview, Path and str of one file decode to the same recording."""
    samples = sounds.noise(RATE_HZ, 3)
    data = sounds.recording(samples, rate_hz=RATE_HZ) if form == "wav" else sounds.flac(samples, RATE_HZ)
    path = tmp_path / "sound"
    path.write_bytes(data)
    first = decode(data)
    for source in (bytearray(data), memoryview(data), path, str(path)):
        other = decode(source)
        np.testing.assert_array_equal(other.samples, first.samples)
        assert other.quality == first.quality


def test_a_recording_outlives_its_file(tmp_path: Path) -> None:
    """The samples are a copy: the file may be overwritten or removed afterwards."""
    path = tmp_path / "sound.wav"
    path.write_bytes(sounds.recording(sounds.noise(RATE_HZ), rate_hz=RATE_HZ))
    found = decode(path)
    kept = found.samples.copy()
    path.write_bytes(b"")
    path.unlink()
    np.testing.assert_array_equal(found.samples, kept)


def test_a_path_that_does_not_exist_is_an_os_error(tmp_path: Path) -> None:
    """A missing file is an OSError and not an audio error."""
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "nowhere.wav")


def test_other_chunks_are_ignored() -> None:
    """Chunks of odd length before the samples, and bytes after them, change nothing."""
    body = sounds.encode(sounds.noise(RATE_HZ), "pcm16")
    plain = sounds.wav(body, rate_hz=RATE_HZ)
    notes = sounds.chunk(b"LIST", b"odd") + sounds.chunk(b"bext", bytes(602)) + sounds.chunk(b"fact", b"\1\2\3\4")
    laden = sounds.wav(body, rate_hz=RATE_HZ, before=notes, after=sounds.chunk(b"id3 ", b"trailing"))
    np.testing.assert_array_equal(decode(laden).samples, decode(plain).samples)


def test_a_longer_fmt_chunk_is_accepted() -> None:
    """Many writers append an empty extension to the format of plain PCM."""
    fmt = sounds.fmt_body(sounds.PCM, 16, 1, RATE_HZ) + struct.pack("<H", 0)
    body = sounds.encode(sounds.noise(RATE_HZ), "pcm16")
    np.testing.assert_array_equal(
        decode(sounds.wav(body, fmt=fmt)).samples, decode(sounds.wav(body, rate_hz=RATE_HZ)).samples
    )


@pytest.mark.parametrize("encoding", sorted(sounds.ENCODINGS))
def test_quality_describes_the_recording(encoding: str) -> None:
    """Duration, rate and channels are those of the file."""
    quality = decode(sounds.recording(sounds.noise(12_000, 5), encoding, 8_000)).quality
    assert quality.duration_s == 1.5
    assert quality.sample_rate_hz == 8_000
    assert quality.channels == 5
    assert quality.clipped_share == 0
    assert quality.digital_silence is False


@pytest.mark.parametrize("encoding", sorted(sounds.ENCODINGS))
def test_a_full_scale_sine_reads_minus_3_01_dbfs(encoding: str) -> None:
    """The level is relative to a full-scale square wave: 20 log10(1 / sqrt 2) for a sine."""
    level = decode(sounds.recording(sounds.sine(100, RATE_HZ, RATE_HZ), encoding, RATE_HZ)).quality.level_dbfs
    assert level == pytest.approx(-3.0103, abs=1e-3)


def test_the_level_is_that_of_the_chosen_channel() -> None:
    """A loud channel does not raise the level of a quiet one."""
    tone = sounds.sine(100, RATE_HZ, RATE_HZ)
    data = sounds.recording(np.hstack([tone, tone / 100]), rate_hz=RATE_HZ)
    assert decode(data, channel=0).quality.level_dbfs == pytest.approx(-3.01, abs=0.01)
    assert decode(data, channel=1).quality.level_dbfs == pytest.approx(-43.01, abs=0.05)


def test_opposite_channels_cancel_in_the_mean() -> None:
    """The mean is over signed samples: opposite channels have no level, and are no digital silence."""
    tone = sounds.sine(100, RATE_HZ, RATE_HZ, 0.5)
    quality = decode(sounds.recording(np.hstack([tone, -tone]), "float32", RATE_HZ)).quality
    assert quality.level_dbfs is None
    assert quality.digital_silence is False


@pytest.mark.parametrize("encoding", sorted(sounds.ENCODINGS))
def test_clipped_share_counts_samples_at_full_scale(encoding: str) -> None:
    """30 of 2 x 4000 samples at full scale are 30 / 8000; all channels count alike."""
    samples = sounds.noise(RATE_HZ, 2, level=0.1)
    samples[:10, 0], samples[100:115, 1], samples[200:205, 0] = 1, -1, 1
    quality = decode(sounds.recording(samples, encoding, RATE_HZ)).quality
    assert quality.clipped_share == pytest.approx(30 / 8000, abs=1e-12)


@pytest.mark.parametrize("bits", [16, 24])
def test_clipping_is_counted_in_flac(bits: int) -> None:
    """The same count holds for FLAC, whose 24-bit samples are in a wider integer."""
    samples = sounds.noise(RATE_HZ, 2, level=0.1)
    samples[:10, 0], samples[100:115, 1] = 1, -1
    quality = decode(sounds.flac(samples, RATE_HZ, bits)).quality
    assert quality.clipped_share == pytest.approx(25 / 8000, abs=1e-12)


@pytest.mark.parametrize("encoding", sorted(sounds.ENCODINGS))
@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_constant_signal_is_digital_silence(encoding: str, value: float) -> None:
    """If all samples are equal, the input is dead: it has an offset and no level."""
    quality = decode(sounds.recording(np.full((RATE_HZ, 2), value), encoding, RATE_HZ)).quality
    assert quality.digital_silence is True
    assert quality.level_dbfs is None
    assert quality.offset == value
    expected = 20 * math.log10(value) if value else None
    assert quality.level_with_offset_dbfs == (expected if expected is None else pytest.approx(expected, abs=1e-3))


def test_one_different_sample_is_no_digital_silence() -> None:
    """A single different sample, in one channel of two, makes a live input."""
    samples = np.zeros((RATE_HZ, 2))
    samples[-1, 1] = 2**-15
    quality = decode(sounds.recording(samples, "pcm16", RATE_HZ)).quality
    assert quality.digital_silence is False
    assert quality.level_dbfs is not None


def test_limits_can_be_set() -> None:
    """The caller sets the limits: 1 s can be too short, too long, or accepted."""
    data = sounds.recording(sounds.noise(RATE_HZ), rate_hz=RATE_HZ)
    with pytest.raises(RecordingTooShort, match=r"1\.000 s"):
        decode(data, limits=dataclasses.replace(DEFAULT_LIMITS, min_duration_s=1.5))
    with pytest.raises(RecordingTooLong, match=r"1\.0 s"):
        decode(data, limits=dataclasses.replace(DEFAULT_LIMITS, max_duration_s=0.9))
    assert isinstance(decode(data, limits=dataclasses.replace(DEFAULT_LIMITS, min_duration_s=1)), Recording)


@pytest.mark.parametrize("rate_hz", [4_000, 384_000])
@pytest.mark.parametrize("form", ["wav", "flac"])
def test_the_bounds_themselves_are_accepted(form: str, rate_hz: int) -> None:
    """Half a second at the lowest and the highest sample rate is accepted."""
    samples = sounds.noise(rate_hz // 2)
    data = sounds.recording(samples, rate_hz=rate_hz) if form == "wav" else sounds.flac(samples, rate_hz)
    assert decode(data).quality.duration_s == 0.5


@pytest.mark.parametrize("name", ["normal.wav", "pb1.wav", "pb2.wav", "pb3.wav"])
def test_the_original_recordings_are_read_as_libsndfile_reads_them(seed: Path, name: str) -> None:
    """Real 8-channel WAVE_FORMAT_EXTENSIBLE files give the mean over the channels, and correct facts."""
    found = decode(seed / name)
    expected = sounds.read_with_soundfile((seed / name).read_bytes()).mean(axis=1)
    np.testing.assert_allclose(found.samples, expected, rtol=0, atol=MEAN_TOLERANCE)
    assert (found.quality.channels, found.quality.sample_rate_hz, found.quality.duration_s) == (8, 16_000, 10.0)
    level = 10 * np.log10(np.mean(expected**2))
    assert found.quality.level_dbfs == pytest.approx(level, abs=1e-3)
