"""Stages of a classifier: features, fit of the network, final fit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml.dataset.entries import Entry
from ml.dataset.paths import features_folder
from ml.features.store import FeatureStore, StoredFeatures
from ml.training.classes import TrainingClasses
from ml.training.clips import make_clips
from ml.training.context import TrainingContext

if TYPE_CHECKING:
    from ml.classifier.fitting import FittedNetwork
    from ml.classifier.stream import Clips


def extract_features(context: TrainingContext) -> StoredFeatures:
    """Extract features of all sides, and augmented copies of the recordings that a network is fitted to.

    Raises:
        RecordingChanged: a recording is not the one that was indexed.
        StorageFull: the disk is full.
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


def fit_network(context: TrainingContext, classes: TrainingClasses, features: StoredFeatures) -> "FittedNetwork":
    """Fit the network to the training side; the validation side decides when to stop."""
    from ml.classifier.fitting import fit_network

    return fit_network(
        context.options.recipe,
        _clips(context.split.train, classes, features, augmented=True),
        _clips(context.split.validation, classes, features, augmented=False),
        len(classes.labels.classes),
        context.work / "fit.npz",
        report=context.report,
    )


def refit_network(
    context: TrainingContext, classes: TrainingClasses, features: StoredFeatures, measured: "FittedNetwork"
) -> "FittedNetwork":
    """Fit a new network to all sides, for the number of epochs that was best for the measured one."""
    from ml.classifier.fitting import refit_network

    return refit_network(
        context.options.recipe,
        _clips(context.final_side, classes, features, augmented=True),
        len(classes.labels.classes),
        measured.best_epoch,
        measured.temperature,
        context.work / "refit.npz",
        report=context.report,
    )


def _clips(entries: Sequence[Entry], classes: TrainingClasses, features: StoredFeatures, *, augmented: bool) -> "Clips":
    return make_clips(entries, classes.class_by_path, features, augmented=augmented)
