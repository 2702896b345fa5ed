"""Microphones of this computer, by names that stay the same after a restart."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from pydantic import ValidationError

from listener.config.source_types import DeviceSource

LIST_S = 5.0
PULSE_ENTRY = re.compile(r"^\tName: (?P<name>\S+)\n\tDescription: (?P<description>.*)$", re.MULTILINE)


class Device(NamedTuple):
    """Microphone.

    Attributes:
        name: its name as ``device`` of a source takes it, such as ``alsa:plughw:CARD=USB,DEV=0``.
        description: its name for people.
    """

    name: str
    description: str


def list_devices() -> list[Device]:
    """Return the devices that can be recorded from: those of PulseAudio or PipeWire, then those of ALSA."""
    return [device for device in (*_pulse(), *_alsa()) if _is_usable(device.name)]


def parse_pulse(text: str) -> list[Device]:
    r"""Return the devices in the output of ``pactl list sources``.

    Example:
        >>> parse_pulse("Source #1\n\tState: IDLE\n\tName: usb.mono\n\tDescription: USB microphone\n")
        [Device(name='pulse:usb.mono', description='USB microphone')]
    """
    return [Device(f"pulse:{each['name']}", each["description"]) for each in PULSE_ENTRY.finditer(text)]


def parse_alsa(text: str) -> list[Device]:
    r"""Return the devices in the output of ``arecord -L`` that convert rates, by the id of their card.

    Example:
        >>> parse_alsa("null\n    Discard\nplughw:CARD=USB,DEV=0\n    USB microphone\n    Conversions\n")
        [Device(name='alsa:plughw:CARD=USB,DEV=0', description='USB microphone')]
    """
    lines = text.splitlines()
    followed = zip_longest(lines, lines[1:], fillvalue="")
    return [
        Device(f"alsa:{line.strip()}", following.strip())
        for line, following in followed
        if line.startswith("plughw:CARD=")
    ]


def _pulse() -> Iterator[Device]:
    yield from parse_pulse(_output("pactl", "list", "sources"))


def _alsa() -> Iterator[Device]:
    yield from parse_alsa(_output("arecord", "-L"))


def _output(program: str, *arguments: str) -> str:
    """Return what a program writes; nothing if it is absent or fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        found = subprocess.run(  # noqa: S603 - constants
            [path, *arguments], env=os.environ | {"LC_ALL": "C"}, capture_output=True, timeout=LIST_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.decode(errors="replace")


def _is_usable(name: str) -> bool:
    try:
        DeviceSource(name="any", machine_id="any", device=name)
    except ValidationError:
        return False
    return True
