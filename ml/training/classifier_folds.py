"""Cross-validation of a classifier: scores of recordings that its network has not learned from.

The served network is fitted to all recordings, so none is left to test it with. Networks with the same recipe, the same
number of epochs and the same temperature are fitted without a part of the recordings, and score that part.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import NORMAL, Entry
from ml.detectors.calibration import Calibration
from ml.detectors.thresholds import SESSIONS_FOR_A_RATE
from ml.features.store import StoredFeatures
from ml.system.progress import Progress
from ml.training.classes import TrainingClasses
from ml.training.clips import make_clips
from ml.training.context import TrainingContext
from ml.training.detector_stage import in_recording_order

if TYPE_CHECKING:
    from ml.classifier.fitting import FittedNetwork
    from ml.classifier.stream import Clips

STEP = "cross-validation"
MAX_FOLDS = 4  # chosen here: a fold of pc_fan takes 4 s of CPU time, and a training should stay below one minute
HALVES = 2
NO_FOLD = -1
"""Number of a recording that is in no fold: it is never held out."""
Scores = dict[str, float]
"""Score of each recording, by path."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Scores of a classifier for recordings that its network has not learned from.

    Attributes:
        new_session: the network has not learned from the recording's session. Without the sessions of a class that
            cannot be held out, as one that has only one session.
        same_session: the network has learned from the other half of the session.
        folds: number of folds of ``new_session``; 0 if no session can be held out.
    """

    new_session: Scores
    same_session: Scores
    folds: int


def cross_validate(
    context: TrainingContext, classes: TrainingClasses, features: StoredFeatures, fitted: "FittedNetwork"
) -> CrossValidation | None:
    """Cross-validate the network of the final fit, over sessions and over halves of sessions.

    Args:
        context: the training.
        classes: classes of the network.
        features: features of all recordings.
        fitted: the network of the final fit.

    Returns:
        The scores; None without a final fit, because the test side then tests the served network itself, and None for
        a network with convolutions, because each fold would take as long as the final fit.
    """
    recipe = context.options.recipe
    if not context.options.refit or recipe.network.filters or recipe.network.average != "frames":
        return None
    entries = in_recording_order(entry for entry in context.final_side if entry.path in classes.class_by_path)
    sessions = session_folds(entries, classes.class_by_path)
    folds = len(set(sessions) - {NO_FOLD})
    run = _Folds(context, classes, features, fitted, entries, folds + HALVES)
    return CrossValidation(run.scores(sessions), run.scores(halves(entries)), folds)


def fold_calibration(context: TrainingContext, folds: CrossValidation) -> Calibration | None:
    """Return the scores of the normal recordings in the folds of sessions, in the order of the final side.

    Returns:
        The scores; None with fewer than :data:`~ml.detectors.thresholds.SESSIONS_FOR_A_RATE` sessions.
    """
    normal = [e for e in context.final_side if e.label == NORMAL and e.path in folds.new_session]
    if len({entry.session for entry in normal}) < SESSIONS_FOR_A_RATE:
        return None
    scores = np.array([folds.new_session[entry.path] for entry in normal])
    session = np.unique([entry.session for entry in normal], return_inverse=True)[1]
    return Calibration(scores, scores, session, rate_holds_for="new_session")


def session_folds(entries: Sequence[Entry], class_by_path: Mapping[str, int]) -> list[int]:
    """Return the number of the fold of each recording: whole sessions, with the sessions of a class in turn.

    There are as many folds as the class with the most sessions has, at most :data:`MAX_FOLDS`. Classes with
    few sessions come first, and a session of a class gets the fold that has the fewest of its sessions: first those of
    the same machine, then those of all machines. Otherwise a fold can be a whole machine, as with four machines that
    were recorded in turn, and its network has learned nothing of the machine that it scores. A class that is in one
    fold only cannot be held out, because nothing would be left to learn from. So its sessions are in no fold,
    with all of their recordings: otherwise a network would have learned from the session that it scores.

    Returns:
        Numbers from 0, and :data:`NO_FOLD`.
    """
    sessions: defaultdict[int, dict[str, None]] = defaultdict(dict)
    machine: dict[str, str] = {}
    for entry in entries:
        sessions[class_by_path[entry.path]][entry.session] = None
        machine.setdefault(entry.session, entry.machine_name)
    folds = min(MAX_FOLDS, max(map(len, sessions.values())))
    fold: dict[str, int] = {}
    for _, names in sorted(sessions.items(), key=lambda each: (len(each[1]), each[0])):
        taken = Counter(fold[name] for name in names if name in fold)
        of_machine = Counter((machine[name], fold[name]) for name in names if name in fold)
        for name in names:
            if name not in fold:
                of_this = machine[name]
                fold[name] = min(range(folds), key=lambda number: (of_machine[of_this, number], taken[number]))
                taken[fold[name]] += 1
                of_machine[of_this, fold[name]] += 1
    for names in [names for names in sessions.values() if len({fold[name] for name in names}) == 1]:
        fold |= dict.fromkeys(names, NO_FOLD)
    return [fold[entry.session] for entry in entries]


def halves(entries: Sequence[Entry]) -> list[int]:
    """Return the half of each recording, 0 or 1: the first and second half of each session and label."""
    place: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        place[entry.label, entry.session].append(index)
    found = np.zeros(len(entries), int)
    for indices in place.values():
        found[indices[len(indices) // HALVES :]] = 1
    return [int(each) for each in found]


class _Folds:
    """Recordings as averaged clips, and fits of the network to parts of them."""

    def __init__(
        self,
        context: TrainingContext,
        classes: TrainingClasses,
        features: StoredFeatures,
        fitted: "FittedNetwork",
        entries: Sequence[Entry],
        total: int,
    ) -> None:
        self._context, self._classes, self._fitted, self._entries = context, classes, fitted, entries
        self._total, self._done = total, 0
        self._clips = _average_frames(make_clips(entries, classes.class_by_path, features, augmented=True))
        self._owner = np.repeat(np.arange(len(entries)), [len(features.clips(entry)) for entry in entries])
        self._label = np.array([classes.class_by_path[entry.path] for entry in entries])

    def scores(self, fold: Sequence[int]) -> Scores:
        """Score the recordings of each fold by a network that is fitted to the others."""
        numbers, found = np.array(fold), Scores()
        for number in range(max(fold) + 1):
            held_out = numbers == number
            # A class of which nothing would be left to learn from is not held out.
            held_out &= np.isin(self._label, self._label[~held_out])
            if held_out.any():
                found |= dict(self._score(held_out))
        return found

    def _score(self, held_out: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
        from ml.classifier.fitting import predict_probabilities, refit_network

        self._done += 1
        fitted = refit_network(
            self._context.options.recipe,
            _part(self._clips, ~held_out[self._owner]),
            len(self._classes.labels.classes),
            self._fitted.best_epoch,
            self._fitted.temperature,
            self._context.work / f"fold-{self._done}.npz",
            report=lambda _: self._context.report(Progress(STEP, self._done, self._total)),
        )
        mine = held_out[self._owner]
        probabilities = predict_probabilities(fitted.model, _part(self._clips, mine))
        fault, normal = probabilities[:, 1:].max(axis=1), probabilities[:, 0]
        scores = fault / (fault + normal)
        for index in np.flatnonzero(held_out).tolist():
            yield self._entries[index].path, float(scores[self._owner[mine] == index].max())


def _average_frames(clips: "Clips") -> "Clips":
    """Return the clips with one frame each, their mean: the network averages over the frames anyway."""
    from ml.classifier.stream import Clips

    means = [
        [clips.read(index, variant).mean(axis=1, keepdims=True) for variant in range(clips.variants)]
        for index in range(len(clips))
    ]
    return Clips(lambda index, variant: means[index][variant], clips.labels, clips.variants)


def _part(clips: "Clips", chosen: NDArray[np.bool_]) -> "Clips":
    from ml.classifier.stream import Clips

    index = np.flatnonzero(chosen)
    return Clips(lambda i, variant: clips.read(int(index[i]), variant), clips.labels[index], clips.variants)
