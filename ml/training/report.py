"""Content of a training's report: facts from its stages, and exemplars."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.dataset.summary import summarise
from ml.evaluation.judged import JudgedRecording
from ml.reports.facts import Exemplar, ReportFacts
from ml.training.candidate import FittedModel, Thresholds
from ml.training.card import split_summary
from ml.training.classes import TrainingClasses
from ml.training.context import TrainingContext
from ml.training.held_out_result import HeldOutResult
from ml.training.reference_report import describe_reference
from ml.training.served_result import ScoredRecording, ServedResult

EXEMPLARS_PER_GROUP = 2
WRONG_EXEMPLARS = 3  # missed recordings, and false alarms
REFITTED_NETWORK = (
    "The figures of the section Evaluation belong to a network that has not learned from the held-out recordings. The "
    "served network was fitted with the same recipe to all recordings; the answers above are about it."
)
REFITTED_DETECTOR = (
    "The figures of the section Evaluation belong to a detector that has not learned from the held-out recordings. The "
    "served detector learned from all normal recordings; the answers above are about it."
)


def report_facts(
    context: TrainingContext,
    classes: TrainingClasses,
    measured: FittedModel,
    served: FittedModel,
    thresholds: Thresholds,
    result: HeldOutResult,
    outlook: ServedResult,
    version: str,
    card: dict[str, Any],
) -> ReportFacts:
    """Return the content of the report.

    See :func:`ml.training.publication.publish_candidate` for the arguments; ``version`` and ``card`` are those of the
    new version.
    """
    network = measured.network
    apart = (*_wrong_exemplars(context, outlook), *_odd_exemplars(context, served))
    facts = ReportFacts(
        version=version,
        card=card,
        labels=served.labels,
        decision=thresholds.classifier or thresholds.score,
        spec=context.spec if network is not None or served.detector is None else served.detector.spec,
        evaluation=result.evaluation,
        expectations=outlook.expectations,
        dataset_summary=summarise(context.dataset),
        split_summary=split_summary(context.split),
        notes=(*context.notes, *_refit_note(context)),
        exemplars=(*_detector_exemplars(context, outlook), *apart),
        reference=describe_reference(context, served.detector, outlook),
    )
    if network is None:
        return facts
    return replace(
        facts,
        groups=classes.groups,
        agreement=classes.agreement,
        history=network.history,
        best_epoch=network.best_epoch,
        exemplars=(*_exemplars(context, classes, result), *apart),
    )


def _refit_note(context: TrainingContext) -> Sequence[str]:
    if not context.options.refit:
        return ()
    return (REFITTED_NETWORK if context.has_classifier else REFITTED_DETECTOR,)


def _exemplars(context: TrainingContext, classes: TrainingClasses, result: HeldOutResult) -> Iterator[Exemplar]:
    """Yield the normal recording with the median score, and exemplars of each group, else of each class."""
    normal = sorted((each for each in result.judged if each.entry.label == NORMAL), key=lambda each: each.score)
    if normal:
        yield _judged_exemplar(context, "normal", normal[len(normal) // 2])
    groups = classes.groups
    if groups is not None:
        for group, (name, members) in enumerate(zip(groups.names, groups.exemplars, strict=True)):
            for member in members[:EXEMPLARS_PER_GROUP]:
                entry, distance = classes.grouped[member], groups.distances[member, group]
                yield _exemplar(context, name, entry, f"{distance:.2f} from the centroid")
        return
    for label in classes.labels.classes[1:]:
        detected = [each for each in result.judged if each.truth == label.name and each.anomaly]
        for each in sorted(detected, key=lambda each: -each.score)[:EXEMPLARS_PER_GROUP]:
            yield _judged_exemplar(context, label.name, each)


def _detector_exemplars(context: TrainingContext, outlook: ServedResult) -> Iterator[Exemplar]:
    """Yield the normal recording with the median score, and the abnormal recording with the highest."""
    for label, place in ((NORMAL, 0.5), (ABNORMAL, 1.0)):
        some = sorted((each for each in outlook.recordings if each.label == label), key=lambda each: each.score)
        if some:
            yield from _scored_exemplars(context, label, [some[int(place * (len(some) - 1))]])


def _wrong_exemplars(context: TrainingContext, outlook: ServedResult) -> Iterator[Exemplar]:
    """Yield the missed recordings with the lowest scores, and the false alarms with the highest."""
    yield from _scored_exemplars(context, "missed", outlook.missed()[:WRONG_EXEMPLARS])
    yield from _scored_exemplars(context, "false alarm", outlook.false_alarms()[:WRONG_EXEMPLARS])


def _scored_exemplars(context: TrainingContext, title: str, scored: Iterable[ScoredRecording]) -> Iterator[Exemplar]:
    for each in scored:
        yield _exemplar(context, title, each.entry, f"score {each.score:.3f}")


def _odd_exemplars(context: TrainingContext, served: FittedModel) -> Iterator[Exemplar]:
    """Yield the normal recordings that stand apart from their session."""
    if served.detector is None:
        return
    by_path = {entry.path: entry for entry in context.dataset.entries}
    for odd in served.detector.odd_recordings:
        fact = f"{odd.times:.1f} times the distance that is usual in its session"
        yield _exemplar(context, "odd normal recording", by_path[odd.name], fact)


def _judged_exemplar(context: TrainingContext, title: str, judged: JudgedRecording) -> Exemplar:
    return _exemplar(context, title, judged.entry, f"score {judged.score:.3f}")


def _exemplar(context: TrainingContext, title: str, entry: Entry, fact: str) -> Exemplar:
    fault = f", {entry.annotation.fault}" if entry.annotation.fault else ""
    return Exemplar(title, context.dataset.file(entry), f"{entry.path}{fault}: {fact}")
