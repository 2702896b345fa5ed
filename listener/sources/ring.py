"""Ring buffer: the last sound of a source.

Frames are numbered from the start of the source. A segment is sound without a gap; no clip crosses its borders. Sound
of 16 bits is kept as int16, any other as float32, so that a clip has the samples of the source to the bit.
"""

import threading
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from listener.sound import SoundBlock
from ml.audio.mixing import CodedSamples

FULL_SCALE = np.float32(32_768)  # of 16 bits
CHUNK_S = 1.0  # sound is forgotten in chunks of at most this length
MAX_BYTES = 64 * 2**20  # of one source, unless one clip is larger


class CodedSound(NamedTuple):
    """Sound without a gap, as the ring buffer keeps it.

    Attributes:
        samples: int16 or float32, ``(frames, channels)``.
        sample_rate_hz: sample rate.
        at: time of the first sample, in seconds since 1970.
    """

    samples: CodedSamples
    sample_rate_hz: int
    at: float

    @property
    def ends_at(self) -> float:
        """Time after the last sample, in seconds since 1970."""
        return self.at + len(self.samples) / self.sample_rate_hz

    def to_block(self) -> SoundBlock:
        """Return the same sound as floats."""
        return SoundBlock(_to_float(self.samples), self.sample_rate_hz, self.at)


class _Chunk(NamedTuple):
    first: int
    sound: CodedSound
    segment: int

    @property
    def stop(self) -> int:
        return self.first + len(self.sound.samples)


class Ring:
    """Last sound of a source. One thread writes; any thread reads.

    Args:
        kept_s: seconds of sound to keep.
        clip_s: seconds of the longest clip that must be kept in any case.
    """

    def __init__(self, kept_s: float, clip_s: float) -> None:
        self._kept_s, self._clip_s = kept_s, clip_s
        self._chunks: deque[_Chunk] = deque()
        self._bytes = 0
        self._segment = 0
        self._lock = threading.Lock()
        self.end = 0

    def begin_segment(self) -> None:
        """Note that the next sound does not follow the last one."""
        self._segment += 1

    def append(self, block: SoundBlock) -> None:
        """Add sound of at most :data:`CHUNK_S`, and forget the oldest."""
        sound = CodedSound(_to_coded(block.samples), block.sample_rate_hz, block.at)
        with self._lock:
            self._chunks.append(_Chunk(self.end, sound, self._segment))
            self._bytes += sound.samples.nbytes
            self.end += len(sound.samples)
            self._forget(sound)

    def frames(self, start: int, stop: int) -> CodedSound | None:
        """Return the frames of these numbers; None if they are not kept any more, or have a gap."""
        found = [chunk for chunk in self._kept() if chunk.first < stop and chunk.stop > start]
        if not found or found[0].first > start or found[-1].stop < stop or found[0].segment != found[-1].segment:
            return None
        return _join(found, start, stop)

    def between(self, began: float, ended: float) -> SoundBlock | None:
        """Return sound between two times: the longest part at the end of this span that is kept and has no gap.

        Args:
            began: time of the first sample, in seconds since 1970.
            ended: time after the last one.

        Returns:
            All channels; None if there is no sound of this span.
        """
        found: list[_Chunk] = []
        for chunk in reversed(self._kept()):
            in_span = chunk.sound.at < ended and chunk.sound.ends_at > began
            if found and (not in_span or chunk.segment != found[0].segment):
                break
            if in_span:
                found.insert(0, chunk)
        if not found:
            return None
        stop = min(found[-1].stop, found[-1].first + _frames(ended - found[-1].sound.at, found[-1]))
        start = found[0].first + max(0, _frames(began - found[0].sound.at, found[0]))
        # A source that sends faster than real time has blocks whose times overlap.
        start = max(start, stop - _frames(ended - began, found[-1]))
        return None if stop <= start else _join(found, start, stop).to_block()

    def last(self, seconds: float) -> SoundBlock | None:
        """Return the last sound, without a gap; None without any."""
        chunks = self._kept()
        if not chunks:
            return None
        chunks = [chunk for chunk in chunks if chunk.segment == chunks[-1].segment]
        stop = chunks[-1].stop
        start = max(chunks[0].first, stop - _frames(seconds, chunks[-1]))
        return _join([chunk for chunk in chunks if chunk.stop > start], start, stop).to_block()

    def _kept(self) -> list[_Chunk]:
        with self._lock:
            return list(self._chunks)

    def _forget(self, newest: CodedSound) -> None:
        frame_bytes = newest.samples.itemsize * newest.samples.shape[1]
        second = newest.sample_rate_hz * frame_bytes
        limit = min(self._kept_s * second, max(MAX_BYTES, (self._clip_s + CHUNK_S) * second))
        while len(self._chunks) > 1 and self._bytes - self._chunks[0].sound.samples.nbytes > limit:
            self._bytes -= self._chunks.popleft().sound.samples.nbytes


def split(block: SoundBlock) -> list[SoundBlock]:
    """Return a block as parts of at most :data:`CHUNK_S`."""
    step = max(1, round(CHUNK_S * block.sample_rate_hz))
    if len(block.samples) <= step:
        return [block]
    return [
        SoundBlock(block.samples[start : start + step], block.sample_rate_hz, block.at + start / block.sample_rate_hz)
        for start in range(0, len(block.samples), step)
    ]


def _join(chunks: list[_Chunk], start: int, stop: int) -> CodedSound:
    """Return the frames ``start`` to ``stop`` of chunks that follow one another."""
    parts: list[CodedSamples] = [chunk.sound.samples for chunk in chunks]
    if len({part.dtype for part in parts}) > 1:
        parts = [_to_float(part) for part in parts]
    first, skipped = chunks[0], start - chunks[0].first
    joined: CodedSamples = np.concatenate(parts)[skipped : stop - first.first]  # type: ignore[assignment]  # of one type
    rate_hz = first.sound.sample_rate_hz
    # The count of samples is tied to the clock again and again, so the chunk of the first frame has its time.
    holding = next(chunk for chunk in chunks if chunk.stop > start)
    return CodedSound(joined, rate_hz, holding.sound.at + (start - holding.first) / rate_hz)


def _frames(seconds: float, chunk: _Chunk) -> int:
    return round(seconds * chunk.sound.sample_rate_hz)


def _to_coded(samples: NDArray[np.float32]) -> CodedSamples:
    """Return samples as int16 if that loses nothing, else a copy."""
    with np.errstate(invalid="ignore"):  # values beyond 16 bits are found by the comparison
        scaled = samples * FULL_SCALE
        coded = scaled.astype(np.int16)
    return coded if np.array_equal(coded, scaled) else np.array(samples, np.float32)


def _to_float(samples: CodedSamples) -> NDArray[np.float32]:
    if samples.dtype == np.float32:
        return np.asarray(samples, np.float32)
    return samples.astype(np.float32) / FULL_SCALE
