"""Messages with sound, and messages with something else."""

import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import soundfile

from listener.capture.mqtt_chunks import MOST_WAITING, Arrival, Arrivals, ChunkDecoder
from listener.config.source_types import MqttSource
from listener.mqtt_client import Broker, make_client_id
from ml.errors import AudioError


def decoder(**values: Any) -> ChunkDecoder:
    """A decoder of 16-bit samples at 8 kHz."""
    given = {"name": "hall", "machine_id": "fan-3", "url": "mqtt://broker", "topic": "hall/audio"}
    return ChunkDecoder(MqttSource(**given, **{"sample_rate_hz": 8000, **values}))


def file_of(samples: np.ndarray, rate_hz: int, kind: str = "WAV") -> bytes:
    """A sound file with 16-bit samples."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=kind, subtype="PCM_16")
    return file.getvalue()


@pytest.mark.parametrize(
    ("sample_format", "dtype", "scale"), [("s16le", "<i2", 2**15), ("s32le", "<i4", 2**31), ("f32le", "<f4", 1)]
)
def test_raw_samples(sample_format: str, dtype: str, scale: float) -> None:
    """Full scale is 1; channels are interleaved, and one of them can be chosen."""
    expected = np.array([[0.5, -0.25], [-1.0, 0.125]])
    payload = (expected * scale).astype(dtype).tobytes()
    both = decoder(sample_format=sample_format, channels=2).decode(payload)
    one = decoder(sample_format=sample_format, channels=2, channel=1).decode(payload)
    np.testing.assert_array_equal(both.samples, expected)
    np.testing.assert_array_equal(one.samples, expected[:, [1]])
    assert both.samples.dtype == np.float32
    assert both.duration_s == 2 / 8000


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_the_header_of_a_chunk_counts(kind: str) -> None:
    """Its rate and its channels, not those of the source; it can be short."""
    samples = np.random.default_rng(0).normal(scale=0.1, size=(1600, 2))
    chunk = decoder().decode(file_of(samples, 32_000, kind))
    assert chunk.sample_rate_hz == 32_000
    np.testing.assert_allclose(chunk.samples, samples, atol=1 / 2**15)
    assert decoder(channel=1).decode(file_of(samples, 32_000, kind)).samples.shape == (1600, 1)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "The chunk has 0 bytes; a multiple of 2 was expected: 1 channels of 2 bytes."),
        (bytes(range(128, 255)), "The chunk has 127 bytes"),
        (json.dumps({"state": "on", "samples": [1, 2, 3]}).encode(), "The chunk is text"),
        (b"OggS" + bytes(100), "The chunk is an Ogg file"),
        (bytes(2 * 8000 * 60 + 2), "The chunk has 960002 bytes; at most 960000 were expected."),
        (b"RIFF" + bytes(2), "WAV"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "No 'data' chunk"),
        (file_of(np.zeros(8000 * 61), 8000), "at most"),
    ],
)
def test_what_is_no_sound_is_refused(payload: bytes, reason: str) -> None:
    """With a sentence."""
    with pytest.raises(AudioError, match=reason):
        decoder().decode(payload)


def test_values_that_are_no_numbers_are_refused() -> None:
    """As from integers that were announced as floats."""
    with pytest.raises(AudioError, match="no finite numbers"):
        decoder(sample_format="f32le").decode(np.array([0.1, np.nan], "<f4").tobytes())


def test_a_channel_that_does_not_exist_is_refused() -> None:
    """In raw samples and in a file."""
    with pytest.raises(AudioError, match="channel 3, counted from 0"):
        decoder(channels=2, channel=3).decode(bytes(4))
    with pytest.raises(AudioError, match="channel 3, counted from 0"):
        decoder(channel=3).decode(file_of(np.ones((100, 2)) / 2, 8000))


def test_random_bytes_never_fail_in_another_way() -> None:
    """Whatever a hostile device sends is sound or refused."""
    rng = np.random.default_rng(0)
    found = decoder(channels=2)
    for length in range(300):
        for start in (b"", b"RIFF", b"RF64", b"fLaC", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"):
            with suppress(AudioError):
                found.decode(start + rng.bytes(length))


def test_messages_wait_in_order_and_are_bounded() -> None:
    """A reader that hangs costs no more memory."""
    arrivals = Arrivals()
    assert arrivals.get(0.01) is None
    assert all(arrivals.put(Arrival(bytes([number % 256]), float(number))) for number in range(MOST_WAITING))
    assert not arrivals.put(Arrival(b"1", 0.0))
    assert [arrivals.get(0).at for _ in range(3)] == [0.0, 1.0, 2.0]  # type: ignore[union-attr]
    assert arrivals.put(Arrival(bytes(20 * 2**20), 0.0))
    assert not arrivals.put(Arrival(bytes(20 * 2**20), 0.0))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883, False, None, None)),
        ("mqtts://broker", ("broker", 8883, True, None, None)),
        ("mqtt://[::1]:1884", ("::1", 1884, False, None, None)),
        ("mqtt://fan:p%40ss%2F%25@broker:9/", ("broker", 9, False, "fan", "p@ss/%")),
        ("mqtts://fan@broker", ("broker", 8883, True, "fan", None)),
    ],
)
def test_addresses_of_brokers(url: str, expected: tuple[Any, ...]) -> None:
    """Default ports, and credentials that are percent-encoded."""
    assert tuple(Broker.parse(url)) == expected


def test_client_ids_are_stable_and_short() -> None:
    """Every broker accepts 23 letters and digits."""
    assert make_client_id("a", "b") == make_client_id("a", "b")
    assert make_client_id("a", "b") != make_client_id("ab")
    assert len(make_client_id("a" * 1000)) == 23
