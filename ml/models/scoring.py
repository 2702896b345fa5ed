"""Recordings by their paths -> what the model says of each, in as many processes as there are cores."""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ml.audio.decode import decode
from ml.audio.recording import Recording
from ml.dataset.catalog import Item
from ml.dataset.entries import Label, Refusal, machine_name
from ml.dataset.indexing.build import listed
from ml.dataset.indexing.layouts import CLASS_UNKNOWN, FLAT
from ml.dataset.indexing.listing import Listed, files_below, natural, no_recordings
from ml.errors import AudioError, DatasetEmpty
from ml.models.predictor import Predictor, Verdict, VerdictWord
from ml.system.native import notes_held_back, reuse_memory
from ml.system.parallel import ordered_map
from ml.system.progress import Report, silent

MISSING, UNREADABLE = "file_missing", "file_unreadable"
Refused = Callable[[Refusal], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is said of one recording: a verdict, or why there is none. The columns of every table of scores.

    Where a word is also one of ``POST /v1/predict``, it means the same. What is not known is None: where a recording is
    unusable that is what a verdict rests on, and where there is an error everything else but what was known before.

    Attributes:
        name: the path, as it was given or found, or the name that a dataset has for it.
        machine, machine_id: of which machine it is.
        truth: what a person says of it.
        verdict: in a word.
        label, message: the class that was heard, and what to tell a person.
        score: 0 to 1, higher is more anomalous.
        threshold: a score above it is anomalous.
        probabilities: of the most anomalous window, by the names of the model's classes, in their order.
        compared_with: the machine whose healthy sound a detector compared it with.
        machine_known: whether a machine was named that the detector has learned.
        duration_s: of the recording.
        model: the version that judged it.
        error: a stable code, a colon and a sentence.
    """

    name: str
    machine: str | None = None
    machine_id: str | None = None
    truth: Label | None = None
    verdict: VerdictWord | None = None
    label: str | None = None
    message: str | None = None
    score: float | None = None
    threshold: float | None = None
    probabilities: Mapping[str, float] | None = None
    compared_with: str | None = None
    machine_known: bool | None = None
    duration_s: float | None = None
    model: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The columns and their values, as JSON can hold them."""
        return asdict(self)


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
        raise no_recordings(folder)
    return [folder / file for file in found]


def items_at(paths: Sequence[Path], machine: str | None = None, *, refused: Refused = lambda _: None) -> list[Item]:
    """What :func:`recordings` finds, each with what its folder or the manifest in it says of it, as far as it does.

    Args:
        paths: files and folders.
        machine: the machine that all are of, ``fan/id_00`` or ``id_00``, whatever their folders say.
        refused: told of each row of a manifest or a collection that says nothing; its recording is judged as any other.

    Raises:
        DatasetEmpty: a folder without a WAV or FLAC file.
        ManifestInvalid: a manifest that is no table.
    """
    items = [item for path in paths for item in (_items_below(path, refused) if path.is_dir() else [_item(path)])]
    if machine is None:
        return items
    kind, _, machine_id = machine.rpartition("/")
    return [replace(item, machine=kind or None, machine_id=machine_id) for item in items]


def _items_below(folder: Path, refused: Refused) -> Iterator[Item]:
    said = _said_of(folder, refused)
    for file in recordings([folder]):
        yield _item(file, said.get(os.path.abspath(file)))  # noqa: PTH100 - links are not followed


def _said_of(folder: Path, refused: Refused) -> dict[str, Listed]:
    """What a dataset's folder says of its recordings, by where they are; nothing where it is no dataset."""
    try:
        listing = listed(Path(os.path.abspath(folder)))  # noqa: PTH100 - what the names of links say would be lost
    except DatasetEmpty:
        return {}
    for refusal in listing.refusals:
        if refusal.code != CLASS_UNKNOWN:
            refused(refusal)
    # Recordings in a folder without classes count as healthy where they are learned from; nobody has said they are.
    flat = listing.layout == FLAT
    return {  # by paths whose links are not followed, as above
        os.path.abspath(listing.root / each.path): replace(each, label=None) if flat else each  # noqa: PTH100
        for each in listing.recordings
    }


def _item(file: Path, said: Listed | None = None) -> Item:
    if said is None:
        return Item(path=str(file), name=str(file))
    return Item(path=str(file), name=str(file), label=said.label, machine=said.machine, machine_id=said.machine_id)


def score(
    predictor: Predictor, items: Sequence[Item], *, processes: int | None = None, report: Report = silent
) -> Iterator[Row]:
    """Judge recordings, each as soon as those before it are judged; only a few wait at any time.

    Args:
        predictor: the model.
        items: from :func:`items_at`.
        processes: how many; 1 works in this one; None decides by cores and recordings.
        report: told after each recording.

    Yields:
        A row for each, in their order. One that cannot be judged is a row too.
    """
    judge = partial(_row_at, Portable(predictor))
    # BLAS sums in another order with more threads: the same bits, and sooner, whatever the number of processes.
    with threadpool_limits(1):
        yield from ordered_map(judge, items, step="recordings", processes=processes, report=report)


def _row_at(model: Portable, item: Item) -> Row:
    return row_of(model, item, Path(item.path))


def row_of(model: Portable, item: Item, file: Path | None) -> Row:
    """Judge one recording, as one of its machine where that is known; why it cannot be judged is a row too.

    Args:
        model: what judges.
        item: what is known of it.
        file: where it is; None where what is known is that it cannot be judged.
    """
    row = Row(name=item.name, machine=item.machine, machine_id=item.machine_id, truth=item.label, error=item.error)
    if file is None:
        return row
    try:
        if not file.is_file():
            return replace(row, error=_refused(file))
        verdict = model.predictor.predict(model.decode(file), machine_name(item.machine, item.machine_id) or None)
    except AudioError as error:
        return replace(row, error=f"{error.code}: {error}")
    except OSError as error:
        return replace(row, error=f"{UNREADABLE}: It cannot be read: {error.strerror or error}.")
    return _judged(row, verdict)


def _judged(row: Row, verdict: Verdict) -> Row:
    row = replace(
        row,
        verdict=verdict.word,
        message=verdict.message,
        duration_s=verdict.quality.duration_s,
        model=verdict.version,
    )
    if verdict.unusable is not None:
        return row
    worst = verdict.worst
    names = [label.name for label in verdict.classes]
    return replace(
        row,
        label=worst.label.name,
        score=worst.score,
        threshold=verdict.threshold,
        probabilities=dict(zip(names, worst.probabilities, strict=True)) or None,
        compared_with=None if worst.novelty is None else worst.novelty.machine,
        machine_known=None if worst.novelty is None else verdict.machine_known,
    )


def _refused(file: Path) -> str:
    """Why what is no file is not read: a named pipe or a device would be waited on for ever."""
    if file.exists():
        return f"{UNREADABLE}: It is neither a file nor a folder."
    return f"{MISSING}: There is no such file or folder."
