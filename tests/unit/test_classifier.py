"""The classifier networks: layers, the clips they get, and fits that can be repeated and resumed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ml.classifier import fitting, network
from ml.classifier.fitting import fit_network, predict_probabilities, refit_network
from ml.classifier.litert import LiteRTNetwork
from ml.classifier.network import Scaling
from ml.classifier.recipe import LARGEST_BATCH, NetworkSpec, Recipe
from ml.classifier.stream import Clips, sequential_batches, shuffled_batches
from ml.errors import Cancelled, InvalidParameter, ModelError, OneClassOnly
from ml.models.keras_archive import LAYERS
from ml.system.progress import ignore_progress

ROWS, FRAMES, CLASSES = 16, 12, 3
# Everything that a checkpoint restores: convolutions, two dropouts, a scaling, and a best epoch before the last.
SMALL = NetworkSpec(scale=True, filters=(4,), average="frames", hidden=(8,), dropout=0.3)
RECIPE = Recipe(network=SMALL, epochs=7, patience=7, batch=8, learning_rate=0.01, steps_at_least=4, seed=1)
SPECS = [
    NetworkSpec.original(),
    NetworkSpec.spectrum(),
    SMALL,
    NetworkSpec(scale=False, filters=(3, 5), average="frames", hidden=(7, 6), kernel=3, pool=2, dropout=0.0),
    NetworkSpec(scale=True, filters=(2,), average="all", hidden=(4,), kernel=1, pool=3),
    NetworkSpec(scale=False, filters=(), average="all", hidden=()),
]


def clips(count=20, seed=0, variants=3, shift=4.0):
    """Noise with a louder row per class; the variants have other noise."""
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    features = rng.normal(-40, 2, (count, variants, ROWS, FRAMES)).astype(np.float32)
    features[np.arange(count), :, 3 * labels] += shift
    return Clips(lambda clip, variant: features[clip, variant], labels, variants)


def numbered(count, variants=1):
    """Clips with their number as content: 100 x clip + variant."""
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    return Clips(lambda clip, variant: np.full((1, 2), 100 * clip + variant, np.float32), labels, variants)


def fitted(folder, recipe=RECIPE, report=ignore_progress, train=None):
    validation = clips(9, seed=1, variants=1, shift=1.0)
    return fit_network(recipe, train or clips(), validation, CLASSES, folder / "fit.npz", report=report)


def again(folder, recipe=RECIPE, report=ignore_progress):
    folder.mkdir(exist_ok=True)
    return refit_network(recipe, clips(), CLASSES, 5, 1.7, folder / "refit.npz", report=report)


def stopped_after(epoch):
    """A report that cancels the fit after an epoch."""

    def report(progress):
        if progress.done == epoch:
            raise Cancelled("The power failed.")

    return report


def same_weights(one, other):
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def losses(result):
    return [(past.epoch, past.loss, past.accuracy, past.validation_loss) for past in result.history]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("undisturbed"))


# Fitting


def test_the_same_recipe_and_clips_give_the_same_weights(undisturbed, tmp_path):
    """Weights, losses, best epoch and temperature are equal to the bit."""
    second = fitted(tmp_path)
    assert same_weights(undisturbed, second)
    assert losses(undisturbed) == losses(second)
    assert (undisturbed.best_epoch, undisturbed.temperature) == (second.best_epoch, second.temperature)
    assert second.resumed_after == 0


def test_a_checkpoint_of_another_seed_is_not_resumed(undisturbed, tmp_path, monkeypatch):
    """A fit beside a checkpoint of another recipe starts anew and ends as without it."""
    monkeypatch.setattr(fitting, "SAVED_EVERY_S", 0)
    assert not same_weights(undisturbed, fitted(tmp_path, replace(RECIPE, seed=6)))
    assert (tmp_path / "fit.npz").exists()
    begun = fitted(tmp_path)
    assert begun.resumed_after == 0
    assert same_weights(undisturbed, begun)


def test_an_interrupted_fit_ends_as_an_uninterrupted_one(undisturbed, tmp_path, monkeypatch):
    """Resumed from its checkpoint, it has the same weights to the bit, losses, best epoch and temperature."""
    monkeypatch.setattr(fitting, "SAVED_EVERY_S", 0)
    with pytest.raises(Cancelled):
        fitted(tmp_path, report=stopped_after(3))
    resumed = fitted(tmp_path)
    assert resumed.resumed_after == 3
    assert same_weights(undisturbed, resumed)
    assert losses(undisturbed) == losses(resumed)
    assert (undisturbed.best_epoch, undisturbed.temperature) == (resumed.best_epoch, resumed.temperature)
    after_the_last = fitted(tmp_path)
    assert after_the_last.resumed_after == RECIPE.epochs
    assert same_weights(undisturbed, after_the_last), "the best epoch's weights are in the checkpoint too"


def test_an_interrupted_refit_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    """A refit takes the given number of epochs and temperature, and keeps the last weights."""
    whole = again(tmp_path / "whole")
    monkeypatch.setattr(fitting, "SAVED_EVERY_S", 0)
    with pytest.raises(Cancelled):
        again(tmp_path, report=stopped_after(3))
    resumed = again(tmp_path)
    assert (whole.resumed_after, resumed.resumed_after) == (0, 3)
    assert same_weights(whole, resumed)
    assert losses(whole) == losses(resumed)
    assert (resumed.best_epoch, resumed.temperature, len(resumed.history)) == (5, 1.7, 5)


def test_the_best_epoch_is_the_one_of_the_lowest_validation_loss(undisturbed):
    """If the recipe settles at once, the best epoch is the best of all."""
    assert undisturbed.best_epoch == min(undisturbed.history, key=lambda past: past.validation_loss).epoch


def test_fitting_stops_where_patience_ends(tmp_path):
    """Fitting stops ``patience`` epochs after the best; epochs before the recipe settles cannot be the best."""
    found = fitted(tmp_path, replace(RECIPE, epochs=40, patience=3, settled=6), train=clips(shift=0.0))
    assert len(found.history) == found.best_epoch + 3 < 40
    settled = found.history[5:]
    assert found.best_epoch == min(settled, key=lambda past: past.validation_loss).epoch


def test_separable_classes_are_learned(tmp_path):
    """Clips that differ by a louder row are classified correctly, and probabilities sum to one."""
    easy = clips(30, shift=12.0)
    recipe = Recipe(network=NetworkSpec.spectrum(), epochs=12, patience=12, batch=8, learning_rate=0.01)
    model = fit_network(recipe, easy, clips(9, seed=1, variants=1, shift=12.0), CLASSES, tmp_path / "fit.npz").model
    unseen = clips(15, seed=2, variants=1, shift=12.0)
    probabilities = predict_probabilities(model, unseen, batch=4)
    assert (probabilities.argmax(axis=1) == unseen.labels).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_class_without_clips_is_refused(tmp_path):
    """The message has the number of clips of each class."""
    with pytest.raises(OneClassOnly, match=r"\[7, 7, 6, 0\]"):
        fit_network(RECIPE, clips(), clips(9), 4, tmp_path / "fit.npz")


# Clips that the network gets


def read_pass(train, batch=4, seed=1, first_pass=0, passes=1):
    """Clip and variant of everything that was streamed, in order; features and labels must match."""
    steps = passes * math.ceil(len(train) / batch)
    batches = list(shuffled_batches(train, batch, np.array([1.0, 2.0, 3.0]), seed, first_pass).take(steps))
    numbers = np.concatenate([features.numpy()[:, 0, 0, 0] for features, _, _ in batches]).astype(int)
    labels, weights = (np.concatenate([b[i].numpy() for b in batches]) for i in (1, 2))
    indices, variants = np.divmod(numbers, 100)
    assert (labels == train.labels[indices]).all()
    assert (weights == labels + 1).all()
    return indices.tolist(), variants.tolist()


def test_every_clip_is_read_once_in_a_pass():
    """The last clips, which fill no batch, are read too."""
    indices, _ = read_pass(numbered(11), passes=3)
    for number in range(3):
        assert sorted(indices[11 * number : 11 * (number + 1)]) == list(range(11))
    assert indices[:11] != indices[11:22] != list(range(11))


def test_the_order_depends_on_seed_and_pass_only():
    """A stream that begins at a later pass continues like one that reached it; another seed gives another order."""
    train = numbered(11, variants=4)
    indices, variants = read_pass(train, passes=3)
    assert read_pass(train, first_pass=2) == (indices[22:], variants[22:])
    assert read_pass(train, batch=5) == (indices[:11], variants[:11])
    assert read_pass(train, seed=2) != (indices[:11], variants[:11])


def test_variants_are_drawn_equally_often():
    """The recording and each of its copies are drawn about equally often."""
    _, variants = read_pass(numbered(90, variants=4), batch=32, passes=4)
    assert np.bincount(variants).tolist() == pytest.approx([90] * 4, abs=35)


def test_sequential_batches_have_every_clip_in_order():
    """Each clip comes once, without copies, with weight 1."""
    batches = list(sequential_batches(numbered(7, variants=3), batch=3))
    assert [len(labels) for _, labels, _ in batches] == [3, 3, 1]
    assert np.concatenate([b[0].numpy()[:, 0, 0, 0] for b in batches]).tolist() == [100.0 * i for i in range(7)]
    assert np.concatenate([b[1].numpy() for b in batches]).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert all((weights.numpy() == 1).all() for _, _, weights in batches)


# Layers


def test_the_originals_network_has_the_originals_shapes():
    """The shapes are those of the published weights, for 40 coefficients, 433 frames and 4 classes."""
    shapes = NetworkSpec.original().weight_shapes((40, 433), 4)
    assert shapes == ((2, 2, 1, 16), (16,), (2, 2, 16, 32), (32,), (2, 2, 32, 64), (64,), (64, 4), (4,))


@pytest.mark.parametrize("shape", [(40, 45), (33, 31)])
@pytest.mark.parametrize("spec", SPECS)
def test_weight_shapes_are_those_of_keras(spec, shape):
    """Every layer is one that a bundle may have."""
    model = network.build(spec, shape, 4, Scaling(-40.0, 5.0) if spec.scale else None)
    assert tuple(weight.shape for weight in model.get_weights()) == spec.weight_shapes(shape, 4)
    assert {type(layer).__name__ for layer in model.layers} <= LAYERS
    assert model.output_shape == (None, 4)


def test_layers_that_do_not_fit_are_refused():
    """4 rows cannot be halved three times."""
    with pytest.raises(InvalidParameter, match="do not fit an input of 4 x 12"):
        network.build(NetworkSpec.original(), (4, 12), 3)


@pytest.mark.parametrize(
    "change", [{"filters": (0,)}, {"hidden": (0,)}, {"kernel": 0}, {"pool": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_a_network_spec_out_of_range_is_refused(change):
    """Sizes below 1 and dropouts outside 0 to 1 are refused."""
    with pytest.raises(InvalidParameter, match="size below 1, or a dropout"):
        replace(SMALL, **change)


def test_exported_networks_answer_as_keras_does(undisturbed, tmp_path):
    """The LiteRT file and the archive give Keras's output for clips that were not fitted."""
    import keras

    some = clips(4, seed=3, variants=1)
    probes = [some.read(i, 0)[None, ..., None] for i in range(4)]
    archive, content = network.export(undisturbed.model, tmp_path, probes)
    litert, stored = LiteRTNetwork(content), keras.saving.load_model(archive, compile=False)
    assert (litert.input_shape, litert.classes) == ((1, ROWS, FRAMES, 1), CLASSES)
    for probe in probes:
        np.testing.assert_allclose(litert(probe), undisturbed.model(probe, training=False)[0], atol=1e-5)
        np.testing.assert_array_equal(stored(probe, training=False), undisturbed.model(probe, training=False))
    assert [file.name for file in tmp_path.iterdir()] == [archive.name]


