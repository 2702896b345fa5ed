"""Retraining job: trains a candidate on a dataset, compares it with the champion, and may promote it."""

import os
from pathlib import Path

from ml.dataset.catalog import dataset_version, load_dataset
from ml.dataset.paths import dataset_folder
from ml.models.names import LONGEST_NAME
from ml.system.native import quiet_native_stderr, set_idle_priority
from ml.training.champion_comparison import compare_with_champion
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
    options = options_of(parameters, home)
    with quiet_native_stderr():
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
        "auc": pooled.auc.value,
        "auc_low": pooled.auc.low,
        "auc_high": pooled.auc.high,
        "held_out_recordings": pooled.n,
        "held_out_groups": pooled.groups,
        "not_learned": sorted({str(entry.annotation.fault) for entry in trained.unlearned}),
        "report": f"/v1/models/{trained.version}/report",
    }
    lease.retry(lambda: lease.store.succeed(unit, summary, ""))


def options_of(parameters: RetrainingParameters, home: Path) -> TrainingOptions:
    """Return the options of the training."""
    chosen = {name: getattr(parameters, name) for name in TrainingChoices.model_fields}
    name = parameters.name or parameters.dataset[:LONGEST_NAME]
    return TrainingOptions(source=dataset_folder(home, parameters.dataset), **chosen | {"name": name})
