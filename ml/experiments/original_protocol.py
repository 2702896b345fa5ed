"""Comparison of the original project's way of measuring with an honest one, for the same network.

The original augmented every recording and drew 8 % of the copies at random as the test side. It kept the epoch that was
best there and reported its figure. For nearly every test clip, another copy of its recording is on the training side.

The honest way uses sides that share no session. Only the training side is augmented, and the validation side is not the
test side.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.classifier.recipe import Recipe
from ml.dataset.entries import Dataset, Entry
from ml.dataset.splitting.sides import Split
from ml.evaluation.metrics import Ranking, auc, class_figures
from ml.features.augmentation import Augmentation
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore, StoredFeatures
from ml.system.progress import ProgressCallback, ignore_progress
from ml.training.clips import make_clips

if TYPE_CHECKING:
    from ml.classifier.stream import Clips

# Share of clips on the original project's test side.
TEST_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """Figures of one way of measuring.

    Attributes:
        protocol: ``original`` or ``honest``.
        description: split and choice of the epoch, in a sentence.
        n, abnormal: number of test clips, and of abnormal ones among them.
        near_copies: share of test clips with another copy on the training side, 0 to 1.
        accuracy, macro_f1: figures of the most probable class, 0 to 1; NaN if only one class was tested.
        auc: AUC of the odds of a fault; NaN if only one class was tested.
        always_normal: accuracy of always answering ``normal``.
    """

    protocol: str
    description: str
    n: int
    abnormal: int
    near_copies: float
    accuracy: float
    macro_f1: float
    auc: float
    always_normal: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values. The description has the name ``says`` there."""
        return {("says" if name == "description" else name): value for name, value in asdict(self).items()}


def compare_protocols(
    dataset: Dataset,
    split: Split,
    spec: FeatureSpec,
    recipe: Recipe,
    store: FeatureStore,
    *,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> tuple[ProtocolResult, ProtocolResult]:
    """Measure one recipe in both ways, on the same recordings.

    Args:
        dataset: recordings of both labels.
        split: split for the honest way.
        spec: feature spec of the network.
        recipe: recipe of the fit.
        store: store for the features.
        processes: number of processes for the features; None chooses it from the cores and the recordings.
        report: called after each recording and each epoch.

    Returns:
        Results of the original and of the honest way.

    Raises:
        DatasetError: no network can be trained on these recordings.
    """
    entries = [entry for _, entry in split.sides()]
    features = store.extract(
        dataset, entries, spec, Augmentation.original(recipe.seed), processes=processes, report=report
    )
    names = ("normal", *sorted({_name(entry) for entry in entries} - {"normal"}))
    class_by_path = {entry.path: names.index(_name(entry)) for entry in entries}
    return (
        _original(entries, class_by_path, features, recipe, len(names), report),
        _honest(split, class_by_path, features, recipe, len(names), report),
    )


def _original(
    entries: Sequence[Entry],
    class_by_path: Mapping[str, int],
    features: StoredFeatures,
    recipe: Recipe,
    classes: int,
    report: ProgressCallback,
) -> ProtocolResult:
    every = _every_copy(make_clips(entries, class_by_path, features, augmented=True))
    order = np.random.Generator(np.random.PCG64(recipe.seed)).permutation(len(every))
    count = max(1, round(TEST_SHARE * len(every)))
    test, train = _some(every, order[:count]), _some(every, order[count:])
    clips = len(every) // (1 + features.copies)
    near = np.isin(order[:count] % clips, order[count:] % clips).mean()
    return _measure(
        "original",
        "the test side is 8 % of all augmented copies, drawn at random; it also chooses the epoch",
        recipe,
        (train, test, test),
        classes,
        float(near),
        report,
    )


def _honest(
    split: Split,
    class_by_path: Mapping[str, int],
    features: StoredFeatures,
    recipe: Recipe,
    classes: int,
    report: ProgressCallback,
) -> ProtocolResult:
    return _measure(
        "honest",
        f"split by {split.method}; only the training side is augmented; the validation side chooses the epoch",
        recipe,
        (
            _every_copy(make_clips(split.train, class_by_path, features, augmented=True)),
            make_clips(split.validation, class_by_path, features, augmented=False),
            make_clips(split.test, class_by_path, features, augmented=False),
        ),
        classes,
        0.0,
        report,
    )


def _measure(
    protocol: str,
    description: str,
    recipe: Recipe,
    sides: tuple["Clips", "Clips", "Clips"],
    classes: int,
    near_copies: float,
    report: ProgressCallback,
) -> ProtocolResult:
    from ml.classifier.fitting import fit_network, predict_probabilities

    train, validation, test = sides
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_network(recipe, train, validation, classes, Path(folder) / "fit.npz", report=report)
    probabilities, truth = predict_probabilities(fitted.model, test), test.labels
    odds = probabilities[:, 1:].max(axis=1) / np.maximum(probabilities[:, 0], np.finfo(np.float32).tiny)
    weights = np.ones((1, len(truth)))
    accuracy, _, macro_f1 = class_figures(truth.astype(np.int64), probabilities.argmax(axis=1), classes, weights)[0]
    return ProtocolResult(
        protocol,
        description,
        len(truth),
        int((truth > 0).sum()),
        near_copies,
        float(accuracy),
        float(macro_f1),
        float(auc(*Ranking(odds.astype(np.float64), truth > 0).roc(weights))[0]),
        float((truth == 0).mean()),
    )


def _name(entry: Entry) -> str:
    return entry.annotation.fault or entry.label


def _every_copy(clips: "Clips") -> "Clips":
    """Return every variant of every clip as a separate clip, variant by variant as in the original."""
    from ml.classifier.stream import Clips

    count = len(clips)
    return Clips(
        lambda index, _: clips.read(index % count, index // count), np.tile(clips.labels, clips.variants), variants=1
    )


def _some(clips: "Clips", chosen: NDArray[np.int64]) -> "Clips":
    from ml.classifier.stream import Clips

    return Clips(lambda index, variant: clips.read(int(chosen[index]), variant), clips.labels[chosen], variants=1)
