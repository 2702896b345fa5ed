"""What is decided before and after a fit: options, classes, what is heard, and the threshold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.classifier.recipe import Recipe
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.dataset.splitting.methods import split
from ml.errors import InvalidName, InvalidParameter, OneClassOnly
from ml.experiments.original_protocol import compare_protocols
from ml.features.augmentation import Augmentation
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import LONGEST_CLIP_S, SHORTEST_CLIP_S, spec_for
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore
from ml.training.classes import require_both_labels
from ml.training.classifier_threshold import EVEN, choose_threshold, measure_false_alarm_rate
from ml.training.options import TrainingOptions
from tests.unit.datasets import dataset, entry

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=300)
RATES = st.floats(0.001, 0.999)


def options(**choices):
    return TrainingOptions(**{"source": Path("/somewhere/fans"), "name": "fan"} | choices)


def recordings(rates=(16_000,), seconds=(10.0,)):
    pairs = zip(rates, seconds, strict=True)
    return [entry(f"{i}.wav", sample_rate_hz=rate, duration_s=s) for i, (rate, s) in enumerate(pairs)]


# The threshold


@given(SCORES, RATES)
def test_never_less_than_even_odds(scores, rate):
    """However far below them the healthy recordings stay."""
    assert choose_threshold(scores, rate)[0] >= EVEN


@given(SCORES, RATES)
def test_no_larger_a_share_is_above_than_was_asked_for(scores, rate):
    """Of the recordings that it was taken from; and the sentence counts them."""
    threshold, basis = choose_threshold(scores, rate)
    above = sum(score > threshold for score in scores)
    assert above / len(scores) <= rate + 1e-9
    assert f"above it were {above} of {len(scores)} healthy recordings" in basis


@given(SCORES, RATES)
def test_the_threshold_is_even_odds_or_the_score_of_a_recording(scores, rate):
    """And the sentence says which of them."""
    threshold, basis = choose_threshold(scores, rate)
    assert threshold == EVEN or threshold in scores
    assert basis.startswith("even odds") == (threshold == EVEN)


@pytest.mark.parametrize(("count", "rate"), [(99, 0.05), (19, 0.05), (200, 0.01), (40, 0.3)])
def test_one_more_healthy_recording_is_above_as_often_as_was_asked_for(count, rate):
    """Of the same kind: with at most the probability asked for, and hardly less; over 20 000 draws."""
    draws = 20_000
    scores = np.random.Generator(np.random.PCG64(1)).uniform(0.6, 1, (draws, count + 1))
    alarms = np.mean([row[-1] > choose_threshold(row[:-1], rate)[0] for row in scores])
    noise = 3 * np.sqrt(rate / draws)
    assert rate - 1 / (count + 1) - noise <= alarms <= rate + noise


def test_too_few_for_the_rate_take_the_highest():
    """Ten recordings cannot bear out one in a hundred."""
    scores = [0.55 + 0.01 * i for i in range(10)]
    assert choose_threshold(scores, 0.01)[0] == max(scores)


def test_the_order_of_scores_says_nothing():
    """Recordings are not sorted by their scores."""
    assert choose_threshold([0.9, 0.6, 0.7, 0.8], 0.4) == choose_threshold([0.6, 0.7, 0.8, 0.9], 0.4)
    assert choose_threshold([0.9, 0.6, 0.7, 0.8], 0.4)[0] == 0.8


def test_without_healthy_recordings_there_are_even_odds():
    """And the sentence says that there were none."""
    threshold, basis = choose_threshold([], 0.01)
    assert threshold == EVEN
    assert "0 of 0" in basis


def test_the_test_side_measures_the_threshold():
    """A score at the threshold is no alarm; without healthy recordings there is no rate."""
    decision = measure_false_alarm_rate(0.5, "even odds", [0.1, 0.5, 0.6, 0.9])
    assert (decision.threshold, decision.false_alarm_rate) == (0.5, 0.5)
    assert decision.basis == "even odds, and 2 of 4 of the test side"
    assert measure_false_alarm_rate(0.7, "even odds", []).false_alarm_rate is None


# What is chosen


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"training_kind": "best"}, "training_kind is 'best'; 'spectrum' or 'original'"),
        ({"labels": "guessed"}, "labels is 'guessed'; 'auto', 'manifest', 'groups' or 'binary'"),
        ({"split": "random"}, "split is 'random'; "),
        ({"groups": 1}, "groups is 1; 2 or more or 'auto'"),
        ({"groups": 10}, "groups is 10; 9 or less or 'auto'"),
        ({"false_alarm_rate": 0.0}, "false_alarm_rate is 0.0; more than 0"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate is 1.0; less than 1"),
        ({"false_alarm_rate": float("nan")}, "false_alarm_rate is nan"),
        ({"epochs": 0}, "epochs is 0; 1 or more"),
        ({"epochs": 1001}, "epochs is 1001; 1000 or less"),
        ({"seed": -1}, "seed is -1; 0 or more"),
        ({"engines": ["distance", "distance"], "learn": "detector"}, "each one once"),
        ({"engines": ["ears"], "learn": "detector"}, "There is no engine 'ears'"),
        ({"engines": ["level"], "learn": "detector"}, "no longer part of signalml"),
        ({"engines": ["distance"]}, "engines are what a detector is made of"),
    ],
)
def test_options_that_make_no_sense_are_refused(choice, says):
    """Before anything is read, in a sentence that names what was expected."""
    with pytest.raises(InvalidParameter, match=says):
        options(**choice)


@pytest.mark.parametrize("name", ["", "Fan", "-fan", "a/b", "..", "fan ", "f" * 49, "fän"])
def test_a_name_that_no_folder_should_have_is_refused(name):
    """The version's folder begins with it."""
    with pytest.raises(InvalidName, match="no name for a model"):
        options(name=name)


