"""Training in stages, from recordings to a version in the registry.

::

    index      read each recording once                           ml.dataset.indexing
    split      training, validation and test side                 split_stage.py
    features   of all sides, on disk; classifier only             classifier_stage.py
    classes    fault names or fault groups; classifier only       classes.py
    fit        network, detector or both                          classifier_stage.py, detector_stage.py
    calibrate  thresholds from recordings not learned from        calibration.py
    evaluate   verdicts and figures of the test side              held_out_result.py
    final fit  network, detector or both, fitted to all sides     classifier_stage.py, detector_stage.py
    folds      cross-validation of the network over sessions      classifier_folds.py
    verdict    rate of detector and classifier together           whole_verdict.py
    publish    the served model, its records and its report       publication.py, report.py

An interrupted training continues from the index, the features and the checkpoints of the fits. The checkpoints are in
``<home>/training/.work-<key>``; the key is a hash of the recordings and the options. This folder is deleted when the
version and its records are complete. A training that is repeated then finds its version.
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
from ml.models.demonstration import DEMONSTRATION_NOTE
from ml.system.atomic import translate_disk_full
from ml.system.progress import Progress, ProgressCallback, cancellable, ignore_progress
from ml.training import records
from ml.training.calibration import calibrate, calibrate_served
from ml.training.candidate import FittedModel, candidate_predictor
from ml.training.classes import choose_classes, unlearned_notes
from ml.training.classifier_folds import cross_validate
from ml.training.classifier_stage import extract_features, fit_network, refit_network
from ml.training.context import TrainingContext
from ml.training.detector_stage import learn_detector, measure_abnormal
from ml.training.held_out_result import HeldOutResult
from ml.training.label_check import contradictions_note
from ml.training.options import TrainingOptions
from ml.training.publication import publish_candidate
from ml.training.served_result import ServedResult
from ml.training.split_stage import split_recordings
from ml.training.training_result import KEPT, LAST_STEP, RECORDS, TrainingResult, cache_key, find_existing, work_folder
from ml.training.whole_verdict import measure_whole_verdict

# Packages of the extra "train". They are imported only by the code that needs them.
PACKAGES = ("jinja2", "matplotlib", "sklearn", "tensorflow")


def train(
    options: TrainingOptions,
    home: Path,
    *,
    dataset: Dataset | None = None,
    notes: Sequence[str] = (),
    demonstration: bool = False,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a model and add it to the registry. It answers no uploads until it is promoted.

    If this home has a training of the same recordings with the same options, its result is returned.

    Args:
        options: recordings and choices.
        home: folder of features, checkpoints, records and models.
        dataset: the recordings, if they are indexed already. Then ``options.source`` is only their name, and
            ``options.snr_db`` states the selection. None indexes the source.
        notes: sentences for the card, for example about the recordings.
        demonstration: whether the model is a demonstration: its answers and its card state this.
        processes: number of processes for reading and features; None chooses it from the cores and the recordings.
        report: called after each recording and each epoch.
        cancelled: called before each report; True stops the training.

    Raises:
        InvalidName: the options have no model name.
        DatasetError: no model can be trained on these recordings.
        AudioError: a recording can no longer be decoded; the message has its path.
        InvalidParameter: the options contradict the recordings.
        StorageFull: the disk is full.
        Cancelled: the training was stopped.
        MissingExtra: TensorFlow or another package of the extra "train" is not installed.
    """
    require_packages()
    _ = options.model_name  # a missing name is refused now, and not after the fits
    started, report = time.monotonic(), cancellable(report, cancelled)
    if dataset is None:
        cache = index_cache_file(home)
        dataset = index(options.source, snr_db=options.snr_db, cache=cache, processes=processes, report=report)
    split = split_recordings(dataset, options)
    notes = (*notes, *contradictions_note(dataset))
    spec = spec_for(
        split.train,
        options.training_kind,
        main_channel=options.main_channel,
        reference_channel=options.reference_channel,
    )
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
            notes=(DEMONSTRATION_NOTE, *notes) if demonstration else notes,
            demonstration=demonstration,
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
        served, folds = measured, None
        if options.refit:
            if features is not None and network is not None:
                network = refit_network(context, classes, features, network)
                folds = cross_validate(context, classes, features, network)
            detector = learn_detector(context, context.final_side) if context.has_detector else None
            served = FittedModel(classes.labels, network, detector)
        abnormal = [] if detector is None else measure_abnormal(context, detector, split.entries())
        served, thresholds = measure_whole_verdict(context, served, thresholds, folds)
        thresholds = calibrate_served(context, served, thresholds, result, abnormal, folds)
        outlook = ServedResult.of(context, served, thresholds, result, abnormal, folds)
        version = publish_candidate(context, classes, measured, served, thresholds, result, abnormal, outlook, key)
        folder = records.move_records(work / RECORDS, home, version)
    return TrainingResult.of(version, folder, split, result, classes.unlearned, outlook.expectations)


def require_packages() -> None:
    """Check that the packages of the extra "train" are installed.

    Raises:
        MissingExtra: TensorFlow or another package that training needs is not installed.
    """
    if not all(find_spec(package) for package in PACKAGES):
        raise MissingExtra("Training a model", "train")
