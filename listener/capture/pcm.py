"""Raw samples: from bytes to float32, in whole frames."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from listener.config.source_types import SampleFormat
from ml.errors import MalformedAudio

DTYPES: dict[SampleFormat, str] = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
AU_HEADER = struct.Struct(">4s5I")  # magic, offset of the samples, their size, encoding, sample rate, channels
AU_INT16, MAX_AU_OFFSET = 3, 4096
MAX_RATE_HZ = 192_000


class PcmFormat(NamedTuple):
    """Format of raw samples.

    Attributes:
        sample_rate_hz: sample rate.
        channels: number of channels, interleaved.
        dtype: numpy's name of a sample.
    """

    sample_rate_hz: int
    channels: int
    dtype: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * np.dtype(self.dtype).itemsize


class PcmDecoder:
    """Decoder of a stream of raw samples.

    Args:
        format: format of the samples; None if the stream begins with a header of Sun's AU, as ffmpeg writes it.
        channel: the one channel to keep; None for all.

    Attributes:
        format: format of the samples; None until the header was read.
    """

    def __init__(self, format: PcmFormat | None, channel: int | None = None) -> None:
        self.format = format
        self._channel = channel
        self._rest = b""

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Return the next whole frames, ``(frames, channels)``; full scale is -1 to 1.

        Raises:
            MalformedAudio: the header cannot be used, or the channel does not exist.

        Example:
            >>> PcmDecoder(PcmFormat(16_000, 2, "<i2")).decode(bytes.fromhex("00400080" "00"))
            array([[ 0.5, -1. ]], dtype=float32)
        """
        data = self._rest + data
        if self.format is None:
            data = self._read_header(data)
        if self.format is None:
            self._rest = data
            return np.empty((0, 1), np.float32)
        whole = len(data) - len(data) % self.format.frame_bytes
        self._rest = data[whole:]
        coded = np.frombuffer(data, self.format.dtype, whole // np.dtype(self.format.dtype).itemsize)
        return self._scale(coded.reshape(-1, self.format.channels))

    def align(self) -> None:
        """Forget an incomplete frame: the next byte begins a frame."""
        self._rest = b""

    def _scale(self, coded: NDArray[np.generic]) -> NDArray[np.float32]:
        if self._channel is not None:
            if self._channel >= coded.shape[1]:
                raise MalformedAudio(
                    f"The sound has {coded.shape[1]} channels; channel {self._channel}, counted from 0, was expected."
                )
            coded = coded[:, self._channel : self._channel + 1]
        if coded.dtype.kind == "f":
            return np.array(coded, np.float32)
        full_scale = 2.0 ** (8 * coded.dtype.itemsize - 1)
        scaled: NDArray[np.float32] = np.multiply(coded, np.float32(1 / full_scale), dtype=np.float32)
        return scaled

    def _read_header(self, data: bytes) -> bytes:
        """Read the header if it is complete; return what follows it."""
        if len(data) < AU_HEADER.size:
            return data
        magic, offset, _, encoding, rate, channels = AU_HEADER.unpack_from(data)
        usable = 0 < rate <= MAX_RATE_HZ and 0 < channels <= 64 and AU_HEADER.size <= offset <= MAX_AU_OFFSET
        if magic != b".snd" or encoding != AU_INT16 or not usable:
            raise MalformedAudio("The program wrote a header that cannot be used; AU with 16-bit samples was expected.")
        if len(data) < offset:
            return data
        self.format = PcmFormat(rate, channels, ">i2")
        return data[offset:]