def test_options_become_a_recipe_and_an_augmentation():
    """Seed and epochs are handed on; copies that nobody asked for are None."""
    assert options(seed=3).recipe == Recipe.spectrum(3)
    assert options(training_kind="original", epochs=2).recipe == Recipe.original().with_epochs(2)
    assert options().augmentation is None
    assert options(copies=2, seed=3).augmentation == Augmentation.everything(2, 3)


def test_the_card_learns_the_name_of_the_source_only():
    """Where somebody keeps their files is nobody's business."""
    assert options().to_dict()["source"] == "fans"


def test_recordings_of_one_kind_are_refused():
    """The sentence says which are there, how many, and which are missing."""
    for label, other in (("normal", "abnormal"), ("abnormal", "normal")):
        with pytest.raises(OneClassOnly, match=f"All 2 recordings in fans are {label};.* and {other} ones"):
            require_both_labels(dataset(entry(f"{i}.wav", label) for i in range(2)))
    require_both_labels(dataset([entry("0.wav"), entry("1.wav", "abnormal")]))


# What is heard


def test_the_most_frequent_rate_and_the_median_length_are_heard():
    """One recording at another rate, or of another length, changes nothing."""
    spec = spec_for(recordings((48_000, 16_000, 16_000), (60.0, 4.0, 3.0)), "spectrum")
    assert (spec.sample_rate_hz, spec.fmax_hz) == (16_000, 8000.0)
    assert (spec.n_fft, spec.hop_length, spec.level) == (1024, 512, "clip_mean")
    assert spec.clip_s == pytest.approx(4.0, abs=spec.hop_length / 16_000)


@given(st.integers(1000, 192_000), st.floats(0.01, 600))
def test_any_rate_and_length_makes_a_spec(rate, seconds):
    """Frames of 64 ms to the next power of two, half a second to ten."""
    spec = spec_for(recordings((rate,), (seconds,)), "spectrum")
    assert 0.064 / 2**0.51 <= spec.n_fft / rate <= 0.064 * 2**0.51
    heard = min(max(seconds, SHORTEST_CLIP_S), LONGEST_CLIP_S)
    assert heard - spec.hop_length / rate <= spec.clip_s <= heard


def test_the_original_hears_what_it_always_did():
    """Whatever the recordings are."""
    assert spec_for(recordings((48_000,), (3.0,)), "original") == FeatureSpec.original()


@pytest.mark.parametrize("gain", [4.0, 0.25])
def test_how_loud_it_was_recorded_cannot_be_heard(gain):
    """The same sound four times as loud has the same features, to a thousandth of a decibel."""
    spec = spec_for(recordings((16_000,), (2.0,)), "spectrum")
    rng = np.random.Generator(np.random.PCG64(0))
    sound = (rng.normal(0, 0.05, 32_000) + np.sin(np.arange(32_000) / 9) * 0.1).astype(np.float32)
    extract = FeatureExtractor(spec)
    np.testing.assert_allclose(extract(sound * np.float32(gain)), extract(sound), atol=1e-3, rtol=0)
    as_recorded = FeatureExtractor(replace(spec, level="as_recorded"))
    assert np.abs(as_recorded(sound * np.float32(gain)) - as_recorded(sound)).max() > 10


# The original's way of measuring


def test_the_originals_way_tests_on_what_it_learned_from(tmp_path):
    """Near-copies of nearly all its test clips were learned from; of the honest way's none."""
    plan = SimulationPlan(machines=1, sessions=3, recordings=2, snr_db=(6.0,), duration_s=1.0)
    fans = index(simulate(tmp_path / "fans", plan=plan, processes=1) / "manifest.csv", processes=1)
    sides = split(fans)
    spec = replace(spec_for(sides.train, "spectrum"), n_mels=16)
    recipe = replace(Recipe.spectrum(), epochs=2, settled=1, steps_at_least=1)
    original, honest = compare_protocols(fans, sides, spec, recipe, FeatureStore(tmp_path / "features"), processes=1)
    assert (original.protocol, honest.protocol) == ("original", "honest")
    assert original.near_copies > 0.9
    assert honest.near_copies == 0
    assert original.n == round(0.08 * 4 * sum(1 for _ in sides.sides()))
    assert (honest.n, honest.abnormal) == (len(sides.test), sum(e.label == "abnormal" for e in sides.test))
    for outcome in (original, honest):
        assert 0 <= outcome.accuracy <= 1
        assert outcome.always_normal == pytest.approx(1 - outcome.abnormal / outcome.n)
