"""What a reader must know of the figures, in sentences that stand beside them."""

from collections.abc import Iterator, Sequence

from ml.dataset.entries import ABNORMAL, NORMAL
from ml.evaluation.intervals import DRAWS, FEW_SESSIONS, MIN_SESSIONS
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import Estimate, Slice

LISTED = 6  # names in one sentence
TELLING = 0.1  # a distance from 0.5 at which level is worth a word


def notes(judged: Sequence[JudgedRecording], slices: Sequence[Slice], classes: Sequence[str]) -> tuple[str, ...]:
    """What is to be said of this evaluation.

    Args:
        judged: the recordings.
        slices: what was found, the pooled one first.
        classes: the names of the model's classes.
    """
    return (
        *_intervals(slices),
        *_unusable(judged),
        *_classes(judged, slices[0], classes),
        *_controls(slices),
        *_pooling(judged, slices),
    )


def _intervals(slices: Sequence[Slice]) -> Iterator[str]:
    pooled = slices[0]
    yield (
        f"Intervals are 95 %, percentiles of {DRAWS} bootstrap draws of recording groups within each class; pooled, "
        f"{_count(pooled.normal_groups, 'group')} of normal and {_count(pooled.abnormal_groups, 'group')} of abnormal "
        "recordings."
    )
    thin = [each.name for each in slices if _thin(each.normal_groups) or _thin(each.abnormal_groups)]
    if thin:
        yield (
            f"A class with fewer than {MIN_SESSIONS} groups was drawn recording by recording: recordings of one group "
            f"resemble each other, so these intervals are too narrow: {_listed(thin)}."
        )
    if MIN_SESSIONS <= min(pooled.normal_groups, pooled.abnormal_groups) < FEW_SESSIONS:
        yield f"Intervals from fewer than {FEW_SESSIONS} groups of a class are rough."
    if any(_perfect(estimate) for each in slices for estimate in (each.auc, each.detection_rate)):
        yield (
            "Where every draw gives the same figure, such as 1, the interval is Wilson's for a proportion, with as "
            "many trials as the smaller class has groups (recordings, where it has too few groups)."
        )


def _unusable(judged: Sequence[JudgedRecording]) -> Iterator[str]:
    of = {label: sum(each.unusable for each in judged if each.entry.label == label) for label in (NORMAL, ABNORMAL)}
    if any(of.values()):
        yield (
            f"The model does not judge {of[NORMAL]} of the normal and {of[ABNORMAL]} of the abnormal recordings: they "
            "raise no alarm, true or false; their scores count in AUC and pAUC, and they are in no accuracy, F1 and "
            "confusion."
        )


def _classes(judged: Sequence[JudgedRecording], pooled: Slice, classes: Sequence[str]) -> Iterator[str]:
    judged = [each for each in judged if not each.unusable]
    truths = [each.truth for each in judged if each.truth in classes]
    if not (pooled.normal and pooled.abnormal):
        there = "normal" if pooled.normal else "abnormal"
        yield f"All recordings are {there}: whatever compares the two classes is undefined."
    if len(truths) < len(judged):
        yield (
            f"{_count(len(judged) - len(truths), 'recording')} of a fault that is unknown, or that the model has no "
            "class for, count in detection, but not in accuracy, F1 and confusion."
        )
    if len(set(truths)) < 2:
        yield "Fewer than two classes are known to be there: accuracy, balanced accuracy and macro-F1 are undefined."
    if pooled.normal and pooled.abnormal:
        share = pooled.abnormal / pooled.n
        yield f"Brier score and ECE hold where {share:.0%} of recordings are abnormal, as here; elsewhere they change."


def _controls(slices: Sequence[Slice]) -> Iterator[str]:
    pooled = slices[0]
    level, gained = pooled.auc_level_only, pooled.auc_gain_randomised
    if level.value is not None:
        yield (
            f"Level alone, louder counting as more anomalous, has an AUC of {_shown(level)}; its distance from 0.5, "
            f"{abs(level.value - 0.5):.3f}, is what loudness gives away, in either direction."
        )
    telling = sorted(slices[1:], key=lambda each: -_distance(each.auc_level_only))
    more = [each for each in telling if _distance(each.auc_level_only) > max(TELLING, _distance(level))]
    if more:
        said = _listed([f"{each.name} {each.auc_level_only.value:.3f}" for each in more])
        yield f"Within slices level alone says more than pooled: {said}."
    if gained.value is not None:
        yield f"With a random gain on each recording the AUC is {_shown(gained)}: what does not hang on the level."


def _pooling(judged: Sequence[JudgedRecording], slices: Sequence[Slice]) -> Iterator[str]:
    if len({j.entry.annotation.snr_db for j in judged} - {None}) > 1:
        yield (
            "The SNR versions of a recording are the same machine's sound under other noise: pooled over SNR they are "
            "not independent unless their groups say so."
        )
    one_class = [each.name for each in slices if each.kind == "id" and not (each.normal and each.abnormal)]
    if one_class:
        yield f"The harmonic means leave out what has recordings of one class only: {_listed(one_class)}."


def _thin(groups: int) -> bool:
    return 0 < groups < MIN_SESSIONS


def _perfect(estimate: Estimate) -> bool:
    return estimate.value in (0, 1)


def _distance(estimate: Estimate) -> float:
    return 0.0 if estimate.value is None else abs(estimate.value - 0.5)


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _listed(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
