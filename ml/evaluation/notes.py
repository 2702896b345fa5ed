"""Notes: remarks on the figures of an evaluation, in sentences."""

from collections.abc import Iterator, Sequence

from ml.dataset.entries import ABNORMAL, NORMAL
from ml.evaluation.intervals import DRAWS, FEW_SESSIONS, MIN_SESSIONS
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.results import Estimate, Slice

LISTED = 6  # names in one sentence
LEVEL_DISTANCE = 0.1  # chosen here: AUC of level alone this far from 0.5 is reported for a slice


def notes(
    judged: Sequence[JudgedRecording],
    slices: Sequence[Slice],
    classes: Sequence[str],
    *,
    score_is_probability: bool = True,
) -> tuple[str, ...]:
    """Return remarks that a reader needs to interpret the figures.

    Args:
        judged: the recordings.
        slices: figures of the slices, ``pooled`` first.
        classes: names of the model's classes.
        score_is_probability: whether the score is a probability of a fault.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> from ml.evaluation.evaluating import evaluate
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> entry = Entry(path="1.wav", annotation=Annotation("normal", session="monday"), info=info)
        >>> judged = [JudgedRecording(entry, 0.1, False, (), "normal", "normal")]
        >>> slices = evaluate(judged, threshold=0.5, classes=["normal", "fault"]).slices
        >>> notes(judged, slices, ["normal", "fault"])[3]
        'All recordings are normal: figures that compare the two classes are undefined.'
    """
    return (
        *_verdicts(judged),
        *_intervals(slices),
        *_unusable(judged),
        *_classes(judged, slices[0], classes),
        *(_probabilities(slices[0]) if score_is_probability else ()),
        *_controls(slices),
        *_pooling(judged, slices),
    )


def _verdicts(judged: Sequence[JudgedRecording]) -> Iterator[str]:
    """Yield the verdicts at the threshold, which a user acts on; an AUC does not show them."""
    alarms = {label: [each.anomaly for each in judged if each.entry.label == label] for label in (ABNORMAL, NORMAL)}
    parts = [f"{sum(some)} of {len(some)} {label} recordings" for label, some in alarms.items() if some]
    yield f"At the threshold, these are answered anomalous: {' and '.join(parts)}."


def _intervals(slices: Sequence[Slice]) -> Iterator[str]:
    pooled = slices[0]
    yield (
        f"Intervals are 95 %: percentiles of {DRAWS} bootstrap draws of sessions within each class. Pooled, the normal "
        f"recordings are of {_count(pooled.normal_groups, 'session')} and the abnormal ones of "
        f"{_count(pooled.abnormal_groups, 'session')}."
    )
    too_few = [each.name for each in slices if _too_few(each.normal_groups) or _too_few(each.abnormal_groups)]
    if too_few:
        yield (
            f"A class with fewer than {MIN_SESSIONS} sessions was drawn recording by recording. Recordings of one "
            f"session resemble each other, so these intervals are too narrow: {_listed(too_few)}."
        )
    if MIN_SESSIONS <= min(pooled.normal_groups, pooled.abnormal_groups) < FEW_SESSIONS:
        yield f"Intervals from fewer than {FEW_SESSIONS} sessions of a class are rough."
    if any(_perfect(estimate) for each in slices for estimate in (each.auc, each.detection_rate)):
        yield (
            "If all draws give the same figure, such as 1, the interval is Wilson's for a proportion. Its number of "
            "trials is the number of sessions of the smaller class, or of recordings if there are too few sessions."
        )


def _unusable(judged: Sequence[JudgedRecording]) -> Iterator[str]:
    counts = {label: sum(each.unusable for each in judged if each.entry.label == label) for label in (NORMAL, ABNORMAL)}
    if any(counts.values()):
        yield (
            f"The model does not judge {counts[NORMAL]} of the normal and {counts[ABNORMAL]} of the abnormal "
            "recordings. They raise no alarm, true or false. Their scores count in AUC and pAUC; accuracy, F1 and "
            "confusion are without them."
        )


def _classes(judged: Sequence[JudgedRecording], pooled: Slice, classes: Sequence[str]) -> Iterator[str]:
    judged = [each for each in judged if not each.unusable]
    truths = [each.truth for each in judged if each.truth in classes]
    if not (pooled.normal and pooled.abnormal):
        present = "normal" if pooled.normal else "abnormal"
        yield f"All recordings are {present}: figures that compare the two classes are undefined."
    if len(truths) < len(judged):
        yield (
            f"{_count(len(judged) - len(truths), 'recording')} with an unknown fault, or a fault that the model has no "
            "class for, count in detection, but not in accuracy, F1 and confusion."
        )
    if len(set(truths)) < 2:
        yield "Fewer than two classes are known to occur: accuracy, balanced accuracy and macro-F1 are undefined."


def _probabilities(pooled: Slice) -> Iterator[str]:
    if pooled.normal and pooled.abnormal:
        share = pooled.abnormal / pooled.n
        yield f"Brier score and ECE are valid if {share:.0%} of the recordings are abnormal, as here."


def _controls(slices: Sequence[Slice]) -> Iterator[str]:
    pooled = slices[0]
    level, with_gain = pooled.auc_level_only, pooled.auc_gain_randomised
    if level.value is not None:
        yield (
            f"Level alone, louder counting as more anomalous, has an AUC of {_shown(level)}. Its distance from 0.5, "
            f"{abs(level.value - 0.5):.3f}, shows how well loudness alone separates the classes, in either direction."
        )
    by_distance = sorted(slices[1:], key=lambda each: -_distance(each.auc_level_only))
    larger = [each for each in by_distance if _distance(each.auc_level_only) > max(LEVEL_DISTANCE, _distance(level))]
    if larger:
        values = _listed([f"{each.name} {each.auc_level_only.value:.3f}" for each in larger])
        yield f"In these slices level alone separates the classes better than pooled, by its AUC: {values}."
    if with_gain.value is not None:
        yield f"With a random gain on each recording the AUC is {_shown(with_gain)}: the order without the level."


def _pooling(judged: Sequence[JudgedRecording], slices: Sequence[Slice]) -> Iterator[str]:
    if len({j.entry.annotation.snr_db for j in judged} - {None}) > 1:
        yield (
            "The SNR versions of a recording have the same machine sound with other noise. Pooled over SNR, intervals "
            "treat them as independent unless they are in one session."
        )
    one_class = [each.name for each in slices if each.kind == "id" and not (each.normal and each.abnormal)]
    if one_class:
        yield f"The harmonic means are without ids that have recordings of one class only: {_listed(one_class)}."


def _too_few(sessions: int) -> bool:
    return 0 < sessions < MIN_SESSIONS


def _perfect(estimate: Estimate) -> bool:
    return estimate.value in (0, 1)


def _distance(estimate: Estimate) -> float:
    return 0.0 if estimate.value is None else abs(estimate.value - 0.5)


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _listed(names: Sequence[str]) -> str:
    """The first six names, and the number of the others."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
