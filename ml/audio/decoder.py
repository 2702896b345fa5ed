"""Decoding of coded files (MP3, Ogg, M4A and others) in a child process with limits.

Decoders of such formats are large programs in C that have had memory faults. None runs in this process:
:mod:`ml.audio.decoder_child` decodes one file and ends. It is killed if it takes too long; its memory, its time of the
CPU and its output are limited; it sees no name of a file and no environment; it can open no file and no connection.

libsndfile is always installed. It decodes MP3, Ogg (Vorbis, Opus, FLAC), CAF, AU and ADPCM in WAV. The rest needs PyAV,
the optional extra ``formats``.
"""

import json
import mmap
import os
import selectors
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import IO, Any, cast

from ml.audio import decoder_child
from ml.audio.formats import FileFormat
from ml.audio.limits import UNPACKED_BYTES_PER_SAMPLE, AudioLimits, Encoding, Header
from ml.errors import (
    DecoderFailed,
    DecoderMissing,
    EmptyAudio,
    MalformedAudio,
    TruncatedAudio,
    UnpackedTooLarge,
    UnsupportedCodec,
)

EXTRA = "formats"
# Codecs in WAV and AIFF that libsndfile does not know.
PYAV_CODERS = ("aac", "wma", "flac", "mace3", "mace6")
# A recording of ten minutes takes about two seconds.
MAX_CPU_S, MAX_WALL_S = 10, 20.0
# Address space: the libraries take 150 MiB of it, most of which is never used.
MAX_MEMORY_BYTES = 1 << 30
MAX_FILE_BYTES = 256 * 2**20
MAX_REPORT_BYTES = 4096
# More than the limits accept by less than this: one block of any format.
SLACK_BYTES = 16 * 2**20
# Tolerance for the length of a coded file: a share of it, and a time.
MISSING_SHARE, MISSING_S = 0.02, 0.2
ENCODINGS: dict[str, Encoding] = {"i2": "signed", "i4": "signed", "f4": "float"}


def decode(data: memoryview, file: FileFormat, limits: AudioLimits, coder: str | None) -> tuple[memoryview, Header]:
    """Decode a coded file in a child process.

    Args:
        data: the whole file.
        file: its format.
        limits: bounds; the child decodes no more than they accept, and one block.
        coder: codec of a file whose header was read here; None if only the child knows.

    Returns:
        The samples, and a header that describes them as :func:`ml.audio.samples.blocks` reads them.

    Raises:
        DecoderMissing: PyAV is needed and not installed.
        DecoderFailed: the child crashed, was killed or took too long.
        UnpackedTooLarge: the file is larger than 256 MiB.
        EmptyAudio, MalformedAudio, TruncatedAudio, UnsupportedCodec: the file cannot be decoded.

    Example:
        >>> import io
        >>> import numpy as np
        >>> import soundfile
        >>> from ml.audio.formats import OGG
        >>> from ml.audio.limits import DEFAULT_LIMITS
        >>> coded = io.BytesIO()
        >>> soundfile.write(coded, np.zeros(16_000), 16_000, format="OGG", subtype="VORBIS")
        >>> samples, header = decode(coded.getbuffer(), OGG, DEFAULT_LIMITS, None)
        >>> header.codec, header.frames, len(samples)
        ('vorbis', 16000, 64000)
    """
    if len(data) > MAX_FILE_BYTES:
        raise UnpackedTooLarge(
            f"The file has {len(data) / 2**20:.0f} MiB; at most {MAX_FILE_BYTES / 2**20:.0f} MiB are accepted of "
            f"{file.title}. {_convert(file)}"
        )
    has_pyav = find_spec("av") is not None
    if file.decoder != "pyav" and coder not in PYAV_CODERS:
        try:
            return _run(data, file, limits, "libsndfile")
        except UnsupportedCodec:
            if not has_pyav:
                raise
    if not has_pyav:
        raise DecoderMissing(
            f"This is {file.title}{f' with {coder}' if coder else ''}, and this installation has no decoder for it. "
            f"{_convert(file)} Or install the decoder (pip install 'signalml[{EXTRA}]')."
        )
    return _run(data, file, limits, "pyav")


def _run(data: memoryview, file: FileFormat, limits: AudioLimits, decoder: str) -> tuple[memoryview, Header]:
    """Let a child decode a file, and return its samples and their header."""
    task = {
        "decoder": decoder,
        "demuxer": file.demuxer,
        "max_duration_s": limits.max_duration_s,
        "max_values": limits.max_unpacked_bytes // UNPACKED_BYTES_PER_SAMPLE,
        "output_bytes": limits.max_unpacked_bytes + SLACK_BYTES,
        "memory_bytes": MAX_MEMORY_BYTES,
        "cpu_s": MAX_CPU_S,
    }
    coded, output = _memory_file("coded"), _memory_file("samples")
    try:
        _write(coded, data)
        report = _report(task | {"file": output}, coded, output, file)
        header = _header(report, file)
        if (size := os.fstat(output).st_size) < header.data_bytes or size == 0:
            raise EmptyAudio(
                f"This is {file.title} without samples. Check that the recorder was running, and that the whole file "
                "was sent."
            )
        return memoryview(mmap.mmap(output, size, access=mmap.ACCESS_READ)), header
    finally:
        os.close(coded)
        os.close(output)


