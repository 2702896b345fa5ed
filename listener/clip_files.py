"""Files of the clips of events, in ``<home>/listener/clips``: FLAC and the spectrogram, with names of their own.

A file is complete before an event names it, and never changes. A newer version of a clip has another name. Files that
no event names are deleted later: by then nobody who has read the earlier version of the event opens them.
"""

import io
import secrets
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from listener.event_time import to_time
from listener.events import Event, EventClip
from listener.options import CLIPS_FOLDER, LISTENER_FOLDER
from listener.sound import SoundBlock
from ml.audio.decode import open_audio
from ml.audio.limits import DEFAULT_LIMITS
from ml.errors import ClipNotFound
from ml.system.atomic import make_folder, translate_disk_full, write_atomic

CLIP_FIELDS = ("clip", "missing_clip")
"""Fields of an event that writing and deleting its clip change."""
ORPHAN_S = 300.0  # age at which a file that no event names is deleted
MOST_CHANNELS = 8  # of FLAC
FULL_SCALE_16 = 32_768
FRAMES_AT_ONCE = 65_536
NO_CLIP = {
    "pending": "its clip is not written yet",
    "disk_full": "the disk was full when its clip was to be written",
    "no_sound": "no sound of it was recorded",
    "deleted": "its clip was deleted to make room",
    "off": "clips are switched off",
}


def clips_folder(home: Path) -> Path:
    """Return the folder of the clips of events."""
    return home / LISTENER_FOLDER / CLIPS_FOLDER


def clip_file(home: Path, event: Event) -> Path:
    """Return the FLAC file of an event.

    Raises:
        ClipNotFound: there is none; the message has the reason.
    """
    return _existing(home, event, None if event.clip is None else event.clip.file)


def spectrogram_file(home: Path, event: Event) -> Path:
    """Return the PNG file of an event.

    Raises:
        ClipNotFound: there is none; the message has the reason.
    """
    if event.clip is not None and event.clip.spectrogram is None:
        raise ClipNotFound(f"The clip of the event {event.id} has no spectrogram.")
    return _existing(home, event, None if event.clip is None else event.clip.spectrogram)


def _existing(home: Path, event: Event, name: str | None) -> Path:
    if name is None:
        raise ClipNotFound(f"The event {event.id} has no clip: {NO_CLIP[event.missing_clip or 'no_sound']}.")
    # Only the last part: an event of another device cannot name a file of another folder.
    file = clips_folder(home) / Path(name).name
    if not file.is_file():
        raise ClipNotFound(f"The event {event.id} has no clip: {NO_CLIP['deleted']}.")
    return file


def encode_flac(block: SoundBlock) -> bytes:
    """Return a sound as FLAC, with all its channels and without a change of its samples.

    16 bits if all samples are such values, as from most recorders; 24 bits otherwise.

    Example:
        >>> silence = SoundBlock(np.zeros((16_000, 2), np.float32), 16_000, at=0.0)
        >>> encode_flac(silence)[:4]
        b'fLaC'
    """
    samples = block.samples[:, :MOST_CHANNELS]
    # Not all at once: a minute of eight channels would need half a gigabyte.
    parts = [samples[start : start + FRAMES_AT_ONCE] for start in range(0, len(samples), FRAMES_AT_ONCE)]
    bits = 16 if all(map(_fits_16_bits, parts)) else 24
    form = {"channels": samples.shape[1], "format": "FLAC", "subtype": f"PCM_{bits}"}
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", block.sample_rate_hz, **form) as flac:
        flac.date = to_time(block.at)  # as a recording with a time, if a person uploads it
        for part in parts:
            flac.write(_integers(part, bits))
    return file.getvalue()


def _fits_16_bits(samples: NDArray[np.float32]) -> bool:
    scaled = samples * np.float32(FULL_SCALE_16)
    return np.array_equal(scaled, np.rint(scaled))


