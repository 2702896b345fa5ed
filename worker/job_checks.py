"""Checks before a job is submitted or a model is removed, over HTTP and on the command line."""

from pathlib import Path

from ml.dataset.catalog import require_dataset
from ml.errors import AliasNotSet, ModelInUse, ModelNotFound
from ml.models.recalibration import require_detector
from ml.models.registry import Registry
from worker.jobs import FINAL_STATES, JOB_STATES, Job, JobParameters, RecalibrationParameters, ScoringParameters
from worker.store import JobStore

JOBS_AT_ONCE = 500


def check_parameters(home: Path, parameters: JobParameters) -> None:
    """Check that the dataset and the model of a job exist, and that the model can do this work.

    Args:
        home: folder of datasets and models.
        parameters: parameters of the job, of any kind.

    Raises:
        DatasetNotFound: there is no such dataset; the message lists the existing ones.
        AliasNotSet, ModelNotFound: there is no such model; the message lists the newest versions.
        ModelNotCalibrated, BundleUnrecognised, BundleDamaged: a recalibration needs a complete model with a detector.
    """
    if (dataset := getattr(parameters, "dataset", None)) is not None:
        require_dataset(home, dataset, list_others=True)
    match parameters:
        case ScoringParameters():
            Registry(home).resolve(parameters.model)
        case RecalibrationParameters():
            require_detector(Registry(home).read(parameters.model))


def require_unused_by_jobs(store: JobStore, home: Path, version: str) -> None:
    """Check that no unfinished job uses a model version.

    Raises:
        ModelInUse: a job uses it; the message has the id of the job.
    """
    unfinished = [state for state in JOB_STATES if state not in FINAL_STATES]
    cursor: str | None = None
    while True:
        page = store.list_jobs(states=unfinished, cursor=cursor, limit=JOBS_AT_ONCE)
        for job in page.jobs:
            if _uses(job, home, version):
                raise ModelInUse(f"The job {job.id} uses {version}: wait for its end, or cancel it first.")
        if (cursor := page.next) is None:
            return


def _uses(job: Job, home: Path, version: str) -> bool:
    if job.model_version is not None:
        return job.model_version == version
    try:
        return "model" in job.parameters and Registry(home).resolve(job.parameters["model"]) == version
    except (AliasNotSet, ModelNotFound):
        return False
