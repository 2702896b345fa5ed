"""A recalibration over HTTP and on the command line: real servers, a real worker, and answers by the new scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.dataset.indexing.build import index
from ml.models.registry import Registry
from testing.jobs import JobHarness, run_jobs
from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.integration.uploads import WAV_TYPE
from tests.unit.test_recalibration import PER_DAY, add, fitted, sound, write
from worker.jobs import RecalibrationParameters


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose champion has learned from one day, and a dataset of four other days."""
    home = tmp_path_factory.mktemp("recalibration") / "home"
    write(home.parent / "old", ("d1",))
    Registry(home).promote(add(home, fitted(index(home.parent / "old", processes=1), ("d1",))))
    write(home / "datasets" / "hall-4", ("d2", "d3", "d4", "d5"))
    write(home / "datasets" / "few", ("d2",), count=3)
    return home


@pytest.fixture(scope="module")
def jobs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobHarness]:
    """A queue and a worker."""
    with run_jobs(tmp_path_factory.mktemp("queue"), home) as running:
        running.start_worker(children=1)
        yield running


@pytest.fixture(scope="module")
def server(home: Path, jobs: JobHarness, serve_for_all: Serve) -> ServerProcess:
    """A server of two processes."""
    return serve_for_all(home, redis_url=jobs.broker.url, processes=2, poll_interval_s=0.05)


def test_a_patch_with_a_dataset_is_a_job(server: ServerProcess, jobs: JobHarness) -> None:
    """It is answered with 202 and the job; every process then answers by the new scores."""
    champion = Registry(server.home).resolve("champion")
    wav = sound("d4", 3)
    before = judged(server, wav)
    assert before["rate_holds_for"] == "same_session"
    answer = server.client.patch("/v1/models/champion/threshold", json={"recalibrate": "hall-4"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.json()["parameters"] == {
        "dataset": "hall-4",
        "model": champion,
        "false_alarm_rate": None,
        "sensitivity": None,
        "confirm_labels": False,
    }
    job = jobs.wait_for_end(answer.json()["id"])
    assert (job.state, job.model_version) == ("succeeded", champion)
    state = server.client.get("/v1/models/champion/threshold").json()
    assert job.summary is not None
    assert job.summary["threshold"] == state["current"]["threshold"]
    assert (job.summary["recordings"], job.summary["sessions"], job.summary["rate_holds_for"]) == (
        *(4 * PER_DAY, 4, "new_session"),
    )
    assert state["recalibration"] == {
        "dataset": "hall-4",
        "recordings": 4 * PER_DAY,
        "sessions": 4,
        "with_training": False,
        "odd_recordings": [],
        "left_out": {},
    }
    assert (state["evidence"]["n"], state["evidence"]["rate_holds_for"]) == (4 * PER_DAY, "new_session")
    rows = jobs.rows(job.id)
    assert len(rows) == 4 * PER_DAY
    assert {row["session"] for row in rows} == {"d2", "d3", "d4", "d5"}

    def answers() -> set[tuple[float, str]]:
        return {(each["threshold"], each["rate_holds_for"]) for each in (judged(server, wav) for _ in range(8))}

    wait_until(lambda: answers() == {(state["current"]["threshold"], "new_session")})
    after = judged(server, wav)
    assert after["score"] == before["score"]
    assert after["novelty"]["p_value"] != before["novelty"]["p_value"]


def judged(server: ServerProcess, wav: bytes) -> dict[str, Any]:
    """The answer of any process to a recording of the machine."""
    answer = server.afresh("POST", "/v1/predict?machine_id=id_00", content=wav, headers=WAV_TYPE)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


@pytest.mark.parametrize(
    "wanted",
    [
        {"recalibrate": "hall-4", "reset": True},
        {"recalibrate": "hall-4", "threshold": 0.5},
        {"recalibrate": "hall-4", "sensitivity": "low", "false_alarm_rate": 0.1},
        {"recalibrate": "../etc"},
    ],
)
def test_a_contradicting_request_is_refused(server: ServerProcess, wanted: dict[str, object]) -> None:
    """No job is submitted."""
    assert_problem(server.client.patch("/v1/models/champion/threshold", json=wanted), 422, "request_invalid")


def test_what_does_not_exist_is_refused_at_once(server: ServerProcess) -> None:
    """A dataset, and a model."""
    for url, body in (
        ("/v1/models/champion/threshold", {"recalibrate": "nosuch"}),
        ("/v1/models/nosuch/threshold", {"recalibrate": "hall-4"}),
    ):
        assert server.client.patch(url, json=body).status_code == 404
    assert server.client.post("/v1/jobs/recalibration", json={"dataset": "nosuch"}).status_code == 404


def test_a_job_with_too_few_recordings_fails_by_name(server: ServerProcess, jobs: JobHarness) -> None:
    """And the threshold stays."""
    before = server.client.get("/v1/models/champion/threshold").json()
    answer = server.client.post("/v1/jobs/recalibration", json={"dataset": "few", "false_alarm_rate": 0.1})
    job = jobs.wait_for_end(answer.json()["id"])
    assert job.error is not None
    assert (job.state, job.error.code) == ("failed", "dataset_too_small")
    assert "few has 3 normal recordings for a recalibration; at least 10" in job.error.detail
    assert server.client.get("/v1/models/champion/threshold").json() == before


def test_a_job_takes_a_rate(jobs: JobHarness) -> None:
    """By name, as the command line submits it."""
    job = jobs.wait_for_end(jobs.submit(RecalibrationParameters(dataset="hall-4", sensitivity="high")))
    assert job.state == "succeeded"
    assert Registry(jobs.home).threshold_revisions("champion")[-1].sensitivity == "high"


def test_the_command_names_what_counts(home: Path, tmp_path: Path) -> None:
    """A folder, or the name of a dataset; a second time, nothing changes."""
    shown = succeeds(home, "thresholds", "champion", "--recalibrate", "hall-4", "--false-alarm-rate", "0.2")
    assert "48 normal recordings of 4 sessions count, without those of the training." in shown
    assert "recalibrated with hall-4, for 20 % false alarms in a new session" in shown
    assert "measured with 48 of them, from 4 sessions" in shown
    again = succeeds(home, "thresholds", "champion", "--recalibrate", str(home / "datasets" / "hall-4"))
    assert "Nothing changed: this is the present threshold already." in again
    write(tmp_path / "old", ("d1",))
    refused = signalml(home, "thresholds", "champion", "--recalibrate", str(tmp_path / "old"))
    assert refused.returncode == 1
    assert "at least 10 of new sessions are needed. Left out: 12 that the model has learned from" in refused.stderr
    both = signalml(home, "thresholds", "champion", "--recalibrate", "hall-4", "--reset")
    assert_one_sentence(both, "--recalibrate and --reset were given")


def test_a_job_for_a_classifier_is_refused_at_once(server: ServerProcess, original_home: Path, tmp_path: Path) -> None:
    """It has no detector, so no job is accepted."""
    Registry(original_home).export("champion", tmp_path / "classifier.zip")
    version = Registry(server.home).add_archive(tmp_path / "classifier.zip")
    answer = server.client.post("/v1/jobs/recalibration", json={"dataset": "hall-4", "model": version})
    assert_problem(answer, 409, "model_not_calibrated")
