"""The original project's way of measuring, beside an honest one: the same network, twice, so that the difference shows.

The original augmented every recording, then drew 8 % of the copies at random to test on, kept the epoch that was best
there, and reported that figure: nearly every test clip has a near-copy, its own recording, on the training side. Here
that is done once more, and then with sides that share no session, augmentation on the training side alone, and a
validation side that is not the test side.
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

# The original's share of clips to test on.
TEST_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """What one way of measuring says.

    Attributes:
        protocol: ``original`` or ``honest``.
        description: how it divides and chooses, in a sentence.
        n, abnormal: windows that were judged, and how many of them are of faults.
        near_copies: share of those whose own recording was learned from, in another copy.
        accuracy, macro_f1: of the most probable class, 0 to 1.
        auc: of the odds for a fault. It and the two before are NaN where only one class was judged.
        always_normal: the accuracy of always answering ``normal`` there.
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
        """Plain values, as serialised; ``says`` is the name that the description has there."""
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
    """Measure one recipe both ways, on the same recordings.

    Args:
        dataset: recordings with both labels.
        split: of them, for the honest way.
        spec: what the network hears.
        recipe: how it is fitted.
        store: where features go.
        processes: for those.
        report: told of every recording and epoch.

    Returns:
        The original's way, and the honest one.

    Raises:
        DatasetError: recordings that cannot be learned from.
    """
    entries = [entry for _, entry in split.sides()]
    features = store.extract(
        dataset, entries, spec, Augmentation.original(recipe.seed), processes=processes, report=report
    )
    names = ("normal", *sorted({_name(entry) for entry in entries} - {"normal"}))
    of = {entry.path: names.index(_name(entry)) for entry in entries}
    return (
        _original(entries, of, features, recipe, len(names), report),
        _honest(split, of, features, recipe, len(names), report),
    )


def _original(
    entries: Sequence[Entry],
    of: Mapping[str, int],
    features: StoredFeatures,
    recipe: Recipe,
    classes: int,
    report: ProgressCallback,
) -> ProtocolResult:
    every = _every_copy(make_clips(entries, of, features, augmented=True))
    order = np.random.Generator(np.random.PCG64(recipe.seed)).permutation(len(every))
    count = max(1, round(TEST_SHARE * len(every)))
    test, train = _some(every, order[:count]), _some(every, order[count:])
    windows = len(every) // (1 + features.copies)
    near = np.isin(order[:count] % windows, order[count:] % windows).mean()
    return _outcome(
        "original",
        "8 % of all augmented copies, drawn at random, both choose the epoch and are reported",
        recipe,
        (train, test, test),
        classes,
        float(near),
        report,
    )


def _honest(
    split: Split,
    of: Mapping[str, int],
    features: StoredFeatures,
    recipe: Recipe,
    classes: int,
    report: ProgressCallback,
) -> ProtocolResult:
    return _outcome(
        "honest",
        f"sides by {split.method}; only the training side is augmented; the validation side chooses the epoch",
        recipe,
        (
            _every_copy(make_clips(split.train, of, features, augmented=True)),
            make_clips(split.validation, of, features, augmented=False),
            make_clips(split.test, of, features, augmented=False),
        ),
        classes,
        0.0,
        report,
    )


def _outcome(
    protocol: str,
    says: str,
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
        says,
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
    """Every window in every variant as a clip of its own, as the original laid them out: variant by variant."""
    from ml.classifier.stream import Clips

    count = len(clips)
    return Clips(
        lambda index, _: clips.read(index % count, index // count), np.tile(clips.labels, clips.variants), variants=1
    )


def _some(clips: "Clips", chosen: NDArray[np.int64]) -> "Clips":
    from ml.classifier.stream import Clips

    return Clips(lambda index, variant: clips.read(int(chosen[index]), variant), clips.labels[chosen], variants=1)
