"""Paired comparison of two models on the same recordings: the differences and their intervals."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from ml.errors import DatasetEmpty, InvalidParameter
from ml.evaluation.evaluating import evaluate
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.paired import compare_paired
from ml.evaluation.results import Estimate
from tests.unit.datasets import changed
from tests.unit.judgements import CLASSES, drawn, judgements

UNDEFINED = Estimate(None, None, None)


def rescored(
    judged: Sequence[JudgedRecording], scores: Sequence[float], threshold: float = 0.5
) -> list[JudgedRecording]:
    """The same recordings with another model's scores."""
    return [replace(j, score=s, anomaly=s > threshold) for j, s in zip(judged, scores, strict=True)]


def with_sessions(judged: Sequence[JudgedRecording], size: int) -> list[JudgedRecording]:
    """The same recordings, with ``size`` neighbours in each session."""
    return [replace(j, entry=changed(j.entry, group=f"{j.entry.label} {i // size}")) for i, j in enumerate(judged)]


def noisier(judged: Sequence[JudgedRecording], noise: float, seed: int = 5) -> list[JudgedRecording]:
    """Scores of a similar but less precise model."""
    rng = np.random.default_rng(seed)
    return rescored(judged, [j.score + float(rng.normal(0, noise)) for j in judged])


def naive_auc(judged: Sequence[JudgedRecording]) -> float:
    """AUC from a loop over all pairs."""
    abnormal = [j.score for j in judged if j.entry.label == "abnormal"]
    normal = [j.score for j in judged if j.entry.label == "normal"]
    return float(np.mean([(f > h) + 0.5 * (f == h) for f, h in product(abnormal, normal)]))


def naive_rates(judged: Sequence[JudgedRecording]) -> tuple[float, float]:
    """Detection rate and false-alarm rate."""
    abnormal = [j.anomaly for j in judged if j.entry.label == "abnormal"]
    normal = [j.anomaly for j in judged if j.entry.label == "normal"]
    return sum(abnormal) / len(abnormal), sum(normal) / len(normal)


def naive_draws(
    candidate: Sequence[JudgedRecording], champion: Sequence[JudgedRecording], draws: int, seed: int
) -> list[float]:
    """Differences of AUCs over draws of sessions within each class, the same draw for both models."""
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(draws):
        chosen: list[int] = []
        for label in ("normal", "abnormal"):
            mine = [i for i, j in enumerate(candidate) if j.entry.label == label]
            groups = sorted({candidate[i].entry.session for i in mine})
            for group in rng.choice(groups, len(groups)):
                chosen += [i for i in mine if candidate[i].entry.session == group]
        differences.append(naive_auc([candidate[i] for i in chosen]) - naive_auc([champion[i] for i in chosen]))
    return differences


def test_figures_equal_those_of_loops() -> None:
    """All figures of both models and their differences equal those of loops over the recordings."""
    candidate = with_sessions(judgements(*drawn(30)), 3)
    champion = noisier(candidate, 0.2)
    found = compare_paired(candidate, champion)
    assert found.candidate_auc.value == pytest.approx(naive_auc(candidate))
    assert found.champion_auc.value == pytest.approx(naive_auc(champion))
    assert found.auc_difference.value == pytest.approx(naive_auc(candidate) - naive_auc(champion))
    (detected, false_alarms), (champion_detected, champion_false_alarms) = map(naive_rates, (candidate, champion))
    accuracies = (detected + 1 - false_alarms) / 2, (champion_detected + 1 - champion_false_alarms) / 2
    for name, mine, theirs in (
        ("balanced_accuracy", *accuracies),
        ("detection_rate", detected, champion_detected),
        ("false_alarm_rate", false_alarms, champion_false_alarms),
    ):
        assert getattr(found, f"candidate_{name}").value == pytest.approx(mine)
        assert getattr(found, f"champion_{name}").value == pytest.approx(theirs)
        assert getattr(found, f"{name}_difference").value == pytest.approx(mine - theirs)
    assert (found.n, found.normal, found.abnormal) == (60, 30, 30)
    assert (found.groups, found.normal_groups, found.abnormal_groups, found.too_few_sessions) == (20, 10, 10, False)


