"""A scoring: every recording of a dataset, judged by one version of a model."""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml.dataset.catalog import Item, file_of, items_of, version_of
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.scoring import Portable, row_of
from ml.system.native import notes_held_back
from worker.fanning import do_part, gather, in_parts
from worker.jobs import ScoringParameters
from worker.lease import Lease
from worker.results import JobFolder, Row

logger = logging.getLogger("signalml.scoring")


def begin(lease: Lease, home: Path, asked: ScoringParameters) -> None:
    """Pin dataset and model, list the recordings, and hand them out."""
    taken = lease.taken
    dataset = taken.dataset_version or version_of(home, asked.dataset, processes=1, report=lease.report)
    model = taken.model_version or Registry(home).resolve(asked.model)
    lease.surely(lambda: lease.store.pin(taken, dataset_version=dataset, model_version=model))
    items = items_of(home, asked.dataset, dataset, processes=1, report=lease.report)
    parts = in_parts(items)
    plan = JobFolder(home, taken.job).write_plan([[item.to_dict() for item in part] for part in parts], taken.token)
    lease.surely(lambda: lease.store.pin(taken, plan=plan))
    lease.log(f"{len(items)} recordings of {asked.dataset} (version {dataset}) are judged by {model}.")
    lease.nudging(lambda: lease.store.fan_out(taken, [len(part) for part in parts], "recordings"))


def part(lease: Lease, home: Path, asked: ScoringParameters) -> None:
    """Judge some recordings."""
    taken, folder = lease.taken, JobFolder(home, lease.taken.job)
    items = [Item.from_dict(values) for values in folder.planned(taken.plan or "", taken.unit)]
    model = _model(home, taken.model_version or "")

    def judge(item: Item) -> Row:
        logger.debug("scoring", extra={"facts": {"path": item.path}})
        return _row(item, model, None if item.error else file_of(home, asked.dataset, item.path))

    do_part(lease, folder, items, judge)


def end(lease: Lease, home: Path, _: ScoringParameters) -> None:
    """Gather the verdicts."""
    gather(lease, home, summary)


def summary(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Verdicts counted, and reasons why there is none."""
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


def _row(item: Item, model: Portable, file: Path | None) -> Row:
    """As ``signalml score`` has it, behind the hash of the sound; that is empty where it cannot be read."""
    return {"recording": item.id or "", **row_of(model, item, file).to_dict()}


def _model(home: Path, version: str) -> Portable:
    """The model, loaded once in each process and anew when its classes are renamed or its threshold is moved."""
    return _loaded(home, version, Registry(home).stamp(version))


@lru_cache(maxsize=2)
def _loaded(home: Path, version: str, _stamp: tuple[object, ...]) -> Portable:
    with notes_held_back():
        predictor: Predictor = Registry(home).predictor(version)
    return Portable(predictor)
