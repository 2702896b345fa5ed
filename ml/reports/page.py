"""The page of a report: the template is filled and written to one file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.detectors.thresholds import percent
from ml.errors import MissingExtra
from ml.evaluation.intervals import FEW_SESSIONS
from ml.faults.groups import FaultGroups
from ml.models.demonstration import demonstration_note
from ml.reports import formatting as tables
from ml.reports.advice import answers, warnings
from ml.reports.drawing import Picture
from ml.reports.evaluation_plots import evaluation_pictures, training_picture
from ml.reports.facts import ReferenceFacts, ReportFacts
from ml.reports.group_plots import group_pictures
from ml.reports.recording_plots import MAX_EXEMPLARS, PLAYED_S, render_exemplar
from ml.reports.reference_plots import hall_picture
from ml.reports.session_plots import sessions_picture
from ml.system.atomic import write_atomic

if TYPE_CHECKING:
    from ml.evaluation.results import Evaluation

FOLDER = Path(__file__).parent
TEMPLATE = FOLDER / "page.html.jinja"
LEVEL_AUC_MARGIN = 0.15  # distance of the AUC of level alone from 0.5 that gives a warning


@dataclass(frozen=True, slots=True)
class HeadlineMetric:
    """A figure at the top of the page: name, value with interval, and explanation."""

    name: str
    value: str
    reading: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Row of the table of fault groups."""

    name: str
    n: int
    median_distance: float


def write_report(target: Path, facts: ReportFacts) -> None:
    """Write the report of a model version as one HTML file that needs no other file.

    The same facts give the same bytes. For a recording that cannot be read, the page shows the reason.

    Args:
        target: file to write, in an existing folder. An existing file is replaced.
        facts: content of the report.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
        OSError: the file cannot be written.
    """
    write_atomic(target, render_template(TEMPLATE, _context(facts)))


def render_template(template: Path, context: Mapping[str, Any]) -> bytes:
    """Fill a template. It can include the templates of this folder.

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
        figure=tables.format_value,
        interval=tables.interval,
        estimated=tables.format_estimate,
        two=tables.two,
        percent=percent,
    )
    # Bytes of file names that are not text are shown as question marks.
    return environment.get_template(template.name).render(context).encode("utf-8", "replace")


def _context(facts: ReportFacts) -> dict[str, Any]:
    evaluation, groups, demonstration = facts.evaluation, facts.groups, demonstration_note(facts.card) is not None
    return {
        "facts": facts,
        "notes": _notes(facts),
        "answers": [] if facts.expectations is None else answers(facts.expectations, demonstration=demonstration),
        "sessions": None if facts.expectations is None else sessions_picture(facts.expectations),
        "sensitivities": () if facts.expectations is None else facts.expectations.sensitivities,
        "absent": list(_absent(facts)),
        "headline": [] if evaluation is None else list(_headline(evaluation)),
        "evaluation_figures": [] if evaluation is None else evaluation_pictures(evaluation),
        "confusion": [] if evaluation is None else tables.confusion(evaluation),
        "training": training_picture(facts.history, facts.best_epoch) if facts.history else None,
        "group_figures": [] if groups is None else _group_pictures(facts, groups),
        "group_rows": [] if groups is None else list(_group_rows(groups, _names(facts, groups))),
        "hall_figures": [] if facts.reference is None else _hall_pictures(facts.reference),
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
    """Return the warnings at the top of the page, without duplicates."""
    served = () if facts.expectations is None else warnings(facts.expectations, facts.version)
    measured = () if facts.evaluation is None else _evaluation_warnings(facts.evaluation)
    return list(dict.fromkeys([*served, *facts.notes, *measured]))


def _evaluation_warnings(evaluation: "Evaluation") -> Iterator[str]:
    pooled, level = evaluation.pooled, evaluation.auc_level_only
    if level.value is not None and abs(level.value - 0.5) >= LEVEL_AUC_MARGIN:
        yield (
            f"Loudness alone separates normal from abnormal recordings: its AUC is {tables.format_estimate(level)}. "
            f"Use the model's AUC with random gain: {tables.format_estimate(evaluation.auc_gain_randomised)}."
        )
    if pooled.groups < FEW_SESSIONS:
        yield (
            f"The held-out recordings come from {pooled.groups} sessions. Figures from fewer than {FEW_SESSIONS} "
            "sessions can change much with the next recordings."
        )


def _absent(facts: ReportFacts) -> Iterator[str]:
    if facts.evaluation is None:
        yield "No evaluation: this version was not tested on held-out recordings."
    if not facts.history:
        yield "No training curves: no network of this version was trained here, or its history was not stored."
    if facts.groups is None:
        yield "No fault groups: there are too few abnormal training recordings, or the version has no classifier."
    if not facts.exemplars:
        yield "No example recordings: none were chosen."
    if not facts.dataset_summary:
        yield "No data card: the dataset is unknown."


def _headline(evaluation: "Evaluation") -> Iterator[HeadlineMetric]:
    pooled = evaluation.pooled
    counts = f"{pooled.normal} normal and {pooled.abnormal} abnormal recordings of {pooled.groups} sessions"
    rows = [
        ("AUC", pooled.auc, f"0.5 is chance, 1 is perfect; {counts}"),
        ("AUC, random gain", evaluation.auc_gain_randomised, "each recording is made louder or softer at random"),
        ("AUC of level alone", evaluation.auc_level_only, "0.5: loudness does not separate the classes"),
        ("pAUC", pooled.pauc, "up to a false-alarm rate of 0.1; 0.5 is chance"),
        ("Detection rate", pooled.detection_rate, f"of {pooled.abnormal} abnormal recordings, at the threshold"),
        ("False-alarm rate", pooled.false_alarm_rate, f"of {pooled.normal} normal recordings, at the threshold"),
        ("Macro-F1", evaluation.macro_f1, f"mean over {len(evaluation.classes)} classes"),
        ("Balanced accuracy", evaluation.balanced_accuracy, "mean recall of the classes"),
    ]
    if evaluation.brier.value is not None:
        reading = "squared error of the score as probability of a fault; 0 is perfect"
        rows.append(("Brier score", evaluation.brier, reading))
    for name, estimate, reading in rows:
        yield HeadlineMetric(name, tables.format_estimate(estimate), reading)


def _names(facts: ReportFacts, groups: FaultGroups) -> Sequence[str]:
    return facts.group_names if len(facts.group_names) == groups.k else groups.names


def _group_pictures(facts: ReportFacts, groups: FaultGroups) -> list[Picture]:
    return group_pictures(groups, _names(facts, groups))


def _hall_pictures(reference: ReferenceFacts) -> list[Picture]:
    return [hall_picture(example, reference.centres_hz, i) for i, example in enumerate(reference.examples, 1)]


def _group_rows(groups: FaultGroups, names: Sequence[str]) -> Iterator[GroupRow]:
    for number, name in enumerate(names):
        inside = sorted(groups.distances[groups.assignments == number, number].tolist())
        yield GroupRow(name, len(inside), inside[len(inside) // 2] if inside else 0.0)