def test_an_export_that_differs_is_refused(undisturbed, tmp_path, monkeypatch):
    """An export that gives NaN is refused too."""
    probe = np.zeros((1, ROWS, FRAMES, 1), np.float32)
    with pytest.raises(ModelError, match="differs"):
        network.export(undisturbed.model, tmp_path, [np.full_like(probe, np.nan)])
    monkeypatch.setattr(network, "EXPORT_TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from the Keras network"):
        network.export(undisturbed.model, tmp_path, [probe])


# Recipes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"settled": 0}, "settled is 0"),
        ({"steps_at_least": 0}, "steps_at_least is 0"),
        ({"batch": LARGEST_BATCH + 1}, "batch is 4097"),
        ({"settled": 8}, "settled is 8.* the number of epochs, 7"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": 2.0}, "learning_rate is 2.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_an_invalid_recipe_is_refused(change, message):
    """The message has the name of the value and the value."""
    with pytest.raises(InvalidParameter, match=message):
        replace(RECIPE, **change)


@pytest.mark.parametrize(
    ("clip_count", "batch", "steps", "passes"),
    [(160, 16, 50, 5), (800, 16, 50, 1), (10_000, 16, 50, 1), (3, 16, 50, 50)],
)
def test_few_clips_are_read_several_times(clip_count, batch, steps, passes):
    """The number of passes gives at least the required steps."""
    assert replace(RECIPE, batch=batch, steps_at_least=steps).passes(clip_count) == passes


def test_a_shortened_recipe_may_still_have_a_best_epoch():
    """If there are fewer epochs than the recipe settles after, the last may be the best."""
    short = Recipe.spectrum().with_epochs(3)
    assert (short.epochs, short.settled) == (3, 3)
    assert Recipe.spectrum().with_epochs(60) == Recipe.spectrum()
