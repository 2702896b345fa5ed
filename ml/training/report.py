"""What the report of a training shows: facts gathered from its steps, and recordings worth hearing."""

from collections.abc import Iterator, Sequence
from typing import Any

from ml.dataset.entries import NORMAL, Entry
from ml.dataset.summary import summary
from ml.evaluation.judged import Judged
from ml.reports.facts import Exemplar, ReportFacts
from ml.training.card import split_summary
from ml.training.scene import Measured, Scene

HEARD_PER_GROUP = 2
REFITTED_NETWORK = (
    "The figures are those of a network that never heard the held-out side. The network that is served was fitted by "
    "the same recipe to all sides."
)


def report_facts(
    scene: Scene, found: Measured, version: str, card: dict[str, Any], notes: Sequence[str]
) -> ReportFacts:
    """Everything that the report is made of."""
    classes, spec = scene.classes, scene.features.spec
    return ReportFacts(
        version=version,
        card=card,
        labels=classes.labels,
        decision=found.decision,
        spec=spec,
        evaluation=found.tested.evaluation,
        groups=classes.groups,
        agreement=classes.agreement,
        history=found.fitted.history,
        best_epoch=found.fitted.best_epoch,
        dataset_summary=summary(scene.dataset),
        split_summary=split_summary(scene.split),
        exemplars=tuple(_exemplars(scene, found)),
        notes=(*notes, *((REFITTED_NETWORK,) if scene.options.refit else ())),
    )


def _exemplars(scene: Scene, found: Measured) -> Iterator[Exemplar]:
    """One healthy recording of the middle, and the clearest of each group or, without groups, of each class."""
    healthy = sorted((each for each in found.tested.judged if each.entry.label == NORMAL), key=lambda each: each.score)
    if healthy:
        yield _heard(scene, "healthy", healthy[len(healthy) // 2])
    groups = scene.classes.groups
    if groups is not None:
        for group, (name, members) in enumerate(zip(groups.names, groups.exemplars, strict=True)):
            for member in members[:HEARD_PER_GROUP]:
                entry, distance = scene.classes.grouped[member], groups.distances[member, group]
                yield _exemplar(scene, name, entry, f"{distance:.2f} from the centroid")
        return
    for label in scene.classes.labels.classes[1:]:
        right = [each for each in found.tested.judged if each.truth == label.name and each.anomaly]
        for each in sorted(right, key=lambda each: -each.score)[:HEARD_PER_GROUP]:
            yield _heard(scene, label.name, each)


def _heard(scene: Scene, title: str, judged: Judged) -> Exemplar:
    return _exemplar(scene, title, judged.entry, f"score {judged.score:.3f}")


def _exemplar(scene: Scene, title: str, entry: Entry, fact: str) -> Exemplar:
    fault = f", {entry.fault}" if entry.fault else ""
    return Exemplar(title, scene.dataset.file(entry), f"{entry.path}{fault}: {fact}")
