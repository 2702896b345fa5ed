"""Recordings of a dataset -> what the model says of each, beside what is true of it."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ml.audio.batch import AudioFile, map_recordings
from ml.audio.recording import Recording
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.evaluation.judged import JudgedRecording
from ml.models.labels import ClassLabels
from ml.models.picklable import PicklablePredictor
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict
from ml.system.progress import ProgressCallback, ignore_progress

Truth = Callable[[Entry], str | None]
"""The class, by the name that the model has for it, that a recording belongs to; None where that cannot be said."""


def judge(
    predictor: Predictor,
    dataset: Dataset,
    entries: Sequence[Entry],
    *,
    gain_db: float = 0.0,
    seed: int = 0,
    truth: Truth | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> tuple[JudgedRecording, ...]:
    """Let the model judge recordings, as :func:`ml.models.scoring.score` does.

    Args:
        predictor: the model.
        dataset: where the recordings lie.
        entries: which of them.
        gain_db: each recording is first made louder or softer by a gain drawn evenly from minus to plus this many dB;
            0 leaves them as they are. In floating point, so that nothing is clipped.
        seed: of the gains. A recording's gain depends on this and its samples, not on the order.
        truth: what a recording truly is; :func:`default_truth` if left out.
        processes: how many; 1 works in this one; None decides by cores and recordings.
        report: told after each recording.

    Returns:
        One for each entry, in their order.

    Raises:
        AudioError: a recording cannot be judged by this model, with its path.
        OSError: a recording is not there any more.
    """
    truth = truth or default_truth(predictor)
    files = [
        AudioFile(
            dataset.file(entry),
            entry.machine_name or None,
            name=entry.path,
            gain_db=random_gain_db(entry, gain_db, seed) if gain_db else 0.0,
        )
        for entry in entries
    ]
    verdicts = map_recordings(
        partial(_predict, PicklablePredictor(predictor)),
        files,
        channel=predictor.extractor.spec.channel,
        step="judging",
        processes=processes,
        report=report,
    )
    return tuple(
        _judged(entry, verdict, None if verdict.unusable else truth(entry))
        for entry, verdict in zip(entries, verdicts, strict=True)
    )


def _predict(model: PicklablePredictor, recording: Recording, machine: str | None) -> Verdict:
    return model.predictor.predict(recording, machine)


def _judged(entry: Entry, verdict: Verdict, truth: str | None) -> JudgedRecording:
    worst, unusable = verdict.worst, verdict.unusable is not None
    return JudgedRecording(
        entry, worst.score, verdict.value == "anomalous", worst.probabilities, worst.label.name, truth, unusable
    )


def random_gain_db(entry: Entry, most_db: float, seed: int) -> float:
    """The gain of a recording in dB, drawn evenly from minus to plus ``most_db``, from the seed and its samples."""
    rng = np.random.Generator(np.random.PCG64([seed, int(entry.audio_hash, 16)]))
    return float(rng.uniform(-most_db, most_db))


def default_truth(predictor: Predictor) -> Truth:
    """What a dataset's labels mean to a model.

    A fault that is known by name is the class of that name, as the classes are called now or were when the model was
    made. Where a model has only one class for faults, every abnormal recording is of it; where it has one healthy
    class, every normal recording is of that. All else is None.
    """
    labels, first = predictor.model.labels, predictor.model.bundle.content.labels
    names = [label.name for label in labels.classes]
    called = {old.name: new for old, new in zip(first.classes, names, strict=True)} | {name: name for name in names}
    healthy, faulty = _only(labels, labels.normal_indices), _only(labels, labels.fault_indices)
    faults = {names[i] for i in labels.fault_indices}

    def truth(entry: Entry) -> str | None:
        if entry.label == NORMAL:
            return healthy or ("normal" if "normal" in names else None)
        named = called.get(entry.annotation.fault or "")
        return faulty or (named if named in faults else None)

    return truth


def _only(labels: ClassLabels, classes: Sequence[int]) -> str | None:
    return labels.classes[classes[0]].name if len(classes) == 1 else None
