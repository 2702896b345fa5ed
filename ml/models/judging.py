"""Verdicts of a model on the recordings of a dataset, together with their true classes."""

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
"""Function that returns the true class of a recording, by the model's name of it; None if it is not known."""


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
    """Judge recordings of a dataset, as :func:`ml.models.scoring.score_items` does.

    Args:
        predictor: the model.
        dataset: dataset of the recordings.
        entries: recordings to judge.
        gain_db: each recording gets a random gain between minus and plus this many dB; 0 is no change. The gain is
            applied in floating point, so that nothing is clipped.
        seed: seed of the gains. A recording's gain depends on the seed and its samples, not on the order.
        truth: true class of a recording; None means :func:`default_truth`.
        processes: number of processes; 1 uses the present process; None chooses by cores and recordings.
        report: called after each recording.

    Returns:
        One judged recording for each entry, in their order.

    Raises:
        AudioError: the model cannot judge a recording; the message has its path.
        OSError: a recording no longer exists.
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
        channel=predictor.extractor.spec.used_channels,
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


def random_gain_db(entry: Entry, max_db: float, seed: int) -> float:
    """Draw the gain of a recording, uniform from minus to plus ``max_db``, from the seed and its samples."""
    rng = np.random.Generator(np.random.PCG64([seed, int(entry.audio_hash, 16)]))
    return float(rng.uniform(-max_db, max_db))


def default_truth(predictor: Predictor) -> Truth:
    """Return the function that translates a dataset's labels into a model's classes.

    A fault becomes the class of that name, by the present names of the classes or the names in the bundle. If a model
    has only one anomalous class, every abnormal recording belongs to it. If it has only one normal class, every normal
    recording belongs to it, else to the class ``normal``. Where there is no such class, the result is None.
    """
    labels, first = predictor.model.labels, predictor.model.bundle.content.labels
    names = [label.name for label in labels.classes]
    renamed = {old.name: new for old, new in zip(first.classes, names, strict=True)} | {name: name for name in names}
    normal_class = _only_class(labels, labels.normal_indices)
    anomalous_class = _only_class(labels, labels.fault_indices)
    faults = {names[i] for i in labels.fault_indices}

    def truth(entry: Entry) -> str | None:
        if entry.label == NORMAL:
            return normal_class or ("normal" if "normal" in names else None)
        named = renamed.get(entry.annotation.fault or "")
        return anomalous_class or (named if named in faults else None)

    return truth


def _only_class(labels: ClassLabels, classes: Sequence[int]) -> str | None:
    return labels.classes[classes[0]].name if len(classes) == 1 else None