def _report(task: dict[str, Any], coded: int, output: int, file: FileFormat) -> dict[str, Any]:
    """Start the child, wait for its end, and return its report."""
    command = [sys.executable, "-I", decoder_child.__file__, json.dumps(task)]
    # One thread of OpenBLAS: others would only take address space. The child gets no other variable but the linker's.
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    if paths := os.environ.get("LD_LIBRARY_PATH"):
        environment["LD_LIBRARY_PATH"] = paths
    with subprocess.Popen(  # noqa: S603 - no text from a client
        command,
        stdin=coded,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(output,),
        env=environment,
        cwd="/",
        start_new_session=True,
    ) as child:
        try:
            text = _read_report(cast(IO[bytes], child.stdout))
        finally:
            child.kill()
    try:
        report = json.loads(text or b"null")
    except ValueError:
        report = None
    is_full = isinstance(report, dict) and report.get("refused") == "memory"
    if is_full or not isinstance(report, dict):
        ending = _ending(text, child.returncode, is_full=is_full)
        raise DecoderFailed(f"The decoder of {file.title} {ending}, or not what it seems to be. {_convert(file)}")
    return report


def _read_report(pipe: IO[bytes]) -> bytes | None:
    """Return what a child writes until its end; None if it takes too long."""
    end, text = time.monotonic() + MAX_WALL_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(text) <= MAX_REPORT_BYTES:
            if not selector.select(max(0.0, end - time.monotonic())):
                return None
            part = os.read(pipe.fileno(), MAX_REPORT_BYTES)
            if not part:
                break
            text += part
    return text


def _ending(text: bytes | None, status: int, *, is_full: bool) -> str:
    if text is None:
        return f"was stopped after {MAX_WALL_S:g} s: the computer is too busy (try again), or the file is damaged"
    ending = f"needed more than {MAX_MEMORY_BYTES >> 20} MiB" if is_full else f"ended with status {status}"
    return f"{ending}: the file is damaged"


def _header(report: dict[str, Any], file: FileFormat) -> Header:
    """Return the header that a child reports.

    Raises:
        EmptyAudio, MalformedAudio, UnsupportedCodec, DecoderMissing: the child refused the file.
    """
    refused, detail = report.get("refused"), str(report.get("detail", "")).rstrip(". \n")
    if refused == "missing":
        raise DecoderMissing(
            f"This is {file.title}, and the decoder of this installation cannot be loaded ({detail}). {_convert(file)}"
        )
    if refused == "no_sound":
        raise EmptyAudio(f"This is {file.title} without a sound track. Check what was sent.")
    if refused == "codec":
        raise UnsupportedCodec(f"This is {file.title} that cannot be decoded ({detail}). {_convert(file)}")
    if refused is not None:
        raise MalformedAudio(
            f"This is {file.title} that cannot be decoded: {detail}. Send the file as the recorder wrote it, or record "
            "again."
        )
    _check_length(report, file)
    sample_bytes = int(report["type"][1])
    return Header(
        container=file.name,
        sample_rate_hz=report["rate_hz"],
        channels=report["channels"],
        frames=report["frames"],
        bits=report["bits"],
        encoding=ENCODINGS[report["type"]],
        stored_bytes=sample_bytes,
        coder=report["codec"],
        big_endian=sys.byteorder == "big",
        data_bytes=report["frames"] * report["channels"] * sample_bytes,
    )


def _check_length(report: dict[str, Any], file: FileFormat) -> None:
    """Check that nearly as many frames were decoded as the file states: codecs add and leave out some at the ends."""
    frames, stated = report["frames"], report["stated"]
    if stated is not None and frames < (1 - MISSING_SHARE) * stated - MISSING_S * report["rate_hz"]:
        raise TruncatedAudio(
            f"This is {file.title} that states {stated} samples per channel and ends after {frames}: the recording was "
            "cut short. Send the whole file."
        )


def _convert(file: FileFormat) -> str:
    return f"Convert it (ffmpeg -i in{file.suffixes[0]} out.wav)."


def _memory_file(name: str) -> int:
    """Return an open file in memory, without a name; elsewhere than on Linux, on the disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(file: int, data: memoryview) -> None:
    left = data.cast("B")
    while left:
        left = left[os.write(file, left) :]
    os.lseek(file, 0, os.SEEK_SET)
