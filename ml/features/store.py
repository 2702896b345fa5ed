"""Features of recordings on disk: computed once, read a clip at a time, whatever the size of the dataset.

    <folder>/<spec>/<augmentation, or "recorded">/<2 hex digits>/<audio hash>[-<copy>].npy

One file holds the windows of one recording, or of one augmented copy of it: float32, ``(windows, rows, clip_frames)``.
What is in it follows from its path alone, so that an existing file is never computed again, and another spec or
augmentation has a folder of its own. A file is written aside and renamed. It is not flushed to disk one by one: after a
power cut it may be shorter than it says, which its size gives away, and it is computed again.
"""

import errno
import fcntl
import io
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.audio.batch import AudioFile, map_recordings
from ml.audio.recording import Recording
from ml.dataset.entries import Dataset, Entry
from ml.errors import AudioError, FeaturesMissing, RecordingChanged, StorageFull
from ml.features.augmentation import Augmentation
from ml.features.extractor import cached_extractor
from ml.features.spec import FeatureSpec
from ml.system.atomic import require_free_space, to_json, write_atomic
from ml.system.progress import ProgressCallback, ignore_progress

RECORDED = "recorded"
INCOMPLETE_FOLDER = ".incomplete"
BLOCK_BYTES = 4096  # what a file takes up is a multiple of this on common file systems
# The index sums a recording's energy in other blocks than the decoder does.
LEVEL_TOLERANCE_DB = 0.01

Augmentations = Augmentation | tuple[Augmentation, ...] | None


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """A view on the features of one spec and one augmentation. Holds nothing but paths; pickles.

    Attributes:
        folder: of the store.
        spec: what they are.
        augmentation: how the copies differ from the recordings; None where there are none. The copies of several are
            numbered through, in their order.
    """

    folder: Path
    spec: FeatureSpec
    augmentation: Augmentations = None

    @property
    def copies(self) -> int:
        """How many there are of each recording, beside itself."""
        return len(_numbered_augmentations(self.augmentation))

    def augmentation_of(self, copy: int) -> tuple[Augmentation, int]:
        """The augmentation of a copy (from 1), and its number there."""
        return _numbered_augmentations(self.augmentation)[copy - 1]

    def clips(self, entry: Entry, copy: int = 0) -> NDArray[np.float32]:
        """The windows of a recording, from :meth:`ml.features.FeatureSpec.windows`.

        Args:
            entry: the recording.
            copy: 0 as recorded, from 1 augmented.

        Returns:
            float32, shape ``(windows, rows, clip_frames)``, mapped from its file and not writable. Take a copy of
            what is kept: pages of a file that stays mapped count as this process's memory.

        Raises:
            FeaturesMissing: not extracted, or damaged since.
        """
        path = self.file(entry, copy)
        try:
            windows: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FeaturesMissing(f"No whole features of {entry.path} in {path}: extract them again.") from error
        if windows.shape != self.shape(entry) or windows.dtype != np.float32:
            raise FeaturesMissing(f"{path} holds {windows.shape}; {self.shape(entry)} was expected: extract it again.")
        return windows

    def shape(self, entry: Entry) -> tuple[int, int, int]:
        """Windows, rows and frames that a recording of this length has."""
        samples = math.ceil(_samples(entry) * self.spec.sample_rate_hz / entry.info.sample_rate_hz)
        return (len(self.spec.clip_spans(samples)), self.spec.rows, self.spec.clip_frames)

    def file(self, entry: Entry, copy: int = 0) -> Path:
        """Where they are.

        Raises:
            FeaturesMissing: there is no such copy in this augmentation.
        """
        if not 0 <= copy <= self.copies:
            raise FeaturesMissing(f"Copy {copy} of {entry.path} was asked for; there are {self.copies}.")
        kind, name = RECORDED, f"{entry.audio_hash}.npy"
        if copy:
            augmentation, number = self.augmentation_of(copy)
            kind, name = augmentation.fingerprint, f"{entry.audio_hash}-{number}.npy"
        return self.folder / _fingerprint(self.spec) / kind / entry.audio_hash[:2] / name

    def missing(self, entry: Entry) -> tuple[int, ...]:
        """The copies that are not there whole; 0 is the one as recorded."""
        expected = file_bytes(self.shape(entry))
        return tuple(copy for copy in range(self.copies + 1) if _size(self.file(entry, copy)) != expected)


@dataclass(frozen=True, slots=True)
class _Extraction:
    """One recording, and which copies of it to make."""

    path: Path
    entry: Entry
    copies: tuple[int, ...]


