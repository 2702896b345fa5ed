"""What is known of a dataset: its recordings, and the files that are none."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

Label = Literal["normal", "abnormal"]
NORMAL: Final = "normal"
ABNORMAL: Final = "abnormal"


def machine_name(machine: str | None, machine_id: str | None) -> str:
    """``fan/id_00``; what is unknown of it is left out."""
    return "/".join(part for part in (machine, machine_id) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One readable recording.

    Attributes:
        path: relative to the dataset's root, with slashes.
        label: whether the machine was healthy.
        machine, machine_id: what was recorded (``fan``, ``id_00``), where the layout or the manifest says so.
        snr_db: signal-to-noise ratio of the recording, where it is known.
        fault: name of the fault, where it is known; None for a healthy machine.
        group: the recording session or block. A split by group never parts the recordings of one.
        audio_hash: 32 hexadecimal digits of all samples of all channels, their rate and their number; not of the
            file's bytes, so that the same sound in another container is found too.
        duration_s, sample_rate_hz, channels, bits, codec: of the file; the codec is ``pcm``, ``float`` or ``flac``.
        level_dbfs: RMS of the mean of all channels; None for digital silence.
        peak_dbfs: the largest sample of any channel; None for digital silence.
        clipped_share: share of samples at full scale, 0 to 1.
        bytes: size of the file.
    """

    path: str
    label: Label
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    fault: str | None
    group: str
    audio_hash: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    bits: int
    codec: str
    level_dbfs: float | None
    peak_dbfs: float | None
    clipped_share: float
    bytes: int

    @property
    def machine_name(self) -> str:
        """The machine as a detector and a reader know it: ``fan/id_00``; empty where it is not known."""
        return machine_name(self.machine, self.machine_id)


@dataclass(frozen=True, slots=True)
class FileRefusal:
    """A file that is no usable recording: the error's stable code, and its sentence."""

    path: str
    code: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """An index of recordings.

    Attributes:
        name: of the folder or the manifest.
        root: the folder that the paths are relative to.
        layout: ``mimii``, ``folder per class``, ``flat``, ``manifest`` or ``collection``.
        entries: in natural order of their paths, which is the order they were recorded in.
        refusals: files that could not be read.
        explicit_sessions: whether a manifest or a collection names the groups; otherwise they are guessed.
    """

    name: str
    root: Path
    layout: str
    entries: tuple[Entry, ...]
    refusals: tuple[FileRefusal, ...]
    explicit_sessions: bool

    def file(self, entry: Entry) -> Path:
        """Where the recording is."""
        return self.root / entry.path

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any recording, label, fault or group."""
        facts = [(e.path, e.label, e.fault, e.group, e.audio_hash) for e in self.entries]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def duplicates(self) -> tuple[tuple[Entry, ...], ...]:
        """Sets of recordings with the same samples."""
        copies: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            copies[entry.audio_hash].append(entry)
        return tuple(tuple(same) for same in copies.values() if len(same) > 1)
