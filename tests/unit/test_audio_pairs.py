"""Decoding to a main channel and a reference channel."""

import numpy as np
import pytest

from ml.audio.decode import decode
from ml.audio.recording import ChannelPair, SingleChannel
from ml.errors import ChannelNotFound
from tests import sounds

RATE_HZ = 8000


def recorded(samples: np.ndarray) -> bytes:
    """As a WAV file with 16 bits."""
    return sounds.recording(samples, "pcm16", RATE_HZ)


@pytest.fixture
def three() -> np.ndarray:
    """A second of three channels with different noise."""
    return sounds.noise(RATE_HZ, channels=3)


def test_the_main_channel_is_the_mean_of_the_others(three: np.ndarray) -> None:
    """``mean`` and ``intact`` leave the reference out; the reference is that channel at the same times."""
    read = sounds.read_with_soundfile(recorded(three))
    for main in ("mean", "intact"):
        found = decode(recorded(three), channel=ChannelPair(main, 1))
        np.testing.assert_allclose(found.samples, read[:, [0, 2]].mean(axis=1), atol=1e-6)
        assert found.reference is not None
        np.testing.assert_allclose(found.reference, read[:, 1], atol=1e-6)
        assert found.quality.reference == "used"


@pytest.mark.parametrize("main", [0, 2])
def test_the_main_samples_are_those_without_a_reference(three: np.ndarray, main: int) -> None:
    """To the bit, with the same level, offset and share of clipped samples."""
    three[:50, main] = 1.0
    alone, pair = (decode(recorded(three), channel=each) for each in (main, ChannelPair(main, 1)))
    np.testing.assert_array_equal(pair.samples, alone.samples)
    assert (pair.quality.level_dbfs, pair.quality.offset) == (alone.quality.level_dbfs, alone.quality.offset)
    assert pair.quality.clipped_share == pytest.approx(50 / RATE_HZ)
    assert (alone.reference, alone.quality.reference) == (None, None)


def test_a_faulty_channel_is_left_out_of_the_main_channel() -> None:
    """With ``intact``, the channels but the reference are compared; numbers of faults are those of the file."""
    same = sounds.noise(RATE_HZ)[:, 0]
    samples = np.stack([sounds.noise(RATE_HZ, seed=1)[:, 0], same, 0 * same, same], axis=1)
    found = decode(recorded(samples), channel=ChannelPair("intact", 0))
    np.testing.assert_allclose(found.samples, same, atol=1e-4)
    assert found.quality.faulty_channels("dead") == (2,)
    assert found.quality.reference == "used"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda samples: samples[:, :1], "missing"),
        (lambda samples: samples * [1, 0], "dead"),
        (lambda samples: np.clip(samples * [1, 50], -1, 1), "clipped"),
        (lambda samples: samples[:, :1] * [1, -0.3], "duplicate"),
    ],
)
@pytest.mark.parametrize("main", [0, "mean", "intact"])
def test_a_reference_that_cannot_be_used_is_named(change, state: str, main: SingleChannel) -> None:
    """The main channel is the same as with a good reference, and there are no samples of the reference."""
    good = sounds.noise(RATE_HZ, channels=2)
    found, expected = (decode(recorded(each), channel=ChannelPair(main, 1)) for each in (change(good), good))
    assert (found.quality.reference, found.reference) == (state, None)
    np.testing.assert_array_equal(found.samples, expected.samples)
    assert found.quality.clipped_share == 0
    assert not found.quality.digital_silence


def test_a_single_channel_that_is_the_reference_is_refused() -> None:
    """There is no main channel then; and a main channel that is missing is refused as without a reference."""
    mono = recorded(sounds.noise(RATE_HZ))
    with pytest.raises(ChannelNotFound, match=r"channel 0 .* as reference; the recording has no other channel"):
        decode(mono, channel=ChannelPair("mean", 0))
    with pytest.raises(ChannelNotFound, match=r"channel 1 \(counted from 0\); the recording has 1"):
        decode(mono, channel=ChannelPair(1, 0))


@pytest.mark.parametrize("main", [0, "mean", "intact"])
def test_a_dead_main_channel_is_silent(main: SingleChannel) -> None:
    """There is no intact channel to mix; the reference is read."""
    found = decode(recorded(sounds.noise(RATE_HZ, channels=2) * [0, 1]), channel=ChannelPair(main, 1))
    assert not found.samples.any()
    assert (found.quality.level_dbfs, found.quality.reference) == (None, "used")
    assert found.quality.faulty_channels("dead") == (0,)
