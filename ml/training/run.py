"""From recordings to a candidate model, step by step: a version in the registry at the end, or nothing.

What can be gone on with after a kill is kept on the way: the index, the features, and the fits' checkpoints in
``<home>/training/.work-<key>``, where the key stands for these recordings and these options. They go when the version
and its records are there, and from then on the same training is not done again: it is found.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.paths import features_folder, index_cache
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
from ml.detectors.detector import Detector, Novelty
from ml.detectors.thresholds import at_rate
from ml.errors import MissingExtra
from ml.features.feature_specs import spec_for
from ml.features.spec import FeatureSpec
from ml.features.store import Features, FeatureStore
from ml.models.bundle import Bundle, Content, Decision, GoldenClip, Naming
from ml.models.golden import golden_clip
from ml.models.predictor import Predictor
from ml.models.publishing import publish
from ml.models.registry import Registry
from ml.models.thresholds import decision_at
from ml.system.atomic import full_disk_named
from ml.system.progress import Progress, Report, cancellable, silent
from ml.training import records
from ml.training.card import card_of, detector_facts
from ml.training.classes import classes_for, not_learned, require_both, require_names
from ml.training.deciding import EVEN, measured, threshold_from
from ml.training.detecting import farthest
from ml.training.detector_run import run_detector
from ml.training.operating import operating_points
from ml.training.options import Options
from ml.training.report import report_facts
from ml.training.scene import Measured, Scene
from ml.training.trained import (
    KEPT,
    LAST_STEP,
    RECORDS,
    Trained,
    found_again,
    made_from,
    work_folder,
    write_records,
)

if TYPE_CHECKING:
    from ml.classifier.fitting import Fitted

# Of the extra "train", as they are imported later.
PACKAGES = ("jinja2", "matplotlib", "sklearn", "tensorflow")


def run(
    options: Options,
    home: Path,
    *,
    dataset: Dataset | None = None,
    notes: Sequence[str] = (),
    processes: int | None = None,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a model and add it to the registry; it answers nobody until it is promoted.

    What was trained in this home from the same recordings in the same way is found again, and nothing is fitted.

    Args:
        options: what to train on, and how.
        home: where features, checkpoints, records and models are.
        dataset: the recordings, where they are indexed already: ``options.source`` then only names them, and
            ``options.snr_db`` says what was taken. None indexes the source.
        notes: what the card shall say besides (that the recordings are simulated, for one).
        processes: for reading and features; None decides by cores and recordings.
        report: told after every recording and every epoch.
        cancelled: asked before each of those; True stops the work.

    Raises:
        DatasetError: the recordings cannot be learned from.
        InvalidParameter: options that contradict the recordings.
        StorageFull: no room for the features.
        Cancelled: as was asked.
        MissingExtra: TensorFlow or scikit-learn is not installed.
    """
    require_packages()
    started, report = time.monotonic(), cancellable(report, cancelled)
    if dataset is None:
        cache = index_cache(home)
        dataset = index(options.source, snr_db=options.snr_db, cache=cache, processes=processes, report=report)
    if options.learn == "detector":
        return run_detector(options, home, dataset, notes, processes, report)
    require_both(dataset)
    require_names(dataset)
    sides = split(dataset, method=options.split, held_out=options.held_out, seed=options.seed)
    spec = spec_for(sides.train, options.kind)
    facts = made_from(dataset, spec, options)
    with full_disk_named(home, KEPT), work_folder(home, facts) as work:
        if (before := found_again(home, facts, sides)) is not None:
            report(Progress(LAST_STEP, 1, 1, f"{before.version}, trained before"))
            return before
        features = _features(dataset, sides, spec, options, home, processes, report)
        classes = classes_for(dataset, sides, features, options)
        scene = Scene(options, dataset, sides, features, classes, work, processes, report)
        found = _measure(scene)
        version = _published(scene, found, facts, home, notes, started)
        folder = records.keep(work / RECORDS, home, version)
    return Trained.of(version, folder, sides, found.tested, classes.unlearned)


def require_packages() -> None:
    """Say what is missing before anything long is begun.

    Raises:
        MissingExtra: TensorFlow or another package that training needs is not installed.
    """
    if not all(find_spec(package) for package in PACKAGES):
        raise MissingExtra("Training a model", "train")


def _features(
    dataset: Dataset,
    sides: Split,
    spec: FeatureSpec,
    options: Options,
    home: Path,
    processes: int | None,
    report: Report,
) -> Features:
    """Features of every side, and augmented copies of those that are learned from."""
    store = FeatureStore(features_folder(home))
    every = [entry for _, entry in sides.sides()]
    if options.augmentation is not None and not options.refit:
        store.extract(dataset, every, spec, processes=processes, report=report)
        every = list(sides.train)
    return store.extract(dataset, every, spec, options.augmentation, processes=processes, report=report)


