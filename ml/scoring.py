"""Recordings by their paths -> what the model says of each, in as many processes as there are cores."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ml.audio import Recording, decode
from ml.dataset.listing import files_below, natural
from ml.errors import AudioError, DatasetEmpty
from ml.native import notes_held_back, reuse_memory
from ml.parallel import ordered_map
from ml.predictor import Predictor
from ml.progress import Report, silent

MISSING, UNREADABLE, UNUSABLE = "file_missing", "file_unreadable", "recording_unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is said of one file: a verdict, or why there is none.

    Attributes:
        path: as it was given, or found below a folder that was given.
        anomaly, message, score, threshold: of the verdict; the score is 0 to 1, higher is more anomalous.
        probabilities: of the most anomalous window, in the order of the model's classes.
        duration_s: of the recording.
        error: a stable code, a colon and a sentence; then all other fields but ``path`` are None.
    """

    path: Path
    anomaly: bool | None = None
    message: str | None = None
    score: float | None = None
    threshold: float | None = None
    probabilities: tuple[float, ...] | None = None
    duration_s: float | None = None
    error: str | None = None


class Portable:
    """A predictor that can be handed to other processes: each builds its own from the bundle, once.

    Args:
        predictor: the model; in this process it is used as it is.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._packed: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A bundle that differs in anything is other bytes, so that no process can mistake one model for another."""
        if self._packed is None:
            model = self.predictor
            self._packed = pickle.dumps(
                (model.bundle, model.labels, model.labels_revision, model.decision, model.decision_revision)
            )
        return _unpacked, (self._packed,)

    def decode(self, file: Path) -> Recording:
        """Decode a file, listening to the channel that the model listens to.

        Raises:
            AudioError: one of its subclasses.
            OSError: the file cannot be read.
        """
        return decode(file, channel=self.predictor.bundle.content.spec.channel)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Portable:
    reuse_memory()
    # A process that has only begun had no BLAS to limit yet; this one has, and keeps the limit.
    threadpool_limits(1)
    with notes_held_back():
        return Portable(Predictor(*pickle.loads(packed)))  # noqa: S301 - packed by the process that started this one


def recordings(paths: Sequence[Path]) -> list[Path]:
    """The files that paths mean: a folder's WAV and FLAC files at any depth in natural order, a file as it is.

    What does not exist stays in the list, for :func:`score` to say so.

    Raises:
        DatasetEmpty: a folder without a WAV or FLAC file.
    """
    return [file for path in paths for file in (_below(path) if path.is_dir() else [path])]


def _below(folder: Path) -> list[Path]:
    found = sorted((file.as_posix() for file in files_below(folder)), key=natural)
    if not found:
        raise DatasetEmpty(f"{folder} holds no .wav or .flac file, at any depth; recordings were expected.")
    return [folder / file for file in found]


def score(
    predictor: Predictor, files: Sequence[Path], *, processes: int | None = None, report: Report = silent
) -> Iterator[Row]:
    """Judge files, each as soon as those before it are judged; only a few wait at any time.

    Args:
        predictor: the model.
        files: from :func:`recordings`.
        processes: how many; 1 works in this one; None decides by cores and files.
        report: told after each file.

    Yields:
        A row for each file, in their order. A file that cannot be judged is a row too.
    """
    judge = partial(row_of, Portable(predictor))
    # BLAS sums in another order with more threads: the same bits, and sooner, whatever the number of processes.
    with threadpool_limits(1):
        yield from ordered_map(judge, files, step="recordings", processes=processes, report=report)


def row_of(model: Portable, path: Path, machine: str | None = None) -> Row:
    """Judge one file, of a machine where that is known; why it cannot be judged is a row too."""
    try:
        if not path.is_file():
            return _refused(path)
        verdict = model.predictor.predict(model.decode(path), machine)
    except AudioError as error:
        return Row(path=path, error=f"{error.code}: {error}")
    except OSError as error:
        return Row(path=path, error=f"{UNREADABLE}: It cannot be read: {error.strerror or error}.")
    if verdict.unusable is not None:
        return Row(path=path, error=f"{UNUSABLE}: {verdict.unusable.says}")
    worst = verdict.worst
    return Row(
        path=path,
        anomaly=worst.anomaly,
        message=worst.label.message,
        score=worst.score,
        threshold=verdict.threshold,
        probabilities=worst.probabilities,
        duration_s=verdict.quality.duration_s,
    )


def _refused(path: Path) -> Row:
    """A named pipe or a device would be waited on for ever."""
    if path.exists():
        return Row(path=path, error=f"{UNREADABLE}: It is neither a file nor a folder.")
    return Row(path=path, error=f"{MISSING}: There is no such file or folder.")
