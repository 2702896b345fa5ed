"""Recordings of a dataset -> what the model says of each, beside what is true of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.errors import AudioError
from ml.evaluation.judged import Judged
from ml.models.labels import Labels
from ml.models.predictor import Predictor, Verdict
from ml.models.scoring import Portable
from ml.system.parallel import ordered_map
from ml.system.progress import Report, silent

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
    report: Report = silent,
) -> tuple[Judged, ...]:
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
    works = [
        _Work(
            dataset.file(entry),
            entry.path,
            entry.machine_name or None,
            gain_of(entry, gain_db, seed) if gain_db else 0.0,
        )
        for entry in entries
    ]
    hear = partial(_heard, Portable(predictor))
    # BLAS sums in another order with more threads: the same bits, and sooner, whatever the number of processes.
    with threadpool_limits(1):
        verdicts = list(ordered_map(hear, works, step="judging", processes=processes, report=report))
    return tuple(
        _judged(entry, said, None if said.unusable else truth(entry))
        for entry, said in zip(entries, verdicts, strict=True)
    )


def _judged(entry: Entry, said: Verdict, truth: str | None) -> Judged:
    worst, unusable = said.worst, said.unusable is not None
    return Judged(entry, worst.score, said.word == "anomalous", worst.probabilities, worst.label.name, truth, unusable)


class _Work(NamedTuple):
    """One recording to judge: its file, how an error names it, the machine it is of, and its gain."""

    file: Path
    name: str
    machine: str | None
    gain_db: float


def _heard(model: Portable, work: _Work) -> Verdict:
    try:
        recording = model.decode(work.file)
    except AudioError as error:
        raise type(error)(f"{work.name}: {error}") from error
    if work.gain_db:
        recording = replace(recording, samples=recording.samples * np.float32(10 ** (work.gain_db / 20)))
    return model.predictor.predict(recording, work.machine)


def gain_of(entry: Entry, most_db: float, seed: int) -> float:
    """The gain of a recording in dB, drawn evenly from minus to plus ``most_db``, from the seed and its samples."""
    rng = np.random.Generator(np.random.PCG64([seed, int(entry.audio_hash, 16)]))
    return float(rng.uniform(-most_db, most_db))


def default_truth(predictor: Predictor) -> Truth:
    """What a dataset's labels mean to a model.

    A fault that is known by name is the class of that name, as the classes are called now or were when the model was
    made. Where a model has only one class for faults, every abnormal recording is of it; where it has one healthy
    class, every normal recording is of that. All else is None.
    """
    labels, first = predictor.labels, predictor.bundle.content.labels
    names = [label.name for label in labels.classes]
    called = {old.name: new for old, new in zip(first.classes, names, strict=True)} | {name: name for name in names}
    healthy, faulty = _only(labels, labels.normal), _only(labels, labels.faults)
    faults = {names[i] for i in labels.faults}

    def truth(entry: Entry) -> str | None:
        if entry.label == NORMAL:
            return healthy or ("normal" if "normal" in names else None)
        named = called.get(entry.fault or "")
        return faulty or (named if named in faults else None)

    return truth


def _only(labels: Labels, classes: Sequence[int]) -> str | None:
    return labels.classes[classes[0]].name if len(classes) == 1 else None