def test_the_interval_is_that_of_sessions_drawn_for_both_at_once() -> None:
    """The interval agrees, within random variation, with a bootstrap written as loops."""
    candidate = with_sessions(judgements(*drawn(24)), 3)
    champion = noisier(candidate, 0.25)
    low, high = np.percentile(naive_draws(candidate, champion, 800, seed=1), [2.5, 97.5])
    found = compare_paired(candidate, champion).auc_difference
    assert (found.low, found.high) == (pytest.approx(low, abs=0.025), pytest.approx(high, abs=0.025))


def test_each_figure_has_the_interval_that_an_evaluation_gives_it() -> None:
    """AUC, detection rate and false-alarm rate and their intervals are the same in an evaluation."""
    candidate = with_sessions(judgements(*drawn(30)), 3)
    found = compare_paired(candidate, noisier(candidate, 0.2), seed=3)
    pooled = evaluate(candidate, threshold=0.5, classes=CLASSES, seed=3).pooled
    assert found.candidate_auc == pooled.auc
    assert found.candidate_detection_rate == pooled.detection_rate
    assert found.candidate_false_alarm_rate == pooled.false_alarm_rate


def test_unusable_recordings_are_no_alarms_and_are_counted() -> None:
    """A fault that a model does not judge is not detected."""
    judged = judgements([0.1, 0.2], [0.8, 0.9])
    refused = [*judged[:3], replace(judged[3], anomaly=False, unusable=True)]
    found = compare_paired(refused, judged)
    assert (found.candidate_detection_rate.value, found.champion_detection_rate.value) == (0.5, 1.0)
    assert (found.candidate_unusable, found.champion_unusable) == (1, 0)


def test_the_difference_of_similar_models_has_a_narrow_interval() -> None:
    """Two models with similar scores have a difference that is more certain than their figures."""
    candidate = with_sessions(judgements(*drawn(60, apart=0.2)), 3)
    found = compare_paired(candidate, noisier(candidate, 0.03))
    alone = found.candidate_auc
    assert found.auc_difference.high - found.auc_difference.low < 0.5 * (alone.high - alone.low)


def test_a_difference_that_every_draw_repeats_is_not_certain() -> None:
    """Two perfect models on five sessions differ by 0 with the interval of five sessions; perfect and worst differ
    by 1."""
    perfect = with_sessions(judgements([0.1] * 20, [0.9] * 20), 4)
    worst = rescored(perfect, [1 - j.score for j in perfect])
    alike = compare_paired(perfect, rescored(perfect, [j.score / 2 for j in perfect], threshold=0.3)).auc_difference
    assert alike == Estimate(0, pytest.approx(-0.4344825), pytest.approx(0.4344825))
    assert compare_paired(perfect, worst).auc_difference == Estimate(1, pytest.approx(0.5655175), 1)
    assert compare_paired(worst, perfect).auc_difference == Estimate(-1, -1, pytest.approx(-0.5655175))


def test_each_model_has_its_own_threshold() -> None:
    """Balanced accuracy counts each model's anomalies at its own threshold."""
    candidate = rescored(judgements([0.1, 0.2], [0.3, 0.4]), [0.1, 0.2, 0.3, 0.4], threshold=0.25)
    champion = rescored(candidate, [0.1, 0.2, 0.3, 0.4], threshold=0.35)
    found = compare_paired(candidate, champion)
    assert (found.candidate_balanced_accuracy.value, found.champion_balanced_accuracy.value) == (1.0, 0.75)
    assert found.auc_difference.value == 0


def test_few_sessions_are_marked() -> None:
    """With two sessions of a class, recordings are drawn, the interval is too narrow, and the comparison is marked."""
    judged = with_sessions(judgements(*drawn(20)), 10)
    assert compare_paired(judged, judged).too_few_sessions


def test_one_class_leaves_the_comparison_undefined() -> None:
    """Undefined figures are None, never NaN."""
    judged = judgements([0.1, 0.2, 0.3], [])
    found = compare_paired(judged, judged)
    assert found.auc_difference == found.balanced_accuracy_difference == found.candidate_auc == UNDEFINED


def test_other_recordings_are_refused() -> None:
    """Another order of the recordings, or none, is refused."""
    judged = judgements(*drawn(5))
    with pytest.raises(InvalidParameter, match="same order"):
        compare_paired(judged, judged[::-1])
    with pytest.raises(DatasetEmpty):
        compare_paired([], [])
