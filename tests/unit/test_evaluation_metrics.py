"""Metrics: compared with scikit-learn, and properties that hold for all scores."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    roc_auc_score,
)

from ml.evaluation import metrics
from ml.evaluation.metrics import Ranking

# Few distinct values, so that there are ties.
scores_and_truth = st.lists(
    st.tuples(st.integers(0, 12).map(lambda n: n / 12), st.booleans()), min_size=2, max_size=60
).filter(lambda rows: len({abnormal for _, abnormal in rows}) == 2)


def ones(count):
    return np.ones((1, count))


def columns(rows):
    scores, abnormal = zip(*rows, strict=True)
    return np.array(scores, float), np.array(abnormal)


def auc(scores, abnormal, weights=None):
    return metrics.auc(*Ranking(scores, abnormal).roc(ones(len(scores)) if weights is None else weights))[0]


def pauc(scores, abnormal, weights=None):
    return metrics.partial_auc(*Ranking(scores, abnormal).roc(ones(len(scores)) if weights is None else weights))[0]


@given(scores_and_truth)
def test_auc_and_pauc_are_scikit_learns(rows):
    """With ties, both agree to rounding."""
    scores, abnormal = columns(rows)
    assert auc(scores, abnormal) == pytest.approx(roc_auc_score(abnormal, scores), abs=1e-12)
    assert pauc(scores, abnormal) == pytest.approx(roc_auc_score(abnormal, scores, max_fpr=0.1), abs=1e-12)


@given(scores_and_truth, st.integers(0, 2**32 - 1))
def test_a_weight_counts_like_so_many_copies(rows, seed):
    """A weight of three equals three recordings, a weight of zero none: the bootstrap needs this."""
    scores, abnormal = columns(rows)
    weights = np.random.default_rng(seed).integers(0, 4, len(scores))
    repeated = np.repeat(scores, weights), np.repeat(abnormal, weights)
    assume(len(set(repeated[1].tolist())) == 2)
    for figure in (auc, pauc):
        assert figure(scores, abnormal, weights[None].astype(float)) == pytest.approx(figure(*repeated), abs=1e-12)


@given(scores_and_truth)
def test_only_the_order_of_the_scores_matters(rows):
    """An increasing function of the scores changes neither AUC nor pAUC."""
    scores, abnormal = columns(rows)
    for figure in (auc, pauc):
        assert figure(np.exp(5 * scores) - 3, abnormal) == figure(scores, abnormal)


@given(scores_and_truth)
def test_the_other_class_has_the_other_auc(rows):
    """If the classes are swapped, or the sign of the scores, the AUC becomes one minus the AUC."""
    scores, abnormal = columns(rows)
    assert auc(scores, ~abnormal) == pytest.approx(1 - auc(scores, abnormal), abs=1e-12)
    assert auc(-scores, abnormal) == pytest.approx(1 - auc(scores, abnormal), abs=1e-12)


def test_equal_scores_are_chance():
    """Equal scores have an AUC and a pAUC of 0.5."""
    abnormal = np.array([True, False, False, True])
    assert auc(np.full(4, 0.3), abnormal) == pauc(np.full(4, 0.3), abnormal) == 0.5


def test_perfect_order_is_one():
    """Perfectly ordered scores have an AUC and a pAUC of 1."""
    scores, abnormal = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert auc(scores, abnormal) == 1
    assert pauc(scores, abnormal) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("abnormal", [True, False])
def test_one_class_has_no_auc(abnormal):
    """The AUC is NaN, without a warning."""
    scores = np.array([0.1, 0.7])
    assert np.isnan(auc(scores, np.full(2, abnormal)))
    assert np.isnan(pauc(scores, np.full(2, abnormal)))


def test_digital_silence_ranks_below_all_sound():
    """An infinite level is ranked, with ties."""
    levels, abnormal = np.array([-np.inf, -np.inf, -30.0]), np.array([False, True, True])
    assert auc(levels, abnormal) == 0.75


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_class_figures_are_scikit_learns(rows):
    """Accuracy, balanced accuracy and macro-F1 are those over the present classes."""
    truth, predicted = np.array(rows).T
    present = sorted(set(truth.tolist()))
    (found,) = metrics.class_figures(truth, predicted, 4, ones(len(rows)))
    if len(present) < 2:
        assert np.isnan(found).all()
        return
    # scikit-learn warns that a class was predicted which is not there; here that is nothing to warn of.
    recalls = [np.mean(predicted[truth == each] == each) for each in present]
    expected = [
        accuracy_score(truth, predicted),
        np.mean(recalls),
        f1_score(truth, predicted, labels=present, average="macro", zero_division=0),
    ]
    assert found == pytest.approx(expected, abs=1e-12)
    if set(predicted.tolist()) <= set(present):
        assert found[1] == pytest.approx(balanced_accuracy_score(truth, predicted), abs=1e-12)


@given(scores_and_truth)
def test_the_brier_score_is_scikit_learns(rows):
    """The Brier score is the mean squared distance from 0 or 1."""
    scores, abnormal = columns(rows)
    assert metrics.brier(scores, abnormal, ones(len(scores)))[0] == pytest.approx(brier_score_loss(abnormal, scores))


@given(st.lists(st.integers(0, 30).map(lambda n: n / 30), min_size=1, max_size=200))
def test_calibration_bins_keep_equal_scores_together(scores):
    """There are at most ten bins; equal scores are in one bin, and higher scores never in a lower bin."""
    scores = np.array(sorted(scores))
    bins = metrics.calibration_bins(scores)
    assert len(np.unique(bins)) <= min(10, max(1, len(scores) // 10))
    assert (np.diff(bins) >= 0).all()
    assert (bins[1:] == bins[:-1])[scores[1:] == scores[:-1]].all()


def test_the_calibration_error_of_one_bin_is_known():
    """Ten scores of 0.7 with five faults have an error of 0.2."""
    scores, abnormal = np.full(10, 0.7), np.arange(10) < 5
    bins = metrics.calibration_bins(scores)
    assert metrics.calibration_error(scores, abnormal, bins, ones(10))[0] == pytest.approx(0.2)


def test_the_calibration_error_is_the_mean_over_bins():
    """It equals the definition, written as a loop."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(size=300)
    abnormal = rng.uniform(size=300) < scores**2
    bins = metrics.calibration_bins(scores)
    expected = sum(
        np.mean(bins == each) * abs(scores[bins == each].mean() - abnormal[bins == each].mean())
        for each in np.unique(bins)
    )
    assert len(np.unique(bins)) == 10
    assert metrics.calibration_error(scores, abnormal, bins, ones(300))[0] == pytest.approx(expected)


def test_a_harmonic_mean_ignores_undefined_values():
    """A zero gives 0, and no values give NaN."""
    figures = np.array([[0.5, 1.0, np.nan], [0.5, 0.0, 1.0], [np.nan] * 3])
    assert metrics.harmonic_mean(figures)[:2] == pytest.approx([2 / 3, 0])
    assert np.isnan(metrics.harmonic_mean(figures)[2])