class FeatureStore:
    """Features below a folder, which any number of processes may fill at once.

    Args:
        folder: created when something is extracted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def extract(
        self,
        dataset: Dataset,
        entries: Sequence[Entry],
        spec: FeatureSpec,
        augmentation: Augmentations = None,
        *,
        processes: int | None = None,
        report: ProgressCallback = ignore_progress,
    ) -> StoredFeatures:
        """Compute what is not there yet.

        Args:
            dataset: where the recordings are.
            entries: of which recordings; of several with the same samples one is read.
            spec: which features.
            augmentation: which copies beside the recording itself; None for none. All are made from one decoding.
            processes: how many to work with; None decides by cores and recordings. The result is the same.
            report: told after each recording that was read.

        Raises:
            RecordingChanged: a file has gone or is no longer what it was when it was indexed. What was computed stays.
            StorageFull: before the first, or on the way; no half of a file stays.
        """
        features = StoredFeatures(self.folder, spec, augmentation)
        unique = {entry.audio_hash: entry for entry in entries}.values()
        todo = [(entry, missing) for entry in unique if (missing := features.missing(entry))]
        require_free_space(self.folder, sum(_disk_bytes(features.shape(entry)) * len(copies) for entry, copies in todo))
        jobs = [_Extraction(dataset.file(entry), entry, copies) for entry, copies in todo]
        if jobs:
            self._write_descriptions(features)
            with self._shared_lock():
                for _ in map_recordings(
                    partial(_extract, features),
                    [AudioFile(job.path, job) for job in jobs],
                    channel=spec.channel,
                    step="features",
                    processes=processes,
                    report=report,
                    on_error=_unreadable,
                ):
                    pass
        return features

    def _write_descriptions(self, features: StoredFeatures) -> None:
        """For a person who looks into the folder: what its name stands for."""
        folder = self.folder / features.spec.fingerprint
        _write_json_once(folder / "spec.json", features.spec.to_dict())
        for augmentation, _ in _numbered_augmentations(features.augmentation):
            made_with = {name: value for name, value in asdict(augmentation).items() if name != "copies"}
            _write_json_once(folder / augmentation.fingerprint / "augmentation.json", made_with)

    @contextmanager
    def _shared_lock(self) -> Iterator[None]:
        """Hold the store; whoever finds nobody else in it clears away what killed processes have left."""
        aside = self.folder / INCOMPLETE_FOLDER
        aside.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in aside.iterdir():
                    path.unlink(missing_ok=True)
            except BlockingIOError:
                pass  # somebody else is writing: what lies there may be theirs
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)


@lru_cache(maxsize=8)
def _numbered_augmentations(augmentations: Augmentations) -> tuple[tuple[Augmentation, int], ...]:
    each = (augmentations,) if isinstance(augmentations, Augmentation) else augmentations or ()
    return tuple((one, number) for one in each for number in range(1, one.copies + 1))


@lru_cache(maxsize=8)
def _fingerprint(spec: FeatureSpec) -> str:
    """Made once, and not for each file."""
    return spec.fingerprint


@cache
def file_bytes(shape: tuple[int, int, int]) -> int:
    """Size of a ``.npy`` file of float32 of this shape, with its header."""
    header = io.BytesIO()
    facts = {"shape": shape, "fortran_order": False, "descr": "<f4"}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.tell() + 4 * math.prod(shape)


def _disk_bytes(shape: tuple[int, int, int]) -> int:
    return -(-file_bytes(shape) // BLOCK_BYTES) * BLOCK_BYTES


def _samples(entry: Entry) -> int:
    return round(entry.info.duration_s * entry.info.sample_rate_hz)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _write_json_once(path: Path, values: dict[str, Any]) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, to_json(values))


def _extract(features: StoredFeatures, recording: Recording, job: _Extraction) -> None:
    """All missing copies of one recording, from one decoding and one resampling."""
    _verify(recording, job, features.spec)
    for copy, clips in _copies(features, job, recording):
        _write(features.file(job.entry, copy), clips, features.folder / INCOMPLETE_FOLDER)


def _unreadable(error: AudioError | OSError, job: _Extraction) -> None:
    reason = error.strerror if isinstance(error, OSError) else error
    raise RecordingChanged(f"{job.path} cannot be read any more: {reason} Index the dataset again.") from error


def _verify(recording: Recording, job: _Extraction, spec: FeatureSpec) -> None:
    """Compare a recording with the index: features under a wrong hash would never be found out."""
    entry, quality = job.entry, recording.quality
    same = (
        job.path.stat().st_size == entry.info.bytes
        and (quality.sample_rate_hz, quality.channels) == (entry.info.sample_rate_hz, entry.info.channels)
        and len(recording.samples) == _samples(entry)
        and math.isclose(quality.clipped_share, entry.info.clipped_share, abs_tol=1e-9)
        and (spec.channel != "mean" or _same_level(quality.level_dbfs, entry.info.level_dbfs))
    )
    if not same:
        raise RecordingChanged(f"{job.path} has changed since it was indexed: index the dataset again.")


def _same_level(measured: float | None, indexed: float | None) -> bool:
    if measured is None or indexed is None:
        return measured is indexed
    return abs(measured - indexed) <= LEVEL_TOLERANCE_DB


def _copies(
    features: StoredFeatures, job: _Extraction, recording: Recording
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    extractor = cached_extractor(features.spec)
    recorded = extractor.resample(recording.samples, recording.sample_rate_hz)
    spans = features.spec.clip_spans(len(recorded))

    def log_mels(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [extractor.log_mel(samples[start:stop]) for start, stop in spans]

    def fitted(clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack([extractor.pad_or_crop(extractor.coefficients(clip)) for clip in clips])

    unchanged = lru_cache(maxsize=1)(lambda: log_mels(recorded))
    for copy in job.copies:
        if copy == 0:
            yield copy, fitted(unchanged())
            continue
        augmentation, number = features.augmentation_of(copy)
        draw = augmentation.draw(job.entry.audio_hash, number)
        clips = log_mels(draw.augment_waveform(recorded)) if draw.changes_waveform else unchanged()
        yield copy, fitted([draw.stretch_frames(clip) for clip in clips])


def _write(target: Path, windows: NDArray[np.float32], incomplete_folder: Path) -> None:
    """Aside, then renamed: a file of this name is whole."""
    half = incomplete_folder / f"{target.stem}.{uuid.uuid4().hex}.npy"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # By way of memory: where numpy writes to a file itself, a full disk is an error without a number.
        content = io.BytesIO()
        np.save(content, windows, allow_pickle=False)
        with half.open("xb") as file:
            file.write(content.getbuffer())
        half.replace(target)
    except BaseException as error:  # Ctrl-C too: never half a file
        half.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"The disk filled up while features were written below {incomplete_folder.parent}."
            ) from error
        raise
