"""Recalibration job: sets a model's threshold with further normal recordings, without a training."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ml.dataset.catalog import dataset_version, load_dataset
from ml.models.recalibration import require_detector
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from ml.training.recalibration import RecalibrationRow, measure_row, plan_rows, recalibration_from
from worker.jobs import RecalibrationParameters
from worker.lease import Lease
from worker.parts import gather_parts, process_part, split_into_parts
from worker.results import JobFolder, ResultRow
from worker.scoring import load_model

FILE = "file"  # key of a planned recording: its path, relative to the home


def begin(lease: Lease, home: Path, parameters: RecalibrationParameters) -> None:
    """Pin dataset and model, find the normal recordings, and divide them into parts."""
    unit, registry = lease.unit, Registry(home)
    pinned = unit.dataset_version or dataset_version(home, parameters.dataset, processes=1, report=lease.report)
    model = unit.model_version or registry.resolve(parameters.model)
    lease.retry(lambda: lease.store.pin(unit, dataset_version=pinned, model_version=model))
    dataset = load_dataset(home, parameters.dataset, pinned, processes=1, report=lease.report)
    rows = plan_rows(home, registry.read(model), dataset, confirm_labels=parameters.confirm_labels)
    # Links are not followed, because the dataset folder can be a link.
    files = {entry.path: os.path.abspath(dataset.file(entry)) for entry in dataset.entries}  # noqa: PTH100 - see above
    planned = [row.to_dict() | {FILE: os.path.relpath(files[row.name], home)} for row in rows]
    parts = split_into_parts(planned)
    plan = JobFolder(home, unit.job_id).write_plan([list(part) for part in parts], unit.token)
    lease.retry(lambda: lease.store.pin(unit, plan=plan))
    lease.log(f"{len(rows)} normal recordings of {parameters.dataset} (version {pinned}) for the threshold of {model}.")
    lease.retry_and_notify(lambda: lease.store.fan_out(unit, [len(part) for part in parts], "recordings"))


def run_part(lease: Lease, home: Path, _: RecalibrationParameters) -> None:
    """Score the recordings of a part."""
    unit, folder = lease.unit, JobFolder(home, lease.unit.job_id)
    model = load_model(home, unit.model_version or "")

    def measure(planned: dict[str, Any]) -> ResultRow:
        return measure_row(model, RecalibrationRow.from_dict(planned), home / planned[FILE]).to_dict()

    process_part(lease, folder, folder.planned(unit.plan or "", unit.name), measure)


def gather(lease: Lease, home: Path, parameters: RecalibrationParameters) -> None:
    """Merge the rows of all parts, and set the threshold."""
    gather_parts(lease, home, partial(_set_threshold, lease, home, parameters))


def _set_threshold(
    lease: Lease, home: Path, parameters: RecalibrationParameters, rows: Iterator[dict[str, Any]]
) -> dict[str, Any]:
    """Set the threshold, and return the summary. A repeated attempt changes nothing more."""
    unit, registry = lease.unit, Registry(home)
    version = unit.model_version or ""
    recalibration = recalibration_from(
        registry.read(version),
        parameters.dataset,
        unit.dataset_version or "",
        map(RecalibrationRow.from_dict, rows),
    )
    request = _request(parameters)
    revision = lease.retry(lambda: registry.recalibrate(version, recalibration, request, before_write=lease.recheck))
    calibration = require_detector(registry.read_calibrated(version)).calibration
    lease.log(f"The threshold of {version} is {revision.decision.threshold:.4g} now ({revision.decision.basis}).")
    return {
        "version": version,
        "threshold_revision": revision.revision,
        **asdict(revision.decision),
        "recordings": len(recalibration.named),
        "sessions": recalibration.n_sessions,
        "rate_holds_for": calibration.rate_holds_for,
        "odd_recordings": [each._asdict() for each in recalibration.odd_recordings],
        "left_out": dict(recalibration.left_out),
        "warning": recalibration.warning(),
    }


def _request(parameters: RecalibrationParameters) -> ThresholdRequest | None:
    """Return the request for the registry; None keeps the rate."""
    if parameters.false_alarm_rate is None and parameters.sensitivity is None:
        return None
    return ThresholdRequest(false_alarm_rate=parameters.false_alarm_rate, sensitivity=parameters.sensitivity)
