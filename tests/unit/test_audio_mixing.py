"""Samples in memory are mixed and measured exactly as a file of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.audio.mixing import mix_samples
from ml.audio.recording import Channel, ChannelPair, Recording
from ml.errors import ChannelNotFound, NotFinite, RecordingTooShort
from tests import sounds

RATE_HZ = 16_000


def hall(channels: int, seed: int = 0) -> NDArray[np.float64]:
    """Several microphones of one fan, each with noise of its own."""
    return sounds.fan(3.0)[:, [0]] + sounds.noise(3 * RATE_HZ, channels, seed=seed, level=0.05)


def faulty(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with an inverted, a dead and a clipped channel, an offset and a dropout."""
    changed = samples.copy()
    changed[:, 1] = 0.01 - changed[:, 0]
    changed[:, 2] = 0.0
    changed[:, 3] = np.clip(50 * changed[:, 3], -1, 1)
    changed[8_000:9_000] = 0.25
    return changed


def assert_equal(one: Recording, other: Recording) -> None:
    """Two recordings are equal to the bit."""
    assert one.quality == other.quality
    assert one.dropouts == other.dropouts
    assert np.array_equal(one.samples, other.samples)
    assert (one.reference is None) == (other.reference is None)
    assert one.reference is None or np.array_equal(one.reference, other.reference)


def encoded(samples: NDArray[np.float64], encoding: str) -> tuple[NDArray[np.int16] | NDArray[np.float32], bytes]:
    """The samples in memory, and a WAV file of them."""
    tag, bits = sounds.ENCODINGS[encoding]
    body = sounds.encode(samples, encoding)
    coded = np.frombuffer(body, "<i2" if bits == 16 else "<f4").reshape(samples.shape)
    return coded, sounds.wav(body, tag=tag, bits=bits, channels=samples.shape[1], rate_hz=RATE_HZ)


@pytest.mark.parametrize("encoding", ["pcm16", "float32"])
@pytest.mark.parametrize(
    ("samples", "channel"),
    [
        (hall(1), "mean"),
        (hall(8), "mean"),
        (hall(8), 5),
        (faulty(hall(8)), "mean"),
        (faulty(hall(8)), "intact"),
        (hall(2), ChannelPair("mean", 1)),
        (faulty(hall(8)), ChannelPair("intact", 7)),
        (hall(2), ChannelPair(0, 9)),
        (np.zeros((RATE_HZ, 2)), "mean"),
    ],
)
def test_samples_give_the_recording_of_their_file(
    samples: NDArray[np.float64], channel: Channel, encoding: str
) -> None:
    """Samples, quality, faults of channels, dropouts and reference are equal, for one and for many channels."""
    coded, file = encoded(samples, encoding)
    assert_equal(mix_samples(coded, RATE_HZ, channel=channel), decode(file, channel=channel))


def test_samples_are_refused_as_their_file() -> None:
    """A missing channel, a sample that is no number, and too few samples are refused with the same errors."""
    coded, _ = encoded(hall(2), "float32")
    with pytest.raises(ChannelNotFound):
        mix_samples(coded, RATE_HZ, channel=2)
    with pytest.raises(RecordingTooShort):
        mix_samples(coded[:100], RATE_HZ)
    broken = coded.copy()
    broken[5, 0] = np.nan
    with pytest.raises(NotFinite):
        mix_samples(broken, RATE_HZ)
