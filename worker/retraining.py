"""Retraining job: trains a candidate on a dataset, compares it with the champion, and may promote it."""

import os
from pathlib import Path
from typing import Any

from ml.dataset.catalog import dataset_version, load_dataset
from ml.dataset.paths import dataset_folder
from ml.dataset.summary import passed_over_lines
from ml.evaluation.results import Estimate
from ml.models.names import LONGEST_NAME
from ml.system.atomic import own_temporary_folder
from ml.system.native import quiet_native_stderr, set_idle_priority
from ml.training.champion_comparison import ChampionComparison, compare_with_champion
from ml.training.choices import TrainingChoices
from ml.training.classes import unlearned_notes
from ml.training.options import TrainingOptions
from ml.training.pipeline import train
from ml.training.promotion import promote
from worker.jobs import RetrainingParameters
from worker.lease import Lease

# Highest niceness: answers to uploads have priority. If a normal process needs the same core, a process of this
# niceness gets 1/68 of its share (sched_prio_to_weight in the Linux kernel). A training then also gets idle priority.
NICENESS = 19


def begin(lease: Lease, home: Path, parameters: RetrainingParameters) -> None:
    """Do the retraining. A repeated attempt continues from existing features and checkpoints."""
    if os.nice(0) == NICENESS:
        # This does not affect the thread of the lease, which started earlier and must keep running.
        set_idle_priority()
    unit = lease.unit
    pinned = unit.dataset_version or dataset_version(home, parameters.dataset, report=lease.report)
    lease.retry(lambda: lease.store.pin(unit, dataset_version=pinned))
    dataset = load_dataset(home, parameters.dataset, pinned, snr_db=parameters.snr_db, report=lease.report)
    lease.log(f"{len(dataset.entries)} labelled recordings of {parameters.dataset} (version {pinned}).")
    for line in passed_over_lines(dataset):
        lease.log(f"Passed over: {line}")
    options = options_of(parameters, home)
    with quiet_native_stderr(), own_temporary_folder():
        trained = train(options, home, dataset=dataset, report=lease.report)
        lease.retry(lambda: lease.store.pin(unit, model_version=trained.version))
        comparison = compare_with_champion(trained, options, dataset, home, report=lease.report)
    for note in unlearned_notes(trained.unlearned):
        lease.log(note)
    promotion = lease.retry(
        lambda: promote(trained.version, comparison, parameters.promote, home, still_wanted=lease.recheck)
    )
    lease.log(promotion.reason)
    pooled = trained.evaluation.pooled
    summary = {
        "version": trained.version,
        "promoted": promotion.promoted,
        "reason": promotion.reason,
        **_estimate("auc", pooled.auc),
        **_estimate("detection_rate", pooled.detection_rate),
        **_estimate("false_alarm_rate", pooled.false_alarm_rate),
        "held_out_recordings": pooled.n,
        "held_out_groups": pooled.groups,
        **_comparison_figures(comparison),
        "left_out": len(dataset.refusals),
        "passed_over": len(dataset.passed_over),
        "not_learned": sorted({str(entry.annotation.fault) for entry in trained.unlearned}),
        "report": f"/v1/models/{trained.version}/report",
    }
    lease.retry(lambda: lease.store.succeed(unit, summary, ""))


def _comparison_figures(comparison: ChampionComparison) -> dict[str, Any]:
    """Return the verdicts of candidate and champion on the same recordings; without figures only their basis."""
    found: dict[str, Any] = {"champion": comparison.champion, "compared_on": comparison.basis}
    paired = comparison.paired
    if paired is None:
        return found
    return found | {
        "compared_recordings": paired.n,
        "compared_normal": paired.normal,
        "compared_abnormal": paired.abnormal,
        "compared_groups": paired.groups,
        **_estimate("candidate_detection_rate", paired.candidate_detection_rate),
        **_estimate("champion_detection_rate", paired.champion_detection_rate),
        **_estimate("candidate_false_alarm_rate", paired.candidate_false_alarm_rate),
        **_estimate("champion_false_alarm_rate", paired.champion_false_alarm_rate),
        **_estimate("balanced_accuracy_difference", paired.balanced_accuracy_difference),
    }


def _estimate(name: str, estimate: Estimate) -> dict[str, float | None]:
    """Return a figure and its interval as columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def options_of(parameters: RetrainingParameters, home: Path) -> TrainingOptions:
    """Return the options of the training."""
    chosen = {name: getattr(parameters, name) for name in TrainingChoices.model_fields}
    name = parameters.name or parameters.dataset[:LONGEST_NAME]
    return TrainingOptions(source=dataset_folder(home, parameters.dataset), **chosen | {"name": name})
