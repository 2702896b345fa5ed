"""A retraining as a job, killed, stopped, cancelled, out of room: it goes on, or ends by name; nothing is half."""

import os
import shutil
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest

from ml.models.registry import Registry
from ml.system.audit import read_entries
from ml.training.pipeline import train
from testing.jobs import JobHarness, run_jobs
from testing.servers import wait_until
from tests.disks import enlarge, small_disk
from tests.integration.trainings import record_folders, versions
from worker import lease, tasks
from worker.jobs import DiagnosticParameters, ExtractionParameters, Job, RetrainingParameters
from worker.lease import StopFlag
from worker.retraining import options_of

TRAINER = {"queues": ("training",), "children": 1}
EPOCHS = 12  # some seconds of work
SHORT_LEASE_S = 5.0


@pytest.fixture(scope="module")
def simulated(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 48 simulated recordings. For copying."""
    home = tmp_path_factory.mktemp("simulated") / "home"
    shutil.copytree(tiny, home / "datasets" / "tiny")
    return home


@pytest.fixture
def jobs(simulated: Path, tmp_path: Path) -> Iterator[JobHarness]:
    """A copy of it, and a broker; no worker yet."""
    with run_jobs(tmp_path, Path(shutil.copytree(simulated, tmp_path / "home"))) as made:
        yield made


def parameters(**options: object) -> RetrainingParameters:
    """Those of a retraining of these recordings."""
    return RetrainingParameters.model_validate({"dataset": "tiny", "epochs": EPOCHS, "refit": False} | options)


def asked(jobs: JobHarness, **options: object) -> str:
    """The retraining, as a job."""
    return jobs.submit(parameters(**options))


def at_step(jobs: JobHarness, job: str, step: str) -> Job:
    """The job once it is at a step."""

    def there() -> Job | None:
        found = jobs.store.get(job)
        assert not found.has_ended, found
        return found if found.progress and found.progress.step == step and found.progress.done else None

    found: Job = wait_until(there)
    return found


def nothing_half(home: Path) -> bool:
    """No bundle on its way, and no records without a version."""
    return not list((home / "models").glob(".incoming-*")) and record_folders(home) == versions(home)


def test_killed_while_it_fits_it_is_begun_again_and_ends_as_one(jobs: JobHarness) -> None:
    """kill -9 of the process during the fit: attempt 2, one version, one end, promoted; nothing half.

    Here with a shorter lease, after which nothing else is waited for but the next sweep.
    """
    worker = jobs.start_worker(**TRAINER, lease_s=SHORT_LEASE_S)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    os.kill(jobs.wait_for_holder(job), signal.SIGKILL)
    wait_until(lambda: jobs.store.get(job).attempt == 2)
    ended = jobs.wait_for_end(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended
    assert ended.summary is not None
    assert ended.summary["promoted"] is True
    (promotion,) = [line for line in read_entries(jobs.home) if line["action"] == "model.promote"]
    assert (promotion["actor_kind"], promotion["job"]) == ("worker", job)
    assert (promotion["before"], promotion["after"]) == (None, ended.summary["version"])
    assert versions(jobs.home) == [ended.model_version]
    assert Registry(jobs.home).resolve("champion") == ended.model_version
    assert jobs.endings(job) == [("succeeded", 2)]
    assert nothing_half(jobs.home)
    worker.stop()


def test_a_trainer_that_gets_sigterm_hands_its_training_back(jobs: JobHarness, tmp_path: Path) -> None:
    """SIGTERM during the fit: it ends, the job waits again, its attempt not counted; another ends it, and leaves no
    temporary file and no lock."""
    worker = jobs.start_worker(**TRAINER)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    worker.stop()
    assert not jobs.store.get(job).has_ended
    assert jobs.holders(job) == []
    (temporary := tmp_path / "temporary").mkdir()
    with patch.dict(os.environ, {"TMPDIR": str(temporary)}):
        jobs.start_worker(**TRAINER)
    ended = jobs.wait_for_end(job)
    assert (ended.state, ended.attempt) == ("succeeded", 1)
    left = [path.name for path in temporary.iterdir() if not path.name.startswith("pymp-")]  # of multiprocessing
    assert left == []
    assert not any((jobs.home / "training" / ".locks").iterdir())
    assert versions(jobs.home) == [ended.model_version]


def test_cancelled_while_it_fits_it_leaves_no_version(jobs: JobHarness) -> None:
    """No model was made; the dataset may be trained on again at once."""
    jobs.start_worker(**TRAINER)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    assert jobs.queue.cancel(job).state == "cancelling"
    assert jobs.wait_for_end(job).state == "cancelled"
    assert versions(jobs.home) == []
    again = asked(jobs, epochs=2)
    assert again != job
    jobs.wait_for_holder(again)


@pytest.mark.usefixtures("short_reports")
def test_a_candidate_that_is_not_better_is_kept_out(jobs: JobHarness) -> None:
    """The second of two: a version, not the champion; the result has detections and false alarms of both."""
    champion = train(options_of(parameters(epochs=8), jobs.home), jobs.home, processes=1).version
    Registry(jobs.home).promote(champion)
    jobs.start_worker(**TRAINER)
    ended = jobs.wait_for_end(asked(jobs, epochs=1))  # of the same seed: they have the same held-out side
    assert ended.summary is not None
    summary = ended.summary
    assert summary["promoted"] is False
    assert "Both models judged the same " in summary["reason"]
    assert (summary["champion"], summary["compared_on"]) == (champion, "judged by both")
    assert summary["compared_recordings"] == summary["compared_normal"] + summary["compared_abnormal"]
    for model, rate in product(("candidate", "champion"), ("detection_rate", "false_alarm_rate")):
        low, value, high = (summary[f"{model}_{rate}{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1
    assert Registry(jobs.home).resolve("champion") == champion
    assert sorted(versions(jobs.home)) == sorted([champion, ended.model_version])


def test_work_that_takes_too_long_fails_by_name(jobs: JobHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit beyond its limit: failed, ``time_limit``; here with a limit of one second."""
    monkeypatch.setitem(lease.SOFT_LIMIT_S, "scoring", 1)
    job = jobs.submit(DiagnosticParameters(seconds=30))
    tasks.run_unit(jobs.queue, "scoring", jobs.home, StopFlag())
    ended = jobs.store.get(job)
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error.code == "time_limit"


def test_a_full_disk_fails_the_job_by_name(simulated: Path, tmp_path: Path) -> None:
    """A real one: ``storage_full``, only whole features are there, and with more room the same job succeeds."""
    with small_disk(tmp_path / "small", "6m") as home:
        shutil.copytree(simulated, home, dirs_exist_ok=True)
        with run_jobs(tmp_path, home) as jobs:
            jobs.start_worker(queues=("extraction",))
            ended = jobs.wait_for_end(jobs.submit(ExtractionParameters(dataset="tiny", features="original")))
            assert ended.error is not None, ended
            assert ended.error.code == "storage_full"
            assert not list((home / "features").rglob(".incomplete/*"))
            enlarge(home, "64m")
            again = jobs.wait_for_end(jobs.submit(ExtractionParameters(dataset="tiny", features="original")))
            assert again.state == "succeeded"
