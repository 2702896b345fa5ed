"""The page: facts into the template, and the whole of it onto the disk at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import MissingExtra
from ml.evaluation.intervals import FEW_SESSIONS
from ml.faults.groups import FaultGroups
from ml.reports import formatting as tables
from ml.reports.drawing import Picture
from ml.reports.evaluation_plots import evaluation_pictures, training_picture
from ml.reports.facts import ReportFacts
from ml.reports.group_plots import group_pictures
from ml.reports.recording_plots import MAX_EXEMPLARS, PLAYED_S, render_exemplar
from ml.system.atomic import write_atomic

if TYPE_CHECKING:
    from ml.evaluation.results import Evaluation

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "page.html.jinja"
TELLING_LEVEL = 0.15  # from an AUC of 0.5, in either direction


@dataclass(frozen=True, slots=True)
class HeadlineMetric:
    """A number at a glance: what it is, the number with its interval, and how to read it."""

    name: str
    value: str
    reading: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of faults in the table."""

    name: str
    n: int
    median_distance: float


def write_report(target: Path, facts: ReportFacts) -> None:
    """Write the report of a model version as one HTML file that needs no other.

    The same facts give the same bytes. A recording that cannot be read is named in its place; nothing else is lost.

    Args:
        target: the file to write; its folder exists. It is replaced whole.
        facts: what to report.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
        OSError: the file cannot be written.
    """
    write_atomic(target, render_template(TEMPLATE, _context(facts)))


def render_template(template: Path, context: Mapping[str, Any]) -> bytes:
    """A template as a page; it may use the templates of this folder.

    Raises:
        MissingExtra: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtra("Writing a report", "train") from error
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=tables.format_value, interval=tables.interval, estimated=tables.format_estimate, two=tables.two
    )
    # Names of files may hold bytes that are no text; they are shown as question marks.
    return environment.get_template(template.name).render(context).encode("utf-8", "replace")


def _context(facts: ReportFacts) -> dict[str, Any]:
    evaluation, groups = facts.evaluation, facts.groups
    return {
        "facts": facts,
        "notes": _notes(facts),
        "absent": list(_absent(facts)),
        "glance": [] if evaluation is None else list(_glance(evaluation)),
        "skill": [] if evaluation is None else evaluation_pictures(evaluation),
        "confusion": [] if evaluation is None else tables.confusion(evaluation),
        "training": training_picture(facts.history, facts.best_epoch) if facts.history else None,
        "grouping": [] if groups is None else _group_pictures(facts, groups),
        "group_rows": [] if groups is None else list(_group_rows(groups, _names(facts, groups))),
        "exemplars": [render_exemplar(exemplar, i) for i, exemplar in enumerate(facts.exemplars[:MAX_EXEMPLARS], 1)],
        "exemplars_left_out": max(0, len(facts.exemplars) - MAX_EXEMPLARS),
        "played_s": PLAYED_S,
        "dataset": list(tables.flat(facts.dataset_summary)),
        "split": list(tables.flat(facts.split_summary)),
        "spec": list(tables.flat(asdict(facts.spec))),
        "card": list(tables.flat(facts.card)),
        "false_alarm_rate": tables.format_fact(facts.decision.false_alarm_rate),
    }


def _notes(facts: ReportFacts) -> list[str]:
    """What must be known before any figure is believed, each sentence once."""
    found = () if facts.evaluation is None else _warnings(facts.evaluation)
    return list(dict.fromkeys([*facts.notes, *found]))


def _warnings(evaluation: "Evaluation") -> Iterator[str]:
    pooled, level = evaluation.pooled, evaluation.auc_level_only
    if level.value is not None and abs(level.value - 0.5) >= TELLING_LEVEL:
        yield (
            f"How loud a recording is tells normal from abnormal: level alone has an AUC of {tables.format_estimate(level)}. "
            f"With random gain the model's is {tables.format_estimate(evaluation.auc_gain_randomised)}; believe that one."
        )
    if pooled.groups < FEW_SESSIONS:
        yield (
            f"The recordings that it was judged on come from {pooled.groups} recording groups: figures from fewer than "
            f"{FEW_SESSIONS} may change much with the next recordings."
        )


def _absent(facts: ReportFacts) -> Iterator[str]:
    if facts.evaluation is None:
        yield "No evaluation: this version was not judged on recordings held out for that."
    if not facts.history:
        yield "No training curves: this version was not trained here, or its history was not kept."
    if facts.groups is None:
        yield "No groups of faults: the classes are those named in the dataset, or there are no abnormal recordings."
    if not facts.exemplars:
        yield "No recordings to hear: none were chosen."
    if not facts.dataset_summary:
        yield "No data card: nothing is known of the recordings."


def _glance(evaluation: "Evaluation") -> Iterator[HeadlineMetric]:
    pooled = evaluation.pooled
    counts = f"{pooled.normal} normal and {pooled.abnormal} abnormal recordings in {pooled.groups} groups"
    rows = (
        ("AUC", pooled.auc, f"0.5 is guessing, 1 is perfect; {counts}"),
        ("AUC, random gain", evaluation.auc_gain_randomised, "each recording made louder or softer at random"),
        ("AUC of level alone", evaluation.auc_level_only, "0.5: loudness gives nothing away"),
        ("pAUC", pooled.pauc, "up to a false-alarm rate of 0.1; 0.5 is guessing"),
        ("Detection rate", pooled.detection_rate, f"of {pooled.abnormal} abnormal, at the threshold"),
        ("False-alarm rate", pooled.false_alarm_rate, f"of {pooled.normal} normal, at the threshold"),
        ("Macro-F1", evaluation.macro_f1, f"mean over {len(evaluation.classes)} classes"),
        ("Balanced accuracy", evaluation.balanced_accuracy, "mean recall of the classes"),
        ("Brier score", evaluation.brier, "of the score as a probability of a fault; 0 is perfect"),
    )
    for name, estimate, reading in rows:
        yield HeadlineMetric(name, tables.format_estimate(estimate), reading)


def _names(facts: ReportFacts, groups: FaultGroups) -> Sequence[str]:
    return facts.group_names if len(facts.group_names) == groups.k else groups.names


def _group_pictures(facts: ReportFacts, groups: FaultGroups) -> list[Picture]:
    return group_pictures(groups, _names(facts, groups))


def _group_rows(groups: FaultGroups, names: Sequence[str]) -> Iterator[GroupRow]:
    for number, name in enumerate(names):
        inside = sorted(groups.distances[groups.assignments == number, number].tolist())
        yield GroupRow(name, len(inside), inside[len(inside) // 2] if inside else 0.0)
