"""A retraining as a job, killed, stopped, cancelled, out of room: it goes on, or ends by name; nothing is half."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.dataset.simulate.simulator import simulate
from ml.models.registry import Registry
from ml.training.pipeline import train
from tests.integration.jobs import JobHarness, run_jobs
from tests.integration.servers import wait_until
from tests.integration.trainings import TINY, kept, versions
from worker import lease, tasks
from worker.jobs import DiagnosticParameters, ExtractionParameters, Job, RetrainingParameters
from worker.lease import StopFlag
from worker.retraining import options_of
from worker.store import LEASE_S, SWEEP_S, TRAINING_PATIENCE

TRAINER = {"queues": ("training",), "children": 1}
EPOCHS = 12  # some seconds of work
SHORT_LEASE_S = 5.0


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 48 simulated recordings. For copying."""
    home = tmp_path_factory.mktemp("simulated") / "home"
    simulate(home / "datasets" / "tiny", plan=TINY, processes=1)
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


def at_step(jobs: JobHarness, job: str, step: str, within_s: float = 60.0) -> Job:
    """The job once it is at a step."""

    def there() -> Job | None:
        found = jobs.store.get(job)
        assert not found.has_ended, found
        return found if found.progress and found.progress.step == step and found.progress.done else None

    found: Job = wait_until(there, within_s)
    return found


def nothing_half(home: Path) -> bool:
    """No bundle on its way, and no records without a version."""
    return not list((home / "models").glob(".incoming-*")) and kept(home) == versions(home)


def test_killed_while_it_fits_it_is_begun_again_and_ends_as_one(jobs: JobHarness) -> None:
    """kill -9 of the process during the fit: attempt 2, within 30 s, one version, one end, promoted; nothing half.

    Here with a shorter lease, after which nothing else is waited for but the next sweep.
    """
    assert LEASE_S * TRAINING_PATIENCE + SWEEP_S < 30
    worker = jobs.start_worker(**TRAINER, lease_s=SHORT_LEASE_S)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    os.kill(jobs.busy(job), signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: jobs.store.get(job).attempt == 2, 30)
    assert time.monotonic() - killed < 30 - (LEASE_S - SHORT_LEASE_S) * TRAINING_PATIENCE
    ended = jobs.wait_for_end(job, within_s=90)
    assert (ended.state, ended.attempt) == ("succeeded", 2), ended
    assert ended.summary is not None
    assert ended.summary["promoted"] is True
    assert versions(jobs.home) == [ended.model_version]
    assert Registry(jobs.home).resolve("champion") == ended.model_version
    assert jobs.endings(job) == [("succeeded", 2)]
    assert nothing_half(jobs.home)
    worker.stop()


def test_a_trainer_that_is_told_to_stop_hands_its_training_back(jobs: JobHarness) -> None:
    """SIGTERM during the fit: it ends within 15 s, the job waits again, its attempt not counted; another ends it."""
    worker = jobs.start_worker(**TRAINER)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    told = time.monotonic()
    worker.stop()
    assert time.monotonic() - told < 15
    assert not jobs.store.get(job).has_ended
    assert jobs.holders(job) == []
    jobs.start_worker(**TRAINER)
    ended = jobs.wait_for_end(job, within_s=90)
    assert (ended.state, ended.attempt) == ("succeeded", 1)
    assert versions(jobs.home) == [ended.model_version]


def test_cancelled_while_it_fits_it_leaves_no_version(jobs: JobHarness) -> None:
    """Within 5 s, and no model was made; the dataset may be trained on again at once."""
    jobs.start_worker(**TRAINER)
    job = asked(jobs)
    at_step(jobs, job, "epochs")
    told = time.monotonic()
    assert jobs.queue.cancel(job).state == "cancelling"
    assert jobs.wait_for_end(job).state == "cancelled"
    assert time.monotonic() - told < 5
    assert versions(jobs.home) == []
    again = asked(jobs, epochs=2)
    assert again != job
    assert jobs.wait_for_end(again, within_s=90).state == "succeeded"


def test_a_candidate_that_is_not_better_is_kept_out(jobs: JobHarness) -> None:
    """The second of two: a version, not the champion, with the figures in the reason."""
    champion = train(options_of(parameters(epochs=8), jobs.home), jobs.home, processes=1).version
    Registry(jobs.home).promote(champion)
    jobs.start_worker(**TRAINER)
    ended = jobs.wait_for_end(asked(jobs, epochs=1), within_s=90)  # of the same seed: they have the same held-out side
    assert ended.summary is not None
    assert ended.summary["promoted"] is False
    assert " on the same " in ended.summary["reason"]
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
    home = tmp_path / "small"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here: that takes root and CAP_SYS_ADMIN")
    try:
        shutil.copytree(simulated, home, dirs_exist_ok=True)
        with run_jobs(tmp_path, home) as jobs:
            jobs.start_worker(queues=("extraction",))
            ended = jobs.wait_for_end(jobs.submit(ExtractionParameters(dataset="tiny", features="original")))
            assert ended.error is not None, ended
            assert ended.error.code == "storage_full"
            assert not list((home / "features").rglob(".incomplete/*"))
            subprocess.run(["mount", "-o", "remount,size=64m", str(home)], check=True)
            again = jobs.wait_for_end(jobs.submit(ExtractionParameters(dataset="tiny", features="original")))
            assert again.state == "succeeded"
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)
