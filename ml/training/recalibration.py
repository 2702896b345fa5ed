"""Recalibration of a model: a threshold from further normal recordings, without a training.

**Recordings.** The normal recordings of a dataset are scored, except those that the detector has learned from, and the
others of a session with such a recording: they are of no new session. Recordings of machines that the detector does not
know, and recordings that cannot be judged or read, are left out too.

**Scores.** The detector has learned from none of these sessions. So its scores of them are those of new sessions. If
the scores in the bundle are of new sessions too, all scores count together: more sessions give a better threshold. If
they are of the same sessions, they are too low for a new session. Then the new scores count alone, if there are two or
more new sessions of every machine. With fewer, all scores count together, and the rate holds for the same sessions
only (decision 16).

Plan, measurement and result are functions of their own, so that the workers of a job can share the measurement.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.audio.batch import AudioFile, apply_to_file, map_recordings
from ml.audio.recording import Recording
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.splitting.duplicates import drop_duplicates
from ml.detectors.calibration import OddRecording
from ml.detectors.detector import Detector
from ml.detectors.sessions import find_odd
from ml.errors import AudioError, TooFewRecordings
from ml.models.bundle import Bundle
from ml.models.picklable import PicklablePredictor
from ml.models.predictor import Predictor
from ml.models.recalibration import Recalibration, require_detector
from ml.models.registry import Registry
from ml.models.revisions import ThresholdRevision
from ml.models.scoring import error_text
from ml.models.thresholds import ThresholdRequest
from ml.system.progress import ProgressCallback, ignore_progress
from ml.training.label_check import require_plain_labels
from ml.training.recorded_split import RecordedSplit

FEWEST_RECORDINGS = 10  # chosen here: fewer support no rate below 1/11
SESSIONS_OF_A_MACHINE = 2  # as in a fit: with one session, the rate is for further recordings of this session
# Reasons for leaving a recording out, as people read them after a number.
LEARNED = "that the model has learned from"
LEARNED_SESSION = "of a session that the model has learned from"
UNKNOWN_MACHINE = "of a machine that the model does not know"
NOT_JUDGED = "that cannot be judged"
UNREAD = "that cannot be read"
COPY = "that are copies"
SESSION_HINT = " If they were recorded on other days, name the session of each day in the field group."
REASONS = (LEARNED, LEARNED_SESSION, UNKNOWN_MACHINE, NOT_JUDGED, UNREAD, COPY)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalibrationRow:
    """One normal recording of a recalibration.

    Attributes:
        name: path in the dataset.
        machine: the detector's name of its machine; empty if the detector does not know it.
        session: its session.
        left_out: reason why it does not count; None if it does.
        named: score in comparison with its own machine, 0 to 1; None without a score.
        unnamed: score in comparison with the most similar machine, 0 to 1; None without a score.
        by_classifier: whether the classifier finds it anomalous; None without a classifier or a score.
        error: code and sentence of a file that cannot be decoded or read, as in a row of scores; None without an error.
    """

    name: str
    machine: str
    session: str
    left_out: str | None = None
    named: float | None = None
    unnamed: float | None = None
    by_classifier: bool | None = None
    error: str | None = None

    @property
    def relative_distance(self) -> float:
        """Relative distance from its machine: ``s / (1 - s)`` with the score ``s``."""
        score = self.named or 0.0
        return score / max(1 - score, np.finfo(float).tiny)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a row from the values of :meth:`to_dict`; other keys are ignored, and ``error`` may be missing."""
        return cls(**{name: values[name] for name in cls.__slots__ if name in values})


