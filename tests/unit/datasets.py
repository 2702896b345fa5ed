"""Datasets for tests: entries without files, and small files."""

from collections.abc import Iterable
from pathlib import Path

from ml.dataset.entries import Dataset, Entry, Label
from tests import sounds


def entry(path: str, label: Label = "normal", group: str = "g", **facts: object) -> Entry:
    """An entry with samples of its own unless ``audio_hash`` is given."""
    known: dict[str, object] = {
        "machine": None,
        "machine_id": None,
        "snr_db": None,
        "fault": None,
        "audio_hash": f"hash of {path}",
        "duration_s": 10.0,
        "sample_rate_hz": 16_000,
        "channels": 1,
        "bits": 16,
        "codec": "pcm",
        "level_dbfs": -30.0,
        "peak_dbfs": -20.0,
        "clipped_share": 0.0,
        "bytes": 320_044,
    }
    return Entry.from_dict({"path": path, "label": label, "group": group} | known | facts)


def changed(recording: Entry, **facts: object) -> Entry:
    """The same recording with some facts changed."""
    return Entry.from_dict(recording.to_dict() | facts)


def dataset(entries: Iterable[Entry], *, explicit_sessions: bool = False) -> Dataset:
    """A dataset of entries without files."""
    return Dataset("fans", Path("/nowhere"), "manifest", tuple(entries), (), explicit_sessions)


def session(group: str, count: int, label: Label = "normal", **facts: object) -> list[Entry]:
    """``count`` recordings of one session."""
    fault = facts.get("fault") or label
    return [entry(f"{group}/{fault}/{facts.get('snr_db')}/{n}.wav", label, group, **facts) for n in range(count)]


def write(folder: Path, *paths: str, seconds: float = 0.5) -> Path:
    """Write recordings of noise, each different."""
    for number, path in enumerate(paths):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        samples = sounds.noise(round(seconds * 8000), seed=hash_of(path) + number)
        encoded = sounds.flac(samples, 8000) if file.suffix == ".flac" else sounds.recording(samples, rate_hz=8000)
        file.write_bytes(encoded)
    return folder


def hash_of(path: str) -> int:
    """A number for a path, the same in every process."""
    return int.from_bytes(path.encode()[-6:], "big")
