"""Samples from a microphone: PulseAudio or PipeWire by parec, ALSA by arecord."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing

from listener.capture.connection import Limits
from listener.capture.ffmpeg import find_ffmpeg
from listener.capture.pcm import DTYPES, PcmFormat
from listener.capture.pcm_reader import PcmReader
from listener.capture.program import Command, Program
from listener.config.source_types import DeviceSource
from ml.errors import ProgramMissing

LIMITS = Limits(start_s=6.0, stall_s=4.0)
LATENCY_MS = 100
PAREC_FORMATS = {"s16le": "s16le", "s32le": "s32le", "f32le": "float32le"}
ARECORD_FORMATS = {"s16le": "S16_LE", "s32le": "S32_LE", "f32le": "FLOAT_LE"}
# PulseAudio moves the sound of a device that was removed to another one: another machine would be recorded.
MOVED = re.compile(r"Stream moved to device .*?(?= \(|$)")
PAREC_NOISE = (
    *("Time:", "Opening a ", "Connection established", "Stream successfully created", "Buffer metrics"),
    *("Using sample spec", "Connected to device", "Started.", "Stream started", "device suspended", "device resumed"),
)


def device_reader(source: DeviceSource) -> PcmReader:
    """Return the reader of a device. The device is searched by its name at each start."""
    format = PcmFormat(source.sample_rate_hz, source.channels, DTYPES[source.sample_format])
    return PcmReader(source.name, lambda: Program(device_command(source)), format, source.channel, LIMITS)


def device_command(source: DeviceSource) -> Command:
    """Return the command that writes the sound of a device to stdout.

    Raises:
        ProgramMissing: the program that this device needs is not installed.
    """
    system, _, name = source.device.partition(":")
    if system == "pulse":
        return _parec(source, name)
    if system == "alsa":
        return _arecord(source, name)
    if not has_pulse_server() and shutil.which("arecord"):
        return _arecord(source, "default")
    return _parec(source, None) if shutil.which("parec") or not has_pulse_server() else _ffmpeg(source)


def has_pulse_server() -> bool:
    """Return whether a server of PulseAudio or PipeWire answers."""
    return bool(os.environ.get("PULSE_SERVER")) or any(_answers(path) for path in _pulse_sockets())


def _parec(source: DeviceSource, name: str | None) -> Command:
    device = () if name is None else (f"--device={name}",)
    words = (
        *(_program("parec", "pulseaudio-utils"), "--verbose", "--raw", *device),
        *(f"--rate={source.sample_rate_hz}", f"--channels={source.channels}"),
        *(f"--format={PAREC_FORMATS[source.sample_format]}", f"--latency-msec={LATENCY_MS}"),
        *("--client-name=signalml", f"--stream-name={source.name}"),
    )
    return Command(words, noise=PAREC_NOISE, refused=None if name is None else MOVED)


def _arecord(source: DeviceSource, name: str) -> Command:
    words = (
        *(_program("arecord", "alsa-utils"), "--quiet", f"--device={name}", "--file-type=raw"),
        *(f"--rate={source.sample_rate_hz}", f"--channels={source.channels}"),
        *(f"--format={ARECORD_FORMATS[source.sample_format]}", f"--period-time={LATENCY_MS * 1000}"),
    )
    return Command(words)


def _ffmpeg(source: DeviceSource) -> Command:
    """Return the command for the default device of PulseAudio without its own programs."""
    rate, channels = str(source.sample_rate_hz), str(source.channels)
    words = (
        *(find_ffmpeg(), "-hide_banner", "-nostats", "-nostdin", "-loglevel", "warning"),
        *("-f", "pulse", "-sample_rate", rate, "-channels", channels, "-i", "default"),
        *("-ar", rate, "-ac", channels, "-flush_packets", "1", "-f", source.sample_format, "pipe:1"),
    )
    return Command(words)


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ProgramMissing(f"{name} is needed to record from this device. Install it with  apt-get install {package}")
    return path


def _pulse_sockets() -> Iterator[str]:
    if folder := os.environ.get("PULSE_RUNTIME_PATH"):
        yield f"{folder}/native"
    yield f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.getuid()}'}/pulse/native"
    yield "/run/pulse/native"


def _answers(path: str) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
        except OSError:
            return False
    return True