def recalibrate(
    home: Path,
    reference: str,
    dataset: Dataset,
    request: ThresholdRequest | None = None,
    *,
    confirm_labels: bool = False,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> ThresholdRevision:
    """Score the normal recordings of a dataset, and give the model a new revision of its threshold.

    An earlier recalibration is replaced, so one dataset must have all recordings that are to count.

    Args:
        home: folder with the model and the records of its training.
        reference: version, alias or model name.
        dataset: the recordings.
        request: requested threshold; None keeps the requested rate or, if the threshold was set by hand, the threshold.
        confirm_labels: whether labels count that names of files and folders contradict.
        processes: number of processes; 1 uses the present process; None chooses by cores and recordings.
        report: called after each recording.

    Raises:
        ModelNotCalibrated: the model has no detector.
        LabelsContradictNames: names contradict labels that are not confirmed.
        TooFewRecordings: fewer than ten recordings can be used; the message counts the others.
        InvalidParameter: the requested rate is not known; see :func:`ml.models.thresholds.request_in_force`.
        AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged, GoldenClipFailed
    """
    registry = Registry(home)
    version = registry.resolve(reference)
    bundle = registry.read(version)
    rows = plan_rows(home, bundle, dataset, confirm_labels=confirm_labels)
    predictor = registry.load_predictor(version)
    files = {entry.path: dataset.file(entry) for entry in dataset.entries}
    measured = _measure_all(predictor, [(row, files[row.name]) for row in rows], processes, report)
    recalibration = recalibration_from(bundle, dataset.name, dataset.fingerprint, measured)
    return registry.recalibrate(version, recalibration, request)


def plan_rows(home: Path, bundle: Bundle, dataset: Dataset, *, confirm_labels: bool = False) -> list[RecalibrationRow]:
    """Return the normal recordings of a dataset, those to score without a reason to leave them out.

    Raises:
        ModelNotCalibrated: the model has no detector.
        LabelsContradictNames: names contradict labels that are not confirmed.
    """
    require_plain_labels(dataset, confirmed=confirm_labels)
    detector, split = require_detector(bundle), RecordedSplit.read(home, bundle.version)
    normal = [entry for entry in dataset.entries if entry.label == NORMAL]
    kept, _ = drop_duplicates(dataset.entries)
    seen = {entry.path for entry in normal if split is not None and split.served_model_saw(entry)}
    seen_sessions, first_copies = {e.session for e in normal if e.path in seen}, {entry.path for entry in kept}

    def reason(entry: Entry, machine: str | None) -> str | None:
        return (
            (LEARNED if entry.path in seen else None)
            or (COPY if entry.path not in first_copies else None)
            or (LEARNED_SESSION if entry.session in seen_sessions else None)
            or (UNKNOWN_MACHINE if machine is None else None)
            or (NOT_JUDGED if entry.info.level_dbfs is None else None)
        )

    machines = [_machine_of(detector, entry) for entry in normal]
    return [
        RecalibrationRow(name=entry.path, machine=machine or "", session=entry.session, left_out=reason(entry, machine))
        for entry, machine in zip(normal, machines, strict=True)
    ]


def _machine_of(detector: Detector, entry: Entry) -> str | None:
    """Return the detector's name of a recording's machine. With one machine, no name means this machine."""
    if len(detector.machines) == 1 and (not entry.machine_name or not detector.machines[0]):
        return detector.machines[0]
    return detector.resolve_machine(entry.machine_name)


def _measure_all(
    predictor: Predictor,
    rows: Sequence[tuple[RecalibrationRow, Path]],
    processes: int | None,
    report: ProgressCallback,
) -> Iterator[RecalibrationRow]:
    measured = map_recordings(
        partial(_measure, PicklablePredictor(predictor)),
        [AudioFile(file, row) for row, file in rows if row.left_out is None],
        channel=predictor.extractor.spec.used_channels,
        step="recordings",
        processes=processes,
        report=report,
        on_error=_without_scores,
    )
    for row, _ in rows:
        yield row if row.left_out is not None else next(measured)


def measure_row(predictor: Predictor, row: RecalibrationRow, file: Path) -> RecalibrationRow:
    """Return a row with its scores, or with the reason why it has none. A row that is left out does not change."""
    if row.left_out is not None:
        return row
    function = partial(_measure, PicklablePredictor(predictor))
    channel = predictor.extractor.spec.used_channels
    return apply_to_file(function, AudioFile(file, row), channel=channel, on_error=_without_scores)


def _measure(model: PicklablePredictor, recording: Recording, row: RecalibrationRow) -> RecalibrationRow:
    """Score the most anomalous clip of a recording."""
    predictor = model.predictor
    detector, clips = predictor.detector, predictor.usable_spectra(recording, row.machine)
    if detector is None or not clips:
        return replace(row, left_out=NOT_JUDGED)
    named = max(detector.measure(clip, row.machine).score for clip in clips)
    several = len(detector.machines) > 1
    unnamed = max(detector.measure(clip).score for clip in clips) if several else named
    # A model from another computer has no records of its training, but a summary of up to 2000 of its recordings.
    left_out = LEARNED if detector.reference.contains(clips) else None
    by_classifier = predictor.names_fault(recording)
    return replace(row, named=named, unnamed=unnamed, left_out=left_out, by_classifier=by_classifier)


def _without_scores(error: AudioError | OSError, row: RecalibrationRow) -> RecalibrationRow:
    return replace(row, left_out=UNREAD, error=error_text(error))


def recalibration_from(
    bundle: Bundle, dataset: str, fingerprint: str, measured: Iterable[RecalibrationRow]
) -> Recalibration:
    """Return the recalibration of a model from all measured rows.

    Args:
        bundle: the model as it was written.
        dataset: name of the dataset.
        fingerprint: its fingerprint.
        measured: all rows of :func:`plan_rows`, measured.

    Raises:
        ModelNotCalibrated: the model has no detector.
        TooFewRecordings: fewer than ten recordings can be used; the message counts the others.
    """
    detector, rows = require_detector(bundle), _leave_out_sessions(measured)
    left_out = Counter(row.left_out for row in rows if row.left_out is not None)
    used = [row for row in rows if row.left_out is None]
    if len(used) < FEWEST_RECORDINGS:
        raise TooFewRecordings(
            f"{dataset} has {len(used)} normal recordings for a recalibration; at least {FEWEST_RECORDINGS} of new "
            f"sessions are needed.{left_out_note(left_out)}{SESSION_HINT if left_out[LEARNED_SESSION] else ''}"
        )
    odd, found = _find_odd(used)
    trained_for_new, several = detector.calibration.rate_holds_for == "new_session", _has_new_sessions(detector, used)
    return Recalibration(
        dataset=dataset,
        dataset_fingerprint=fingerprint,
        named=tuple(row.named or 0.0 for row in used),
        unnamed=tuple(row.unnamed or 0.0 for row in used),
        session=tuple(map(int, _numbers([row.session for row in used]))),
        odd=tuple(map(bool, odd)),
        rate_holds_for="new_session" if trained_for_new or several else "same_session",
        with_training=trained_for_new or not several,
        odd_recordings=found,
        by_classifier=tuple(bool(row.by_classifier) for row in used)
        if all(row.by_classifier is not None for row in used)
        else None,
        left_out={reason: left_out[reason] for reason in REASONS if left_out[reason]},
    )


def left_out_note(left_out: Mapping[str, int]) -> str:
    """Return a sentence that counts the recordings that were left out, after a space; empty without any.

    Example:
        >>> left_out_note({LEARNED: 60, NOT_JUDGED: 1})
        ' Left out: 60 that the model has learned from, 1 that cannot be judged.'
    """
    counted = ", ".join(f"{left_out[reason]} {reason}" for reason in REASONS if left_out.get(reason))
    return f" Left out: {counted}." if counted else ""


def _leave_out_sessions(measured: Iterable[RecalibrationRow]) -> list[RecalibrationRow]:
    """Leave out the sessions of recordings that the detector has learned from, as the measurement has shown."""
    rows = list(measured)
    seen = {row.session for row in rows if row.left_out == LEARNED}
    return [
        replace(row, left_out=LEARNED_SESSION) if row.left_out is None and row.session in seen else row for row in rows
    ]


def _find_odd(used: Sequence[RecalibrationRow]) -> tuple[NDArray[np.bool_], tuple[OddRecording, ...]]:
    """Find the recordings that stand apart, by the rule of a fit."""
    unit = _numbers([(row.session, row.machine) for row in used])
    distances = np.array([row.relative_distance for row in used])
    odd = find_odd(distances, unit)
    found = [
        OddRecording(row.name, row.machine, row.session, round(float(distance / np.median(distances[unit == of])), 2))
        for row, distance, of, apart in zip(used, distances, unit, odd, strict=True)
        if apart
    ]
    return odd, tuple(sorted(found, key=lambda each: -each.times))


def _has_new_sessions(detector: Detector, used: Sequence[RecalibrationRow]) -> bool:
    """Whether there are two or more new sessions of every machine, as a fit needs them for a rate of new sessions."""
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    for row in used:
        sessions[row.machine].add(row.session)
    return all(len(sessions[machine]) >= SESSIONS_OF_A_MACHINE for machine in detector.machines)


def _numbers(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the number of each name, from 0, in the order of their first appearance."""
    position = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([position[name] for name in names])
