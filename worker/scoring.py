"""Scoring job: judges every recording of a dataset with one model version."""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml.dataset.catalog import ScoringItem, dataset_version, item_file, list_items
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.scoring import score_item
from ml.system.native import quiet_native_stderr
from worker.jobs import ScoringParameters
from worker.lease import Lease
from worker.parts import gather_parts, process_part, split_into_parts
from worker.results import JobFolder, ResultRow

logger = logging.getLogger("signalml.scoring")


def begin(lease: Lease, home: Path, parameters: ScoringParameters) -> None:
    """Pin dataset and model, and divide the recordings into parts."""
    unit = lease.unit
    dataset = unit.dataset_version or dataset_version(home, parameters.dataset, processes=1, report=lease.report)
    model = unit.model_version or Registry(home).resolve(parameters.model)
    lease.retry(lambda: lease.store.pin(unit, dataset_version=dataset, model_version=model))
    items = list_items(home, parameters.dataset, dataset, processes=1, report=lease.report)
    parts = split_into_parts(items)
    plan = JobFolder(home, unit.job_id).write_plan([[item.to_dict() for item in part] for part in parts], unit.token)
    lease.retry(lambda: lease.store.pin(unit, plan=plan))
    lease.log(f"{len(items)} recordings of {parameters.dataset} (version {dataset}) are judged by {model}.")
    lease.retry_and_notify(lambda: lease.store.fan_out(unit, [len(part) for part in parts], "recordings"))


def run_part(lease: Lease, home: Path, parameters: ScoringParameters) -> None:
    """Judge the recordings of a part."""
    unit, folder = lease.unit, JobFolder(home, lease.unit.job_id)
    items = [ScoringItem.from_dict(values) for values in folder.planned(unit.plan or "", unit.name)]
    model = load_model(home, unit.model_version or "")

    def judge(item: ScoringItem) -> ResultRow:
        logger.debug("scoring", extra={"facts": {"path": item.path}})
        return _row(item, model, None if item.error else item_file(home, parameters.dataset, item.path))

    process_part(lease, folder, items, judge)


def gather(lease: Lease, home: Path, _: ScoringParameters) -> None:
    """Merge the rows of all parts."""
    gather_parts(lease, home, summary)


def summary(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Count recordings, verdicts, and errors by code."""
    verdicts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for row in rows:
        if row["error"]:
            errors[row["error"].partition(":")[0]] += 1
        else:
            verdicts[row["verdict"]] += 1
    return {
        "recordings": verdicts.total() + errors.total(),
        "normal": verdicts["normal"],
        "anomalous": verdicts["anomalous"],
        "unusable": verdicts["unusable"],
        "errors": errors.total(),
        "errors_by_code": dict(errors),
    }


def _row(item: ScoringItem, model: Predictor, file: Path | None) -> ResultRow:
    """Return a row of ``signalml score``, preceded by the hash of the samples (empty if unreadable)."""
    return {"recording": item.id or "", **score_item(model, item, file).to_dict()}


def load_model(home: Path, version: str) -> Predictor:
    """Return the model, loaded once per process, and again after a change of labels or threshold."""
    return _loaded(home, version, Registry(home).stamp(version))


@lru_cache(maxsize=2)
def _loaded(home: Path, version: str, _stamp: tuple[object, ...]) -> Predictor:
    with quiet_native_stderr():
        return Registry(home).load_predictor(version)
