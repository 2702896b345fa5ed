"""From recordings to a candidate model, stage by stage: a version in the registry at the end, or nothing.

::

    index      the recordings, each read once                  ml.dataset.indexing
    split      training, validation and test side              split_stage.py
    features   of every side, on disk                          classifier_stage.py
    groups     the classes of a classifier                     classes.py
    fit        network and detector                            classifier_stage.py, detector_stage.py
    calibrate  thresholds, from recordings not learned from    calibration.py
    evaluate   on the test side                                held_out_result.py
    publish    the model that is served, and its records       publication.py
    report     everything to look at                           report.py

A detector, a classifier or both take the stages that they need. What an interrupted training can continue from is kept
on the way: the index, the features, and the fits' checkpoints in ``<home>/training/.work-<key>``, where the key stands
for these recordings and these options. The work folder goes when the version and its records are there; from then on
the same training is not done again but found.
"""

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache_file
from ml.errors import MissingExtra
from ml.features.feature_specs import spec_for
from ml.system.atomic import translate_disk_full
from ml.system.progress import Progress, ProgressCallback, cancellable, ignore_progress
from ml.training import records
from ml.training.calibration import calibrate, calibrate_served
from ml.training.candidate import FittedModel, candidate_predictor
from ml.training.classes import choose_classes, unlearned_notes
from ml.training.classifier_stage import extract_features, fit_network, refit_network
from ml.training.context import TrainingContext
from ml.training.detector_stage import learn_detector, measure_abnormal
from ml.training.held_out_result import HeldOutResult
from ml.training.options import TrainingOptions
from ml.training.publication import publish_candidate
from ml.training.split_stage import split_recordings
from ml.training.training_result import KEPT, LAST_STEP, RECORDS, TrainingResult, cache_key, find_existing, work_folder

# Of the extra "train"; they are imported later, where they are needed.
PACKAGES = ("jinja2", "matplotlib", "sklearn", "tensorflow")


def train(
    options: TrainingOptions,
    home: Path,
    *,
    dataset: Dataset | None = None,
    notes: Sequence[str] = (),
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a model and add it to the registry; it answers no uploads until it is promoted.

    A training of the same recordings with the same options in this home is found again, and nothing is fitted.

    Args:
        options: what to train on, and how.
        home: where features, checkpoints, records and models are.
        dataset: the recordings, where they are indexed already: ``options.source`` then only names them, and
            ``options.snr_db`` says what was taken. None indexes the source.
        notes: sentences for the card (that the recordings are simulated, for one).
        processes: for reading and features; None decides by cores and recordings.
        report: told after every recording and every epoch.
        cancelled: asked before each of those; True stops the work.

    Raises:
        DatasetError: the recordings cannot be learned from.
        InvalidParameter: options that contradict the recordings.
        StorageFull: no room for the features.
        Cancelled: the work was stopped.
        MissingExtra: TensorFlow or scikit-learn is not installed.
    """
    require_packages()
    started, report = time.monotonic(), cancellable(report, cancelled)
    if dataset is None:
        cache = index_cache_file(home)
        dataset = index(options.source, snr_db=options.snr_db, cache=cache, processes=processes, report=report)
    split = split_recordings(dataset, options)
    spec = spec_for(split.train, options.training_kind)
    key = cache_key(dataset, spec, options)
    with translate_disk_full(home, KEPT), work_folder(home, key) as work:
        existing = find_existing(home, key, split)
        if existing is not None:
            report(Progress(LAST_STEP, 1, 1, f"{existing.version}, trained before"))
            return existing
        context = TrainingContext(
            options=options,
            home=home,
            dataset=dataset,
            split=split,
            spec=spec,
            work=work,
            notes=notes,
            processes=processes,
            report=report,
            started=started,
        )
        features = extract_features(context) if context.has_classifier else None
        classes = choose_classes(dataset, split, features, options)
        network = None if features is None else fit_network(context, classes, features)
        detector = learn_detector(context, context.development_side) if context.has_detector else None
        measured = FittedModel(classes.labels, network, detector)
        thresholds = calibrate(context, measured)
        result = HeldOutResult.judge(candidate_predictor(context, measured, thresholds), context)
        result = result.with_notes(unlearned_notes(classes.unlearned))
        served = measured
        if options.refit:
            network = (
                None if features is None or network is None else refit_network(context, classes, features, network)
            )
            detector = learn_detector(context, context.final_side) if context.has_detector else None
            served = FittedModel(classes.labels, network, detector)
        abnormal = [] if detector is None else measure_abnormal(context, detector, split.entries())
        thresholds = calibrate_served(context, served, thresholds, result, abnormal)
        version = publish_candidate(context, classes, measured, served, thresholds, result, abnormal, key)
        folder = records.move_records(work / RECORDS, home, version)
    return TrainingResult.of(version, folder, split, result, classes.unlearned)


def require_packages() -> None:
    """Say what is missing before anything long is begun.

    Raises:
        MissingExtra: TensorFlow or another package that training needs is not installed.
    """
    if not all(find_spec(package) for package in PACKAGES):
        raise MissingExtra("Training a model", "train")
