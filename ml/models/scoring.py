"""Scoring of files: find recordings by path, and judge them in several processes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ml.audio.batch import AudioFile, NotARegularFile, apply_to_file, map_recordings
from ml.audio.recording import Recording, ReferenceState
from ml.dataset.annotations import NOTHING_KNOWN, Annotation
from ml.dataset.catalog import ScoringItem
from ml.dataset.entries import FileRefusal
from ml.dataset.indexing.build import list_dataset
from ml.dataset.indexing.layouts import CLASS_UNKNOWN, FLAT
from ml.dataset.indexing.listing import natural_key
from ml.dataset.indexing.scan import no_recordings_error, scan_folder
from ml.errors import AudioError, DatasetEmpty
from ml.models.picklable import PicklablePredictor
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict, VerdictValue
from ml.system.progress import ProgressCallback, ignore_progress

MISSING, UNREADABLE = "file_missing", "file_unreadable"
RefusalCallback = Callable[[FileRefusal], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """Result of one recording: a verdict, or the reason why there is none.

    The fields are the columns of all tables of scores. Names that ``POST /v1/predict`` also uses have the same meaning.
    Unknown values are None. An unusable recording has only verdict, message, duration,
    reference and model. With an error, only
    name and annotation are known.

    Attributes:
        name: the path, as it was given or found, or the recording's name in a dataset.
        annotation: known facts of the recording; the label is the column ``truth``.
        verdict: ``normal``, ``anomalous`` or ``unusable``.
        label, message: name of the class, and message for people.
        score: 0 to 1, higher is more anomalous.
        threshold: a recording with a higher score is anomalous.
        probabilities: probabilities of the most anomalous clip, by class name, in the order of the classes.
        compared_with: machine whose normal recordings a detector compared the recording with.
        machine_known: whether the detector was trained on the named machine.
        duration_s: duration in seconds.
        reference: state of the reference channel; None if the model uses none.
        model: version that judged the recording.
        error: stable code, colon and sentence.
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
    reference: ReferenceState | None = None
    model: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the columns and their values, for JSON."""
        known = self.annotation
        columns = {"name": self.name, "machine": known.machine, "machine_id": known.machine_id, "truth": known.label}
        return columns | {name: getattr(self, name) for name in RESULT_COLUMNS}


RESULT_COLUMNS = tuple(field.name for field in fields(ScoreRow) if field.name not in ("name", "annotation"))


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """Return files as they are, and for folders all their recordings in natural order.

    A path that does not exist stays in the list and becomes an error in :func:`score_items`.

    Raises:
        DatasetEmpty: a folder has no recording.
    """
    return [file for path in paths for file in (_recordings_below(path) if path.is_dir() else [path])]


def _recordings_below(folder: Path) -> list[Path]:
    scan = scan_folder(folder)
    if not scan.files:
        raise no_recordings_error(folder, scan)
    found = sorted((file.as_posix() for file in scan.files), key=natural_key)
    return [folder / file for file in found]


def find_items(
    paths: Sequence[Path], machine: str | None = None, *, on_refusal: RefusalCallback = lambda _: None
) -> list[ScoringItem]:
    """Return the files of :func:`find_recordings` with the annotations from their folder or its manifest.

    Args:
        paths: files and folders.
        machine: machine of all recordings, ``fan/id_00`` or ``id_00``; replaces the machines of the annotations.
        on_refusal: called with each refused row of a manifest or a collection; its recording is judged without
            annotation.

    Raises:
        DatasetEmpty: a folder has no recording.
        InvalidManifest: a manifest cannot be read.
    """
    items = [item for path in paths for item in (_items_below(path, on_refusal) if path.is_dir() else [_item(path)])]
    if machine is None:
        return items
    kind, _, machine_id = machine.rpartition("/")
    return [
        replace(item, annotation=replace(item.annotation, machine=kind or None, machine_id=machine_id))
        for item in items
    ]


def _items_below(folder: Path, on_refusal: RefusalCallback) -> Iterator[ScoringItem]:
    known = _annotations_by_path(folder, on_refusal)
    for file in find_recordings([folder]):
        yield _item(file, known.get(os.path.abspath(file)))  # noqa: PTH100 - links are not followed


def _annotations_by_path(folder: Path, on_refusal: RefusalCallback) -> dict[str, Annotation]:
    """Return the annotations in a dataset's folder by absolute path; empty if the folder is no dataset."""
    try:
        listing = list_dataset(Path(os.path.abspath(folder)))  # noqa: PTH100 - names of links can carry label and machine
    except DatasetEmpty:
        return {}
    for refusal in listing.refusals:
        if refusal.code != CLASS_UNKNOWN:
            on_refusal(refusal)
    # Training takes recordings in a flat folder as normal, but nobody has labelled them.
    flat = listing.layout == FLAT
    return {  # links are not followed, as above
        os.path.abspath(listing.root / each.path): replace(each.annotation, label=None) if flat else each.annotation  # noqa: PTH100 - as above
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
    """Judge recordings in their order; only a few rows are kept in memory.

    Args:
        predictor: the model.
        items: items of :func:`find_items`.
        processes: number of processes; 1 uses the present process; None chooses by cores and recordings.
        report: called after each recording.

    Yields:
        A row for each item, in their order; for a recording that cannot be judged, the row has an error.
    """
    yield from map_recordings(
        partial(_score, PicklablePredictor(predictor)),
        [AudioFile(Path(item.path), item) for item in items],
        channel=predictor.extractor.spec.used_channels,
        step="recordings",
        processes=processes,
        report=report,
        on_error=_error_row,
    )


def score_item(predictor: Predictor, item: ScoringItem, file: Path | None) -> ScoreRow:
    """Judge one recording; if it cannot be judged, the row has an error.

    Args:
        predictor: the model.
        item: the recording.
        file: file of the recording; None if the item already has an error.
    """
    if file is None:
        return _row_without_verdict(item)
    function = partial(_score, PicklablePredictor(predictor))
    channel = predictor.extractor.spec.used_channels
    return apply_to_file(function, AudioFile(file, item), channel=channel, on_error=_error_row)


def _score(model: PicklablePredictor, recording: Recording, item: ScoringItem) -> ScoreRow:
    return _add_verdict(
        _row_without_verdict(item), model.predictor.predict(recording, item.annotation.machine_name or None)
    )


def _row_without_verdict(item: ScoringItem) -> ScoreRow:
    return ScoreRow(name=item.name, annotation=item.annotation, error=item.error)


def error_text(error: AudioError | OSError) -> str:
    """Return the code and the sentence of a recording that cannot be decoded or read, as in a row of a job.

    Example:
        >>> error_text(FileNotFoundError())
        'file_missing: There is no such file or folder.'
    """
    match error:
        case AudioError():
            return f"{error.code}: {error}"
        case FileNotFoundError():
            return f"{MISSING}: There is no such file or folder."
        case NotARegularFile():
            return f"{UNREADABLE}: It is not a regular file."
        case _:
            return f"{UNREADABLE}: It cannot be read: {error.strerror or error}."


def _error_row(error: AudioError | OSError, item: ScoringItem) -> ScoreRow:
    return replace(_row_without_verdict(item), error=error_text(error))


def _add_verdict(row: ScoreRow, verdict: Verdict) -> ScoreRow:
    row = replace(
        row,
        verdict=verdict.value,
        message=verdict.message,
        duration_s=verdict.quality.duration_s,
        reference=verdict.quality.reference,
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
