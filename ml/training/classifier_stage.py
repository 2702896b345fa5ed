"""The stages of a classifier: features of the recordings, and the fit of the network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml.dataset.entries import Entry
from ml.dataset.paths import features_folder
from ml.features.store import Features, FeatureStore
from ml.training.classes import Classes
from ml.training.clips import clips_of
from ml.training.context import TrainingContext

if TYPE_CHECKING:
    from ml.classifier.fitting import Fitted
    from ml.classifier.stream import Clips


def extract_features(context: TrainingContext) -> Features:
    """Features of every side, and augmented copies of the recordings that are learned from.

    Raises:
        RecordingChanged, StorageFull
    """
    options, store = context.options, FeatureStore(features_folder(context.home))
    entries = [entry for _, entry in context.split.sides()]
    if options.augmentation is not None and not options.refit:
        store.extract(context.dataset, entries, context.spec, processes=context.processes, report=context.report)
        entries = list(context.split.train)
    return store.extract(
        context.dataset,
        entries,
        context.spec,
        options.augmentation,
        processes=context.processes,
        report=context.report,
    )


def fit_network(context: TrainingContext, classes: Classes, features: Features) -> "Fitted":
    """Fit to the training side; the validation side decides when to stop."""
    from ml.classifier.fitting import fit

    return fit(
        context.options.recipe,
        _clips(context.split.train, classes, features, augmented=True),
        _clips(context.split.validation, classes, features, augmented=False),
        len(classes.labels.classes),
        context.work / "fit.npz",
        report=context.report,
    )


def refit_network(context: TrainingContext, classes: Classes, features: Features, measured: "Fitted") -> "Fitted":
    """Fit once more, to all sides, for as many epochs as were best for the measured network."""
    from ml.classifier.fitting import refit

    return refit(
        context.options.recipe,
        _clips(context.final_side, classes, features, augmented=True),
        len(classes.labels.classes),
        measured.best_epoch,
        measured.temperature,
        context.work / "refit.npz",
        report=context.report,
    )


def _clips(entries: Sequence[Entry], classes: Classes, features: Features, *, augmented: bool) -> "Clips":
    return clips_of(entries, classes.of, features, augmented=augmented)
