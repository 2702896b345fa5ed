"""Feature extraction job: computes the features of a dataset, so that trainings find them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.dataset.catalog import dataset_version, load_dataset
from ml.dataset.entries import Dataset, Entry
from ml.dataset.paths import features_folder
from ml.dataset.splitting.methods import split
from ml.errors import DatasetError
from ml.features.feature_specs import spec_for
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore, StoredFeatures
from worker.jobs import ExtractionParameters, ExtractionRow
from worker.lease import Lease
from worker.parts import gather_parts, process_part, split_into_parts
from worker.results import JobFolder, ResultRow

Planned = dict[str, Any]


def begin(lease: Lease, home: Path, parameters: ExtractionParameters) -> None:
    """Pin the dataset, choose the feature spec, and divide the recordings into parts."""
    unit = lease.unit
    version = unit.dataset_version or dataset_version(home, parameters.dataset, processes=1, report=lease.report)
    lease.retry(lambda: lease.store.pin(unit, dataset_version=version))
    dataset = load_dataset(home, parameters.dataset, version, processes=1, report=lease.report)
    spec = _spec(dataset, parameters)
    parts = split_into_parts(list(_planned(dataset, home)))
    plan = [{"spec": spec.to_dict(), "recordings": list(part)} for part in parts]
    name = JobFolder(home, unit.job_id).write_plan(plan, unit.token)
    lease.retry(lambda: lease.store.pin(unit, plan=name))
    lease.log(f"Features {spec.fingerprint} of {parameters.dataset} (version {version}).")
    lease.retry_and_notify(lambda: lease.store.fan_out(unit, [len(part) for part in parts], "features"))


def run_part(lease: Lease, home: Path, _: ExtractionParameters) -> None:
    """Compute the features of the recordings of a part, except those already on disk."""
    unit, folder = lease.unit, JobFolder(home, lease.unit.job_id)
    planned = folder.planned(unit.plan or "", unit.name)
    entries = [Entry.from_dict(each["entry"]) for each in planned["recordings"] if "entry" in each]
    dataset = Dataset("job", home, "planned", tuple(entries), (), explicit_sessions=True)
    store, spec = FeatureStore(features_folder(home)), FeatureSpec.from_dict(planned["spec"])
    part_features = _extract_all(store, dataset, entries, spec, lease)

    def extract(each: Planned) -> ResultRow:
        if "entry" not in each:
            return _row(each, None, each["error"])
        entry = Entry.from_dict(each["entry"])
        try:
            features = part_features or store.extract(dataset, [entry], spec, processes=1)
            return _row(each, features.shape(entry)[0], None)
        except DatasetError as error:
            return _row(each, None, f"{error.code}: {error}")

    process_part(lease, folder, planned["recordings"], extract)


def gather(lease: Lease, home: Path, _: ExtractionParameters) -> None:
    """Merge the rows of all parts."""
    gather_parts(lease, home, summary)


def summary(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Count recordings, clips, and errors by code."""
    errors: Counter[str] = Counter()
    recordings = clips = 0
    for row in rows:
        recordings += 1
        clips += row["windows"] or 0
        if row["error"]:
            errors[row["error"].partition(":")[0]] += 1
    return {
        "recordings": recordings,
        "windows": clips,
        "errors": errors.total(),
        "errors_by_code": dict(errors),
    }


def _spec(dataset: Dataset, parameters: ExtractionParameters) -> FeatureSpec:
    """Return the feature spec of a training, from its training side or, without a split, all recordings."""
    try:
        entries: Sequence[Entry] = split(dataset).train
    except DatasetError:
        entries = dataset.entries
    return spec_for(entries, parameters.features)


def _planned(dataset: Dataset, home: Path) -> Iterator[Planned]:
    """Yield every recording with its path relative to the home; unreadable files with their error."""
    for entry in dataset.entries:
        # Links are not followed, because the dataset folder can be a link.
        file = Path(os.path.abspath(dataset.file(entry))).relative_to(os.path.abspath(home))  # noqa: PTH100 - see above
        yield {"name": entry.path, "recording": entry.audio_hash, "entry": replace(entry, path=str(file)).to_dict()}
    for refusal in dataset.refusals:
        yield {"name": refusal.path, "recording": "", "error": f"{refusal.code}: {refusal.reason}"}


def _extract_all(
    store: FeatureStore, dataset: Dataset, entries: Sequence[Entry], spec: FeatureSpec, lease: Lease
) -> StoredFeatures | None:
    """Extract all recordings of a part together; None if one of them fails."""
    try:
        return store.extract(dataset, entries, spec, processes=1, report=lambda _: lease.check())
    except DatasetError:
        return None


def _row(each: Planned, clips: int | None, error: str | None) -> ResultRow:
    return ExtractionRow(recording=each["recording"], name=each["name"], windows=clips, error=error).model_dump()