def _integers(samples: NDArray[np.float32], bits: int) -> NDArray[np.int16] | NDArray[np.int32]:
    """Return samples as integers. libsndfile would scale floats by one step less than full scale."""
    full_scale = 1 << bits - 1
    scaled = np.clip(np.rint(samples.astype(np.float64) * full_scale), -full_scale, full_scale - 1)
    return scaled.astype(np.int16) if bits == 16 else scaled.astype(np.int32) << 32 - bits


def read_recording(content: bytes, at: float) -> SoundBlock:
    """Return all channels of a recording.

    Args:
        content: content of its file.
        at: its time, in seconds since 1970.

    Raises:
        AudioError: it cannot be read.
    """
    header, blocks = open_audio(memoryview(content), DEFAULT_LIMITS)
    scale = np.float32(1 / header.full_scale)
    return SoundBlock(np.concatenate([block.astype(np.float32) * scale for block in blocks]), header.sample_rate_hz, at)


def write_clip(home: Path, event_id: str, block: SoundBlock, flac: bytes, png: bytes | None) -> EventClip:
    """Write the files of a clip under new names.

    Args:
        home: SIGNALML_HOME.
        event_id: id of the event.
        block: the sound, for its times.
        flac: the sound as FLAC.
        png: its spectrogram; None without one.

    Raises:
        StorageFull: nothing was written.
        OSError: the folder cannot be written.
    """
    duration_s = round(len(block.samples) / block.sample_rate_hz, 3)
    return write_files(home, event_id, to_time(block.at), duration_s, flac, png)


def write_files(
    home: Path, event_id: str, began: str, duration_s: float, flac: bytes | bytearray, png: bytes | bytearray | None
) -> EventClip:
    """Write the files of a clip under new names; see :func:`write_clip`.

    Args:
        home: SIGNALML_HOME.
        event_id: id of the event.
        began: time of the first sample, ISO 8601, UTC.
        duration_s: length in seconds.
        flac: the sound as FLAC.
        png: its spectrogram; None without one.

    Raises:
        StorageFull, OSError: nothing was written.
    """
    folder = clips_folder(home)
    name = f"{event_id}-{secrets.token_hex(4)}"
    sound, picture = folder / f"{name}.flac", folder / f"{name}.png"
    with translate_disk_full(Path(sound.name), "nothing of it was kept"):
        make_folder(folder)
        try:
            write_atomic(sound, flac)
            if png is not None:
                write_atomic(picture, png)
        except OSError:
            sound.unlink(missing_ok=True)
            raise
    return EventClip(
        file=sound.name,
        spectrogram=None if png is None else picture.name,
        began=began,
        duration_s=duration_s,
        size_bytes=len(flac) + len(png or b""),
    )


def delete_clip(home: Path, clip: EventClip | None) -> None:
    """Delete the files of a clip, if there is one."""
    for name in () if clip is None else (clip.file, clip.spectrogram):
        if name is not None:
            (clips_folder(home) / Path(name).name).unlink(missing_ok=True)


def delete_orphans(home: Path, named: set[str], older_s: float = ORPHAN_S) -> int:
    """Delete files that no event names, also those of a killed process that are half written.

    Args:
        home: SIGNALML_HOME.
        named: names of the files of all events.
        older_s: age in seconds; younger files may be named soon.

    Returns:
        Number of deleted files.
    """
    folder, latest = clips_folder(home), time.time() - older_s
    if not folder.is_dir():
        return 0
    orphans = [file for file in folder.iterdir() if file.name not in named and _is_older(file, latest)]
    for file in orphans:
        file.unlink(missing_ok=True)
    return len(orphans)


def _is_older(file: Path, latest: float) -> bool:
    try:
        changed = file.stat().st_mtime
    except FileNotFoundError:
        return False
    # A time in the future is from a clock that was set back.
    return changed <= latest or changed > time.time() + ORPHAN_S
