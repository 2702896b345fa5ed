"""Chunks of sound in messages: raw samples, or a small WAV or FLAC file. Also what is none, and how messages wait."""

import string
import threading
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from listener.capture.pcm import DTYPES, PcmDecoder, PcmFormat
from listener.capture.timeline import is_usable
from listener.config.source_types import MqttSource
from ml.audio.decode import open_audio
from ml.audio.flac import MAGIC as FLAC_MAGIC
from ml.audio.limits import MAX_FILE_BYTES, AudioLimits
from ml.audio.wav import MAGIC as WAV_MAGIC
from ml.errors import AudioError, MalformedAudio, NotAudio

LONGEST_CHUNK_S = 60.0
LIMITS = AudioLimits(
    min_duration_s=0.0,
    max_duration_s=LONGEST_CHUNK_S,
    max_sample_rate_hz=192_000,
    max_channels=8,
    max_unpacked_bytes=MAX_FILE_BYTES,
)
WHOLE_FILES = (*WAV_MAGIC, FLAC_MAGIC)
OTHER_FILES = {b"OggS": "an Ogg file", b"ID3\x03": "an MP3 file", b"ID3\x04": "an MP3 file", b"\x1f\x8b": "a gzip file"}
TEXT = frozenset(string.printable.encode())
TEXT_BYTES = 64  # samples are never printable for as long
MOST_WAITING = 1000


class Chunk(NamedTuple):
    """Sound of one message.

    Attributes:
        samples: float32 ``(frames, channels)``.
        sample_rate_hz: sample rate.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


class ChunkDecoder:
    """Decoder of the messages of one source.

    Args:
        source: the source.
    """

    def __init__(self, source: MqttSource) -> None:
        self._format = PcmFormat(source.sample_rate_hz, source.channels, DTYPES[source.sample_format])
        self._channel = source.channel

    @property
    def largest_bytes(self) -> int:
        """Largest payload that is accepted."""
        return min(MAX_FILE_BYTES, int(LONGEST_CHUNK_S * self._format.sample_rate_hz) * self._format.frame_bytes)

    def decode(self, payload: bytes) -> Chunk:
        """Decode a message.

        Raises:
            AudioError: it is no sound of this source; the message is the reason.
        """
        if len(payload) > self.largest_bytes:
            raise NotAudio(f"The chunk has {len(payload)} bytes; at most {self.largest_bytes} were expected.")
        chunk = self._read_file(payload) if payload[:4] in WHOLE_FILES else self._read_samples(payload)
        if not is_usable(chunk.samples):
            raise MalformedAudio("The chunk has values that are no finite numbers, or far too large.")
        return chunk

    def _read_samples(self, payload: bytes) -> Chunk:
        kind = next((kind for magic, kind in OTHER_FILES.items() if payload.startswith(magic)), None)
        if kind is None and payload and set(payload[:TEXT_BYTES]) <= TEXT:
            kind = "text"
        if kind is not None:
            raise NotAudio(f"The chunk is {kind}; raw samples or a WAV file were expected.")
        frame_bytes = self._format.frame_bytes
        if not payload or len(payload) % frame_bytes:
            raise MalformedAudio(
                f"The chunk has {len(payload)} bytes; a multiple of {frame_bytes} was expected: "
                f"{self._format.channels} channels of {frame_bytes // self._format.channels} bytes."
            )
        return Chunk(PcmDecoder(self._format, self._channel).decode(payload), self._format.sample_rate_hz)

    def _read_file(self, payload: bytes) -> Chunk:
        header, blocks = open_audio(memoryview(payload), LIMITS)
        if self._channel is not None and self._channel >= header.channels:
            raise MalformedAudio(
                f"The chunk has {header.channels} channels; channel {self._channel}, counted from 0, was expected."
            )
        scale = np.float32(1 / header.full_scale)
        samples = np.concatenate([np.multiply(block, scale, dtype=np.float32) for block in blocks])
        kept = samples if self._channel is None else samples[:, [self._channel]]
        return Chunk(kept, header.sample_rate_hz)


class Arrival(NamedTuple):
    """Message that arrived.

    Attributes:
        payload: its content; None if it was refused before it could wait.
        at: steady time of its arrival.
        refusal: why it was refused; empty otherwise.
    """

    payload: bytes | None
    at: float
    refusal: str = ""


class Arrivals:
    """Messages that wait for the reader, bounded. Safe from any thread."""

    def __init__(self) -> None:
        self._waiting: deque[Arrival] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, arrival: Arrival) -> bool:
        """Add a message; returns False, and leaves it out, if too much waits."""
        size = len(arrival.payload or b"")
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._bytes + size > MAX_FILE_BYTES:
                return False
            self._waiting.append(arrival)
            self._bytes += size
            self._changed.notify()
            return True

    def get(self, timeout_s: float) -> Arrival | None:
        """Return the oldest message; None if none comes within this time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            if not self._waiting:
                return None
            arrival = self._waiting.popleft()
            self._bytes -= len(arrival.payload or b"")
            return arrival


def reason_of(error: AudioError) -> str:
    """Return why a message was refused, as part of a sentence."""
    return str(error).rstrip(".")