def _measure(scene: Scene) -> Measured:
    """Fit to the training side, decide by the validation side, and measure on the test side."""
    from ml.classifier.fitting import fit

    split, classes, options = scene.split, scene.classes, scene.options
    fitted = fit(
        options.recipe,
        scene.clips(split.train, augmented=True),
        scene.clips(split.validation, augmented=False),
        len(classes.labels.classes),
        scene.work / "fit.npz",
        report=scene.report,
    )
    predictor = _candidate(scene, fitted, Decision(EVEN, None, ""))
    validated = scene.judge(predictor, [entry for entry in split.validation if entry.label == NORMAL])
    threshold, basis = threshold_from([each.score for each in validated], options.false_alarm_rate)
    learned, own = (*split.train, *split.validation), Decision(threshold, None, basis)
    detector = scene.detector(learned)
    faults = [] if detector is None else scene.detecting.faults(detector, learned)
    predictor = _candidate(scene, fitted, *_decisions(scene, own, detector, faults), detector)
    tested = scene.tested(predictor).noting(not_learned(classes.unlearned))
    healthy = [each.score for each in tested.judged if each.entry.label == NORMAL]
    # Beside a detector these scores are the detector's, and say nothing of the classifier's threshold.
    decision = measured(threshold, basis, healthy) if detector is None else own
    return Measured(fitted, decision, tested, detector)


def _decisions(
    scene: Scene, own: Decision, detector: Detector | None, faults: Iterable[tuple[Entry, Novelty]]
) -> tuple[Decision, Naming | None]:
    """The threshold on the score, and beside a detector what it takes to name one of the faults that were learned."""
    if detector is None:
        return own, None
    naming = Naming(own.threshold, own.basis, farthest(faults))
    return decision_at(at_rate(detector.calibration, scene.options.false_alarm_rate)), naming


def _candidate(
    scene: Scene, fitted: "Fitted", decision: Decision, naming: Naming | None = None, detector: Detector | None = None
) -> Predictor:
    """The model as it would serve, before it is a version."""
    from ml.classifier.network import export

    _, litert = export(fitted.model, scene.work, [])
    golden = GoldenClip(golden_clip(), ())
    content = Content(scene.features.spec, scene.classes.labels, decision, {}, litert, golden, detector, naming)
    return Predictor(Bundle("candidate", "", content))


def _served(scene: Scene, found: Measured) -> "Fitted":
    """The network that goes into the bundle: the one that was measured, or one fitted once more to all recordings."""
    from ml.classifier.fitting import refit

    if not scene.options.refit:
        return found.fitted
    split = scene.split
    return refit(
        scene.options.recipe,
        scene.clips((*split.train, *split.validation, *split.test), augmented=True),
        len(scene.classes.labels.classes),
        found.fitted.best_epoch,
        found.fitted.temperature,
        scene.work / "refit.npz",
        report=scene.report,
    )


def _published(
    scene: Scene, found: Measured, facts: Mapping[str, Any], home: Path, notes: Sequence[str], started: float
) -> str:
    """The version, in the registry; its records lie ready in the work folder."""
    fitted = _served(scene, found)
    split = scene.split
    detector, learned = found.detector, (*split.train, *split.validation)
    if scene.options.refit:
        learned = (*learned, *split.test)
        detector = scene.detector(learned)
    faults, about = [], None
    if detector is not None:
        faults = scene.detecting.faults(detector, [entry for _, entry in split.sides()])
        about = detector_facts(detector) | {"operating": operating_points(detector, faults, scene.options.seed)}
    paths = {entry.path for entry in learned}
    of_learned = [(entry, novelty) for entry, novelty in faults if entry.path in paths]
    decision, naming = _decisions(scene, found.decision, detector, of_learned)
    card = card_of(scene, found, about, notes, time.monotonic() - started)
    scene.report(Progress(LAST_STEP, 0, 1))

    def before_add(version: str) -> None:
        """Whatever may fail or be cancelled comes before the version is there; only renames come after."""
        shown = report_facts(scene, found, version, card, notes)
        then_learned = split.test if scene.options.refit else ()
        write_records(scene.work, split, found.tested, facts, shown, learned=then_learned)
        scene.report(Progress(LAST_STEP, 1, 1, version))

    return publish(
        fitted.model,
        name=scene.options.name,
        spec=scene.features.spec,
        labels=scene.classes.labels,
        decision=decision,
        card=card,
        registry=Registry(home),
        detector=detector,
        naming=naming,
        before_add=before_add,
    )
