"""Child process that decodes one coded file with libsndfile or FFmpeg, within limits on memory, time and output.

:mod:`ml.audio.decoder` starts this file as a script and with ``-I``: it imports nothing of this project, and no
environment variable or folder changes what it imports. The coded file is its standard input. It writes the samples to
an open file, and one line of JSON about them to its standard output. After its imports it can open no file and start
no process or thread. So a file that makes a decoder fail ends this process only.
"""

import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soundfile

FRAMES_PER_BLOCK = 16_384
PYAV_ACCEPTS_NOTES = 19  # first major version of PyAV that reads notes in any encoding
NO_LENGTH = 1 << 62  # libsndfile gives more for a file that does not state its length
# Types of coding of libsndfile, with the name for answers and the bits of its integers; None for floats.
SUBTYPES: dict[str, tuple[str, int | None]] = {
    "MPEG_LAYER_I": ("mp1", None),
    "MPEG_LAYER_II": ("mp2", None),
    "MPEG_LAYER_III": ("mp3", None),
    "VORBIS": ("vorbis", None),
    "OPUS": ("opus", None),
    "IMA_ADPCM": ("ima_adpcm", 16),
    "MS_ADPCM": ("ms_adpcm", 16),
    "VOX_ADPCM": ("vox_adpcm", 16),
    "NMS_ADPCM_16": ("nms_adpcm", 16),
    "NMS_ADPCM_24": ("nms_adpcm", 16),
    "NMS_ADPCM_32": ("nms_adpcm", 16),
    "G721_32": ("g721", 16),
    "G723_24": ("g723", 16),
    "G723_40": ("g723", 16),
    "GSM610": ("gsm", 16),
    "ULAW": ("mulaw", 16),
    "ALAW": ("alaw", 16),
    "ALAC_16": ("alac", 16),
    "ALAC_20": ("alac", 20),
    "ALAC_24": ("alac", 24),
    "ALAC_32": ("alac", 32),
    "PCM_S8": ("pcm", 8),
    "PCM_U8": ("pcm", 8),
    "PCM_16": ("pcm", 16),
    "PCM_24": ("pcm", 24),
    "PCM_32": ("pcm", 32),
    "FLOAT": ("float", None),
    "DOUBLE": ("float", None),
}
# Decoders of FFmpeg whose name is not the name of the codec.
CODERS = {"pcm_mulaw": "mulaw", "pcm_alaw": "alaw", "amr_nb": "amr", "amr_wb": "amr", "adpcm_ima_wav": "ima_adpcm"}
# Formats of FFmpeg's samples, with the type of the written samples.
SAMPLE_TYPES = {"u8": "i2", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f4"}


class Refused(Exception):
    """The file cannot be decoded; the first argument is a kind that the parent knows."""


class Output:
    """Writer of decoded samples, which ends the decoding when there are more than the limits accept."""

    def __init__(self, file: int, max_duration_s: float, max_values: int) -> None:
        self._file, self._max_duration_s, self._max_values = file, max_duration_s, max_values
        self.frames = 0
        self.uses_low_byte = self.is_full = False

    def write(self, samples: Any, rate_hz: int) -> bool:
        """Write a block, ``(frames, channels)``; return whether more are accepted."""
        if samples.dtype == np.int32 and not self.uses_low_byte:
            self.uses_low_byte = bool((samples & 0xFF).any())
        with memoryview(samples).cast("B") as left:
            while left:
                left = left[os.write(self._file, left) :]
        self.frames += len(samples)
        values = samples.shape[1] * self.frames
        self.is_full = self.frames > self._max_duration_s * rate_hz or values > self._max_values
        return not self.is_full


def _main() -> None:
    """Decode the file, and report what it is."""
    task = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (task["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (task["cpu_s"], task["cpu_s"] + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (task["output_bytes"],) * 2)
    output = Output(task["file"], task["max_duration_s"], task["max_values"])
    try:
        report = {"libsndfile": _libsndfile, "pyav": _pyav}[task["decoder"]](output, task["demuxer"])
    except Refused as refusal:
        report = {"refused": refusal.args[0], "detail": refusal.args[1]}
    except ImportError as error:
        report = {"refused": "missing", "detail": str(error)}
    except MemoryError:
        report = {"refused": "memory", "detail": ""}
    print(json.dumps(report))  # noqa: T201 - the parent reads it


def _close_doors() -> None:
    """Let this process open no file, and start no process or thread any more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


class Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Sound file that is read in order. Searching would fail in a file without a length."""

    def seekable(self) -> bool:
        """Return False."""
        return False


def _libsndfile(output: Output, _demuxer: str) -> dict[str, Any]:
    """Decode with libsndfile."""
    _close_doors()
    try:
        with Stream(0, closefd=False) as file:
            codec, bits = SUBTYPES.get(file.subtype, (file.subtype.lower(), None))
            kind = "float32" if bits is None else "int16" if bits <= 16 else "int32"
            while len(block := file.read(FRAMES_PER_BLOCK, dtype=kind, always_2d=True)):
                if not output.write(block, file.samplerate):
                    break
            return {
                "codec": "flac" if codec == "pcm" and file.format == "OGG" else codec,
                "rate_hz": file.samplerate,
                "channels": file.channels,
                "bits": bits or 32,
                "type": f"{kind[0]}{4 if bits is None or bits > 16 else 2}",
                "frames": output.frames,
                "stated": None if output.is_full or file.frames >= NO_LENGTH else file.frames,
            }
    except soundfile.LibsndfileError as error:
        raise Refused("codec" if output.frames == 0 else "malformed", error.error_string) from error


def _pyav(output: Output, demuxer: str) -> dict[str, Any]:
    """Decode with FFmpeg: one demuxer, no network, no other file, one thread."""
    import av
    import av.audio.stream
    import av.subtitles.stream
    import av.video.stream  # PyAV would import these when it opens a file, which is too late

    _close_doors()
    # The empty list of protocols: a file cannot name another one, on this computer or elsewhere.
    options = {"protocol_whitelist": ""}
    # PyAV 19 always accepts notes that are not UTF-8, and no longer knows the argument.
    notes: dict[str, Any] = (
        {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < PYAV_ACCEPTS_NOTES else {}
    )
    try:
        with av.open(sys.stdin.buffer, format=demuxer, options=options, **notes) as container:
            if not container.streams.audio:
                raise Refused("no_sound", "")
            return _decode_stream(container, container.streams.audio[0], output)
    except av.error.FFmpegError as error:
        raise Refused("malformed", error.strerror or type(error).__name__) from error


def _decode_stream(container: Any, stream: Any, output: Output) -> dict[str, Any]:
    context = stream.codec_context
    if context is None:
        raise Refused("codec", "there is no decoder for the sound")
    context.thread_count = 1
    first: tuple[int, int, str] | None = None
    for frame in _frames(container, stream):
        found = (frame.sample_rate, len(frame.layout.channels), frame.format.packed.name)
        first = first or found
        if found != first or found[2] not in SAMPLE_TYPES:
            raise Refused("malformed", "the rate, the channels or the type of the samples change in the file")
        if not output.write(_values(frame, found), found[0]):
            break
    if first is None:
        raise Refused("no_sound", "")
    name, kind = context.codec.canonical_name, SAMPLE_TYPES[first[2]]
    return {
        "codec": CODERS.get(name) or ("float" if name[:5] == "pcm_f" else "pcm" if name[:4] == "pcm_" else name),
        "rate_hz": first[0],
        "channels": first[1],
        "bits": {"u8": 8, "s16": 16, "s32": 32 if output.uses_low_byte else 24}.get(first[2], 32),
        "type": kind,
        "frames": output.frames,
        "stated": _stated_frames(container, stream, output, first[0]),
    }


def _stated_frames(container: Any, stream: Any, output: Output, rate_hz: int) -> int | None:
    """Return the frames that an MP4 states; the durations in other files are estimates."""
    if output.is_full or "mov" not in container.format.name or stream.duration is None or stream.time_base is None:
        return None
    return int(stream.duration * stream.time_base * rate_hz)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the decoded frames. An error in the last packet is the end of a file that was cut off there."""
    failed = None
    for packet in container.demux(stream):
        try:
            frames: Iterable[Any] = packet.decode()
        except ValueError as error:  # av.error.InvalidDataError is one
            failed = failed or error
            continue
        for frame in frames:
            if failed is not None:
                raise failed
            yield frame


def _values(frame: Any, found: tuple[int, int, str]) -> Any:
    """Return the samples of a frame, ``(frames, channels)``."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, found[1])
    if found[2] == "u8":
        values = (values.astype(np.int16) - 128) << 8
    return np.ascontiguousarray(values, SAMPLE_TYPES[found[2]])


if __name__ == "__main__":
    _main()
