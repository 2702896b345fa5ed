"""Comparison of the original's protocol with a split that does not leak."""

from dataclasses import replace

import pytest

from ml.classifier.recipe import Recipe
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.dataset.splitting.methods import split
from ml.experiments.original_protocol import compare_protocols
from ml.features.feature_specs import spec_for
from ml.features.store import FeatureStore


def test_the_original_protocol_tests_on_copies_of_training_clips(tmp_path):
    """Nearly all its test clips have near-copies among the training clips; the honest protocol's have none."""
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
