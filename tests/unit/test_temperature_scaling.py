"""Temperature scaling: one temperature, on answers whose right temperature is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from ml.classifier.temperature_scaling import SHARPEST, SOFTEST, calibrated_loss, fit_temperature

SEEDS = st.integers(0, 2**32 - 1)


def drawn(true_temperature, count=20_000, classes=3, seed=0):
    """Logits, and labels that are as often right as the logits give at that temperature."""
    rng = np.random.Generator(np.random.PCG64(seed))
    logits = rng.normal(0, 2 * true_temperature, (count, classes)).astype(np.float32)
    sums = softmax(logits / true_temperature, axis=1).cumsum(axis=1)
    labels = (rng.uniform(size=(count, 1)) > sums[:, :-1]).sum(axis=1)
    return logits, labels.astype(np.int32)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0, 10.0])
def test_a_known_temperature_is_found(true_temperature, classes):
    """The temperature of 20 000 labels drawn at a known temperature is found within 5 %."""
    assert fit_temperature(*drawn(true_temperature, classes=classes)) == pytest.approx(true_temperature, rel=0.05)


def test_classes_count_equally_with_any_number_of_clips():
    """Without nine tenths of one class's clips the temperature stays the same."""
    logits, labels = drawn(3.0)
    kept = (labels != 1) | (np.arange(len(labels)) % 10 == 0)
    assert fit_temperature(logits[kept], labels[kept]) == pytest.approx(3.0, rel=0.05)
    first, second = (calibrated_loss(logits[chosen], labels[chosen]) for chosen in (slice(None), kept))
    assert first == pytest.approx(second, rel=0.05)


@given(SEEDS, st.integers(2, 6), st.floats(-50, 50))
def test_a_constant_added_to_a_row_changes_nothing(seed, classes, constant):
    """Logarithms of probabilities give the same result as logits."""
    logits, labels = drawn(2.0, 60, classes, seed)
    per_row = constant * np.linspace(-1, 1, len(logits))[:, None]
    moved = logits.astype(np.float64) + per_row
    assert fit_temperature(moved, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-3)
    assert calibrated_loss(moved, labels) == pytest.approx(calibrated_loss(logits, labels), rel=1e-4)


@given(SEEDS, st.floats(0.5, 2.0))
def test_scaled_logits_have_the_same_calibrated_loss(seed, factor):
    """If logits are scaled by a factor, the loss stays and the temperature scales by that factor."""
    logits, labels = drawn(2.0, 400, seed=seed)
    scaled = logits.astype(np.float64) * factor
    assert calibrated_loss(scaled, labels) == pytest.approx(calibrated_loss(logits, labels), rel=1e-4)
    assert fit_temperature(scaled, labels) == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-3)


@pytest.mark.parametrize("count", [1, 4, 50])
def test_perfectly_separated_clips_give_a_finite_certainty(count):
    """If n clips of a class are all right, the next is right with (n + 1) / (n + 2): Platt's targets."""
    margin = 3.0
    labels = np.repeat([0, 1], count).astype(np.int32)
    logits = np.where(np.arange(2) == labels[:, None], margin, 0.0).astype(np.float32)
    found = fit_temperature(logits, labels)
    assert softmax([margin / found, 0])[0] == pytest.approx((count + 1) / (count + 2), abs=1e-4)


@given(SEEDS, st.integers(2, 5), st.sampled_from([1e-6, 1.0, 69.0]), st.integers(0, 2))
def test_the_temperature_is_finite_and_within_its_range(seed, classes, size, kind):
    """Separable, all wrong and equal logits give a temperature from 0.2 to 20 and a finite loss."""
    labels = np.random.Generator(np.random.PCG64(seed)).integers(0, classes, 12).astype(np.int32)
    hot = np.arange(classes) == labels[:, None]
    logits = ([hot, ~hot, np.zeros_like(hot)][kind] * size).astype(np.float32)
    assert SHARPEST <= fit_temperature(logits, labels) <= SOFTEST
    assert np.isfinite(calibrated_loss(logits, labels))


def test_a_class_without_clips_is_accepted():
    """The validation side may have no clip of a class of the network."""
    logits, labels = drawn(2.0, 3000)
    absent = np.column_stack([logits, np.full(len(logits), -30.0, np.float32)])
    assert fit_temperature(absent, labels) == pytest.approx(2.0, rel=0.15)


def test_worse_answers_have_a_higher_loss():
    """Noise on the logits raises the loss at every temperature."""
    logits, labels = drawn(1.0)
    noise = np.random.Generator(np.random.PCG64(1)).normal(0, 3, logits.shape)
    assert calibrated_loss(logits + noise, labels) > calibrated_loss(logits, labels) + 0.1
