"""Recordings by their paths -> what the model says of each, in as many processes as there are cores."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ml.audio.batch import AudioFile, NotARegularFile, apply_to_file, map_recordings
from ml.audio.recording import Recording
from ml.dataset.annotations import NOTHING_KNOWN, Annotation
from ml.dataset.catalog import ScoringItem
from ml.dataset.entries import FileRefusal
from ml.dataset.indexing.build import list_dataset
from ml.dataset.indexing.layouts import CLASS_UNKNOWN, FLAT
from ml.dataset.indexing.listing import audio_files_below, natural_key, no_recordings_error
from ml.errors import AudioError, DatasetEmpty
from ml.models.picklable import PicklablePredictor
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict, VerdictValue
from ml.system.progress import ProgressCallback, ignore_progress

MISSING, UNREADABLE = "file_missing", "file_unreadable"
RefusalCallback = Callable[[FileRefusal], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """What is said of one recording: a verdict, or why there is none. The columns of every table of scores.

    Where a word is also one of ``POST /v1/predict``, it means the same. What is not known is None: where a recording is
    unusable that is what a verdict rests on, and where there is an error everything else but what was known before.

    Attributes:
        name: the path, as it was given or found, or the name that a dataset has for it.
        annotation: what is known of it; its label is the column ``truth``.
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
    annotation: Annotation
    verdict: VerdictValue | None = None
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
        known = self.annotation
        columns = {"name": self.name, "machine": known.machine, "machine_id": known.machine_id, "truth": known.label}
        return columns | {name: getattr(self, name) for name in RESULT_COLUMNS}


RESULT_COLUMNS = tuple(field.name for field in fields(ScoreRow) if field.name not in ("name", "annotation"))


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """The files that paths mean: a folder's WAV and FLAC files at any depth in natural order, a file as it is.

    What does not exist stays in the list, for :func:`score` to say so.

    Raises:
        DatasetEmpty: a folder without a WAV or FLAC file.
    """
    return [file for path in paths for file in (_below(path) if path.is_dir() else [path])]


def _below(folder: Path) -> list[Path]:
    found = sorted((file.as_posix() for file in audio_files_below(folder)), key=natural_key)
    if not found:
        raise no_recordings_error(folder)
    return [folder / file for file in found]


def find_items(
    paths: Sequence[Path], machine: str | None = None, *, on_refusal: RefusalCallback = lambda _: None
) -> list[ScoringItem]:
    """What :func:`find_recordings` finds, each with what its folder or the manifest in it says of it, as far as it does.

    Args:
        paths: files and folders.
        machine: the machine that all are of, ``fan/id_00`` or ``id_00``, whatever their folders say.
        on_refusal: told of each row of a manifest or a collection that says nothing; its recording is judged as any other.

    Raises:
        DatasetEmpty: a folder without a WAV or FLAC file.
        ManifestInvalid: a manifest that is no table.
    """
    items = [item for path in paths for item in (_items_below(path, on_refusal) if path.is_dir() else [_item(path)])]
    if machine is None:
        return items
    kind, _, machine_id = machine.rpartition("/")
    return [
        replace(item, annotation=replace(item.annotation, machine=kind or None, machine_id=machine_id))
        for item in items
    ]


def _items_below(folder: Path, refused: RefusalCallback) -> Iterator[ScoringItem]:
    known = _annotations_by_path(folder, refused)
    for file in find_recordings([folder]):
        yield _item(file, known.get(os.path.abspath(file)))  # noqa: PTH100 - links are not followed


def _annotations_by_path(folder: Path, refused: RefusalCallback) -> dict[str, Annotation]:
    """What a dataset's folder says of its recordings, by where they are; nothing where it is no dataset."""
    try:
        listing = list_dataset(Path(os.path.abspath(folder)))  # noqa: PTH100 - what the names of links say would be lost
    except DatasetEmpty:
        return {}
    for refusal in listing.refusals:
        if refusal.code != CLASS_UNKNOWN:
            refused(refusal)
    # Recordings in a folder without classes count as healthy where they are learned from; nobody has said they are.
    flat = listing.layout == FLAT
    return {  # by paths whose links are not followed, as above
        os.path.abspath(listing.root / each.path): replace(each.annotation, label=None) if flat else each.annotation  # noqa: PTH100
        for each in listing.recordings
    }


def _item(file: Path, known: Annotation | None = None) -> ScoringItem:
    return ScoringItem(path=str(file), name=str(file), annotation=known or NOTHING_KNOWN)


def score_items(
    predictor: Predictor,
    items: Sequence[ScoringItem],
    *,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Iterator[ScoreRow]:
    """Judge recordings, each as soon as those before it are judged; only a few wait at any time.

    Args:
        predictor: the model.
        items: from :func:`find_items`.
        processes: how many; 1 works in this one; None decides by cores and recordings.
        report: told after each recording.

    Yields:
        A row for each, in their order. One that cannot be judged is a row too.
    """
    yield from map_recordings(
        partial(_score, PicklablePredictor(predictor)),
        [AudioFile(Path(item.path), item) for item in items],
        channel=predictor.extractor.spec.channel,
        step="recordings",
        processes=processes,
        report=report,
        on_error=_error_row,
    )


def score_item(predictor: Predictor, item: ScoringItem, file: Path | None) -> ScoreRow:
    """Judge one recording; the reason why it cannot be judged is a row too.

    Args:
        predictor: the model.
        item: the recording.
        file: where it is; None where it is known that it cannot be judged.
    """
    if file is None:
        return _row(item)
    function = partial(_score, PicklablePredictor(predictor))
    channel = predictor.extractor.spec.channel
    return apply_to_file(function, AudioFile(file, item), channel=channel, on_error=_error_row)


def _score(model: PicklablePredictor, recording: Recording, item: ScoringItem) -> ScoreRow:
    return _add_verdict(_row(item), model.predictor.predict(recording, item.annotation.machine_name or None))


def _row(item: ScoringItem) -> ScoreRow:
    return ScoreRow(name=item.name, annotation=item.annotation, error=item.error)


def _error_row(error: AudioError | OSError, item: ScoringItem) -> ScoreRow:
    match error:
        case AudioError():
            text = f"{error.code}: {error}"
        case FileNotFoundError():
            text = f"{MISSING}: There is no such file or folder."
        case NotARegularFile():
            text = f"{UNREADABLE}: It is neither a file nor a folder."
        case _:
            text = f"{UNREADABLE}: It cannot be read: {error.strerror or error}."
    return replace(_row(item), error=text)


def _add_verdict(row: ScoreRow, verdict: Verdict) -> ScoreRow:
    row = replace(
        row,
        verdict=verdict.value,
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
