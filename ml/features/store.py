"""Feature store: features of recordings on disk, computed once and read a clip at a time.

    <folder>/<spec>/<augmentation, or "recorded">/<2 hex digits>/<audio hash>[-<copy>].npy

One file has the clips of one recording, or of one augmented copy of it: float32, ``(clips, rows, clip_frames)``. The
path determines the content. So an existing file is never computed again, and each spec and augmentation has its own
folder. A file is written under a temporary name and renamed. It is not flushed to disk: after a power cut it can be
too short. Its size shows this, and it is computed again.
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
from ml.audio.info import read_info
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
BLOCK_BYTES = 4096  # on common file systems, a file takes a multiple of this

Augmentations = Augmentation | tuple[Augmentation, ...] | None


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """View of the features of one spec and one augmentation. It has only paths and can be pickled.

    Attributes:
        folder: the store's folder.
        spec: the spec of the features.
        augmentation: the changes of the copies; None for no copies. The copies of several augmentations are numbered
            consecutively, in their order.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> info = AudioInfo("00ff", 30.0, 16_000, 8, 16, "pcm", -30.0, -12.0, 0.0, 7_680_044)  # 30 s
        >>> entry = Entry(path="normal/1.wav", annotation=Annotation(label="normal"), info=info)
        >>> stored = StoredFeatures(Path("features"), FeatureSpec.original(), Augmentation(copies=2, roll=True))
        >>> stored.copies, stored.shape(entry), stored.file(entry, 2).name
        (2, (5, 40, 433), '00ff-2.npy')
        >>> stored.missing(entry)
        (0, 1, 2)
    """

    folder: Path
    spec: FeatureSpec
    augmentation: Augmentations = None

    @property
    def copies(self) -> int:
        """Number of augmented copies of each recording."""
        return len(_numbered_augmentations(self.augmentation))

    def augmentation_of(self, copy: int) -> tuple[Augmentation, int]:
        """Return the augmentation of a copy, counted from 1, and the number of the copy in this augmentation."""
        return _numbered_augmentations(self.augmentation)[copy - 1]

    def clips(self, entry: Entry, copy: int = 0) -> NDArray[np.float32]:
        """Read the features of the clips of a recording, which are those of :meth:`FeatureSpec.clip_spans`.

        Args:
            entry: the recording.
            copy: 0 for the recording as recorded, from 1 for augmented copies.

        Returns:
            float32, shape ``(clips, rows, clip_frames)``, mapped from its file and not writable. To keep values, copy
            them: the pages of a mapped file count as memory of this process.

        Raises:
            FeaturesMissing: the features were not extracted, or their file is damaged.
        """
        path = self.file(entry, copy)
        try:
            clips: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FeaturesMissing(f"No complete features of {entry.path} in {path}: extract them again.") from error
        if clips.shape != self.shape(entry) or clips.dtype != np.float32:
            raise FeaturesMissing(
                f"{path} has the shape {clips.shape}; {self.shape(entry)} was expected: extract it again."
            )
        return clips

    def shape(self, entry: Entry) -> tuple[int, int, int]:
        """Return the shape of a recording's features by its length: ``(clips, rows, clip_frames)``."""
        samples = math.ceil(_samples(entry) * self.spec.sample_rate_hz / entry.info.sample_rate_hz)
        return (len(self.spec.clip_spans(samples)), self.spec.rows, self.spec.clip_frames)

    def file(self, entry: Entry, copy: int = 0) -> Path:
        """Return the path of a recording's features.

        Raises:
            FeaturesMissing: the augmentation has no such copy.
        """
        if not 0 <= copy <= self.copies:
            raise FeaturesMissing(f"Copy {copy} of {entry.path} was requested; there are {self.copies}.")
        kind, name = RECORDED, f"{entry.audio_hash}.npy"
        if copy:
            augmentation, number = self.augmentation_of(copy)
            kind, name = augmentation.fingerprint, f"{entry.audio_hash}-{number}.npy"
        return self.folder / _fingerprint(self.spec) / kind / entry.audio_hash[:2] / name

    def missing(self, entry: Entry) -> tuple[int, ...]:
        """Return the copies whose files are absent or have another size; 0 is the recording as recorded."""
        expected = file_bytes(self.shape(entry))
        return tuple(copy for copy in range(self.copies + 1) if _size(self.file(entry, copy)) != expected)


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Recording, and the copies of it to make; 0 is the recording as recorded."""

    path: Path
    entry: Entry
    copies: tuple[int, ...]


class FeatureStore:
    """Features in a folder, which any number of processes can fill at the same time.

    Args:
        folder: the store's folder; it is created with the first extraction.

    Example:
        >>> import tempfile
        >>> import soundfile
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.audio.info import read_info
        >>> spec = FeatureSpec(sample_rate_hz=16_000, clip_frames=32, n_fft=1024, n_mels=64, fmax_hz=8_000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fan = Path(folder, "fan.wav")
        ...     soundfile.write(fan, np.zeros(16_000), 16_000)
        ...     entry = Entry(path="fan.wav", annotation=Annotation(label="normal"), info=read_info(fan))
        ...     dataset = Dataset("fans", fan.parent, "flat", (entry,), (), explicit_sessions=False)
        ...     FeatureStore(Path(folder, "features")).extract(dataset, [entry], spec).clips(entry).shape
        (1, 64, 32)
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
        """Compute the features that are not in the store yet.

        Args:
            dataset: gives the folder of the recordings.
            entries: the recordings; only one of several with the same samples is read.
            spec: the spec of the features.
            augmentation: copies to make in addition to the recording; None for none. A recording is decoded once.
            processes: number of processes; None decides by cores and recordings. The result is the same.
            report: called at the start and after each recording that was read.

        Raises:
            RecordingChanged: a file is missing or has changed since it was indexed. Computed features stay.
            StorageFull: the disk has not enough space, at the start or later; no incomplete file stays.
        """
        features = StoredFeatures(self.folder, spec, augmentation)
        unique = {entry.audio_hash: entry for entry in entries}.values()
        todo = [(entry, missing) for entry in unique if (missing := features.missing(entry))]
        require_free_space(self.folder, sum(_disk_bytes(features.shape(entry)) * len(copies) for entry, copies in todo))
        extractions = [_Extraction(dataset.file(entry), entry, copies) for entry, copies in todo]
        if extractions:
            self._write_descriptions(features)
            with self._shared_lock():
                for _ in map_recordings(
                    partial(_extract, features),
                    [AudioFile(extraction.path, extraction) for extraction in extractions],
                    channel=spec.used_channels,
                    step="features",
                    processes=processes,
                    report=report,
                    on_error=_unreadable,
                ):
                    pass
        return features

    def _write_descriptions(self, features: StoredFeatures) -> None:
        """Write spec and augmentations as JSON into their folders, for people: folder names are hashes."""
        folder = self.folder / features.spec.fingerprint
        _write_json_once(folder / "spec.json", features.spec.to_dict())
        for augmentation, _ in _numbered_augmentations(features.augmentation):
            settings = {name: value for name, value in asdict(augmentation).items() if name != "copies"}
            _write_json_once(folder / augmentation.fingerprint / "augmentation.json", settings)

    @contextmanager
    def _shared_lock(self) -> Iterator[None]:
        """Lock the store as one of several writers; a single writer first deletes files of killed processes."""
        incomplete = self.folder / INCOMPLETE_FOLDER
        incomplete.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(incomplete, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in incomplete.iterdir():
                    path.unlink(missing_ok=True)
            except BlockingIOError:
                pass  # another process is writing: the files may belong to it
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)


@lru_cache(maxsize=8)
def _numbered_augmentations(augmentations: Augmentations) -> tuple[tuple[Augmentation, int], ...]:
    """Return each copy's augmentation and the copy's number in it, from 1."""
    each = (augmentations,) if isinstance(augmentations, Augmentation) else augmentations or ()
    return tuple((one, number) for one in each for number in range(1, one.copies + 1))


@lru_cache(maxsize=8)
def _fingerprint(spec: FeatureSpec) -> str:
    """Return a spec's fingerprint, computed once and not for each file."""
    return spec.fingerprint


@cache
def file_bytes(shape: tuple[int, int, int]) -> int:
    """Compute the size of a ``.npy`` file (format 1.0) of float32 values, with its header, in bytes.

    Args:
        shape: shape of the array.

    Example:
        >>> file_bytes((1, 128, 313))  # 128 bytes of header, 4 bytes for each value
        160384
    """
    header = io.BytesIO()
    description = {"shape": shape, "fortran_order": False, "descr": "<f4"}
    np.lib.format.write_array_header_1_0(header, description)
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


def _extract(features: StoredFeatures, recording: Recording, extraction: _Extraction) -> None:
    """Write the requested copies of one recording, which is decoded and resampled once."""
    _verify(recording, extraction)
    for copy, clips in _copies(features, extraction, recording):
        _write(features.file(extraction.entry, copy), clips, features.folder / INCOMPLETE_FOLDER)


def _unreadable(error: AudioError | OSError, extraction: _Extraction) -> None:
    reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
    raise RecordingChanged(f"{extraction.path} cannot be read any more: {reason}. Index the dataset again.") from error


def _verify(recording: Recording, extraction: _Extraction) -> None:
    """Check that a recording is the indexed one: features under a wrong hash would never be noticed.

    Raises:
        RecordingChanged: the length or a sample differs.
    """
    entry = extraction.entry
    same_length = len(recording.samples) == _samples(entry)
    if not same_length or read_info(extraction.path).audio_hash != entry.audio_hash:
        raise RecordingChanged(f"{extraction.path} has changed since it was indexed: index the dataset again.")


def _copies(
    features: StoredFeatures, extraction: _Extraction, recording: Recording
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Compute the clips' features for each requested copy."""
    extractor = cached_extractor(features.spec)
    recorded = extractor.resample(recording.samples, recording.sample_rate_hz)
    spans = features.spec.clip_spans(len(recorded))

    def log_mels(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [extractor.log_mel(samples[start:stop]) for start, stop in spans]

    def network_inputs(clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack([extractor.pad_or_crop(extractor.coefficients(clip)) for clip in clips])

    unchanged = lru_cache(maxsize=1)(lambda: log_mels(recorded))
    for copy in extraction.copies:
        if copy == 0:
            yield copy, network_inputs(unchanged())
            continue
        augmentation, number = features.augmentation_of(copy)
        draw = augmentation.draw(extraction.entry.audio_hash, number)
        clips = log_mels(draw.augment_waveform(recorded)) if draw.changes_waveform else unchanged()
        yield copy, network_inputs([draw.stretch_frames(clip) for clip in clips])


def _write(target: Path, clips: NDArray[np.float32], incomplete_folder: Path) -> None:
    """Write a file under a temporary name and rename it: a file with its final name is complete.

    Raises:
        StorageFull: the disk is full.
    """
    temporary = incomplete_folder / f"{target.stem}.{uuid.uuid4().hex}.npy"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The file is made in memory first: if numpy writes it, the error of a full disk has no number.
        content = io.BytesIO()
        np.save(content, clips, allow_pickle=False)
        with temporary.open("xb") as file:
            file.write(content.getbuffer())
        temporary.replace(target)
    except BaseException as error:  # also Ctrl-C: no incomplete file stays
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"The disk filled up while features were written below {incomplete_folder.parent}."
            ) from error
        raise
