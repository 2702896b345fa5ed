"""Long work over HTTP: real server, real workers, real broker; what a client sees, also when half of it is gone."""

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml.models.registry import Registry
from testing.jobs import JobHarness, run_jobs
from testing.servers import PATIENCE_S, Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from worker.jobs import ScoringParameters

JSON = {"content-type": "application/json"}
RECORDINGS = 40


class Client:
    """A server with jobs, asked as any client would.

    Args:
        server: where.
        jobs: its queue and workers, for what no client does.
    """

    def __init__(self, server: ServerProcess, jobs: JobHarness) -> None:
        self.server, self.jobs = server, jobs
        self.http = server.client

    def submit(self, kind: str, **parameters: object) -> str:
        """Ask for a job; its id."""
        answer = self.http.post(f"/v1/jobs/{kind}", json=parameters)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        return str(answer.json()["id"])

    def wait_for_end(self, job: str) -> dict[str, Any]:
        """The job once it has ended."""

        def there() -> dict[str, Any] | None:
            found: dict[str, Any] = self.http.get(f"/v1/jobs/{job}").json()
            return found if found["ended"] else None

        ended: dict[str, Any] = wait_until(there)
        return ended


def put_in(http: httpx.Client, name: str, count: int) -> None:
    """Recordings of a fan into a dataset, a third of them with another hum; all different, one unlabelled."""
    for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0), (None, 120.0)):
        some = 1 if label is None else count if label == "normal" else count // 2
        files = [
            ("file", (f"{label}-{i}.wav", sounds.recording(sounds.fan(1.0, seed=int(blade_hz) * 1000 + i + some))))
            for i in range(some)
        ]
        form = {"machine_id": "fan-3"} | ({"label": label} if label else {})
        answer = http.post(f"/v1/datasets/{name}/recordings", files=files, data=form)
        assert answer.status_code == 201, answer.text


def one_session_of_each_fault(folder: Path) -> None:
    """Leave all others out of a manifest: some of the faults can then be held out alone."""
    manifest = folder / "manifest.csv"
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    first = {row["fault"]: row["group"] for row in reversed(rows)}
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if not row["fault"] or row["group"] == first[row["fault"]])


@pytest.fixture(scope="module")
def client(
    original_home: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory, serve_for_all: Serve
) -> Iterator[Client]:
    """A server of two processes, a worker and a trainer, with a champion and two datasets."""
    root = tmp_path_factory.mktemp("jobs-http")
    home = Path(shutil.copytree(original_home, root / "home"))
    with run_jobs(root, home) as jobs:
        server = serve_for_all(home, redis_url=jobs.broker.url, processes=2)
        jobs.start_worker(children=2)
        jobs.start_worker(queues=("training",), children=1)
        put_in(server.client, "hall-3", RECORDINGS)
        one_session_of_each_fault(Path(shutil.copytree(tiny, home / "datasets" / "tiny")))
        yield Client(server, jobs)
        server.stop()


def test_a_session_from_upload_to_rows(client: Client) -> None:
    """Recordings in, features, verdicts: 202 with Location and Retry-After, then success, and a row per recording."""
    answer = client.http.post("/v1/jobs/feature-extraction", json={"dataset": "hall-3"})
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "1")
    extracted = client.wait_for_end(answer.json()["id"])
    assert extracted["state"] == "succeeded"
    assert extracted["summary"]["recordings"] == RECORDINGS + RECORDINGS // 2 + 1
    assert extracted["summary"]["errors_by_code"] == {"label_missing": 1}
    scored = client.wait_for_end(client.submit("scoring", dataset="hall-3"))
    assert scored["summary"]["recordings"] == RECORDINGS + RECORDINGS // 2 + 1
    assert scored["summary"]["errors"] == 0
    assert scored["model_version"] == Registry(client.jobs.home).resolve("champion")
    assert scored["dataset_version"].isdigit()


def test_a_result_is_the_same_in_three_forms(client: Client) -> None:
    """JSON, NDJSON and CSV hold the same rows, by parameter or by Accept; they equal the answers of /v1/predict."""
    job = client.submit("scoring", dataset="hall-3")
    client.wait_for_end(job)
    rows = client.http.get(f"/v1/jobs/{job}/result").json()
    lines = client.http.get(f"/v1/jobs/{job}/result", headers={"accept": "application/x-ndjson"})
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == rows
    table = client.http.get(f"/v1/jobs/{job}/result?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    read = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["name"], float(row["score"])) for row in read] == [(row["name"], row["score"]) for row in rows]
    audio = client.http.get(f"/v1/datasets/hall-3/recordings/{rows[0]['recording']}/audio").content
    single = client.http.post("/v1/predict", content=audio, headers={"content-type": "audio/wav"}).json()
    assert rows[0]["score"] == pytest.approx(single["score"], abs=1e-6)


def test_a_job_has_an_etag(client: Client) -> None:
    """What has not changed is 304 without a body; an ended job never changes."""
    job = client.submit("diagnostic")
    client.wait_for_end(job)
    first = client.http.get(f"/v1/jobs/{job}")
    again = client.http.get(f"/v1/jobs/{job}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = client.http.get(f"/v1/jobs/{job}", headers={"if-none-match": '"other"'})
    assert other.json() == first.json()


def test_jobs_are_listed_by_pages_and_filters(client: Client) -> None:
    """The newest first, each once, over pages; filters by kind, state and dataset."""
    made = [client.submit("diagnostic") for _ in range(7)]
    for job in made:
        client.wait_for_end(job)
    seen, cursor = [], None
    while len(seen) < len(made):
        page = client.http.get(
            "/v1/jobs", params={"kind": "diagnostic", "limit": 3} | ({"cursor": cursor} if cursor else {})
        )
        seen += [job["id"] for job in page.json()["jobs"]]
        cursor = page.json()["next"]
    assert seen[: len(made)] == made[::-1]
    scorings = client.http.get("/v1/jobs?dataset=hall-3&kind=scoring&state=succeeded").json()["jobs"]
    assert {(job["kind"], job["state"], job["parameters"]["dataset"]) for job in scorings} == {
        ("scoring", "succeeded", "hall-3")
    }
    assert client.http.get("/v1/jobs?state=failed&dataset=hall-3").json() == {"jobs": [], "next": None}


def events_of(response: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, comments left out."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            if "id" in event:
                yield event
            event = {}


def test_a_stream_taken_up_again_misses_nothing_and_repeats_nothing(client: Client) -> None:
    """Dropped after every few events and taken up with Last-Event-ID, until the end; then there is nothing (204)."""
    job = client.submit("diagnostic", seconds=3)
    seen: list[dict[str, str]] = []
    while not seen or seen[-1]["event"] != "end":
        headers = {"last-event-id": seen[-1]["id"]} if seen else {}
        with client.http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for count, event in enumerate(events_of(stream), 1):
                seen.append(event)
                if count == 3 or event["event"] == "end":
                    break
    events = [(at, event, data) for at, event, data in client.jobs.events(job)]
    assert [(each["id"], each["event"], json.loads(each["data"])) for each in seen] == events
    assert len(seen) > 6
    over = client.http.get(f"/v1/jobs/{job}/events", headers={"last-event-id": seen[-1]["id"]})
    assert (over.status_code, over.content) == (204, b"")


def test_only_so_many_may_watch(client: Client, serve: Serve) -> None:
    """One more gets 503 with Retry-After; once one has gone, there is room again."""
    server = serve(client.jobs.home, redis_url=client.jobs.broker.url, event_streams=1)
    job = client.submit("diagnostic", seconds=20)
    path = f"/v1/jobs/{job}/events"
    with server.client.stream("GET", path) as first:
        events = events_of(first)  # kept, for what is thrown away hangs up
        next(events)
        assert_problem(server.afresh("GET", path), 503, "busy")

    def is_there_room() -> bool:
        with httpx.stream("GET", server.base_url + path, trust_env=False, timeout=PATIENCE_S) as second:
            return second.status_code == 200

    assert wait_until(is_there_room)
    client.http.delete(f"/v1/jobs/{job}")


def test_a_request_id_leads_from_the_answer_to_the_workers_lines(client: Client) -> None:
    """The id that a client sends is in the record, and in the lines of the worker that did the job."""
    answer = client.http.post("/v1/jobs/diagnostic", json={}, headers={"x-request-id": "line-3.0001"})
    job = answer.json()["id"]
    assert client.wait_for_end(job)["request_id"] == "line-3.0001"
    lines = [line for worker in client.jobs.workers for line in worker.lines() if line.get("job") == job]
    assert {line["request_id"] for line in lines} == {"line-3.0001"}
    assert [line["message"] for line in lines] == ["begun", "done"]


def test_cancelled_while_it_runs_it_ends(client: Client) -> None:
    """DELETE answers 202; the job is cancelled, has no result, and a second DELETE changes nothing."""
    job = client.submit("diagnostic", seconds=60)
    wait_until(lambda: client.http.get(f"/v1/jobs/{job}").json()["state"] == "running")
    assert client.http.delete(f"/v1/jobs/{job}").json()["state"] == "cancelling"
    assert client.wait_for_end(job)["state"] == "cancelled"
    assert client.http.delete(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert_problem(client.http.get(f"/v1/jobs/{job}/result"), 409, "job_result_not_ready")


def test_the_same_key_is_the_same_job(client: Client) -> None:
    """Twenty at once with one Idempotency-Key are one job; another body under that key is refused."""
    headers = {"idempotency-key": "shift-2/0001"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.http.post("/v1/jobs/diagnostic", json={}, headers=headers), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = client.http.post("/v1/jobs/diagnostic", json={"seconds": 1}, headers=headers)
    assert_problem(other, 422, "idempotency_conflict")


def test_two_hundred_at_once_all_succeed(client: Client) -> None:
    """Submitted from many connections, each is done, once."""
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: client.submit("diagnostic"), range(200)))
    assert {client.wait_for_end(job)["state"] for job in made} == {"succeeded"}
    assert all(client.jobs.endings(job) == [("succeeded", 1)] for job in made)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("scoring", {}, "request_invalid"),
        ("scoring", {"dataset": "../etc"}, "request_invalid"),
        ("scoring", {"dataset": "hall-3", "path": "/etc/passwd"}, "request_invalid"),
        ("retraining", {"dataset": "hall-3", "promote": "perhaps"}, "request_invalid"),
        ("retraining", {"dataset": "hall-3", "engines": ["distance"]}, "request_invalid"),
        ("diagnostic", {"seconds": -1}, "request_invalid"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(client: Client, kind: str, body: dict[str, Any], code: str) -> None:
    """422, with the field that is wrong; nothing is queued."""
    assert_problem(client.http.post(f"/v1/jobs/{kind}", json=body), 422, code)


def test_a_job_that_cannot_be_done_fails_by_name(client: Client) -> None:
    """Dataset or model has gone since it was asked for: the code and the sentence are in the record."""
    gone = client.wait_for_end(client.jobs.submit(ScoringParameters(dataset="nowhere")))
    assert (gone["state"], gone["error"]["code"]) == ("failed", "dataset_not_found")
    other = client.wait_for_end(client.jobs.submit(ScoringParameters(dataset="hall-3", model="fan-0123456789")))
    assert other["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("kind", ["feature-extraction", "scoring", "retraining"])
def test_a_missing_dataset_is_refused_at_once(client: Client, kind: str) -> None:
    """404 with those that are; nothing is queued."""
    refused = assert_problem(client.http.post(f"/v1/jobs/{kind}", json={"dataset": "hal-3"}), 404, "dataset_not_found")
    assert refused["detail"] == "There is no dataset 'hal-3'; existing datasets: hall-3, tiny."
    assert client.http.get("/v1/jobs?dataset=hal-3").json()["jobs"] == []


def test_a_request_that_made_a_job_has_it_when_its_dataset_is_gone(client: Client) -> None:
    """The same Idempotency-Key is answered with the job that there was."""
    client.http.post("/v1/datasets", json={"name": "for-a-day"}).raise_for_status()
    asked = {"url": "/v1/jobs/scoring", "json": {"dataset": "for-a-day"}, "headers": {"idempotency-key": "for-a-day"}}
    made = client.http.post(**asked)
    assert made.status_code == 202, made.text
    client.wait_for_end(made.json()["id"])
    client.http.delete("/v1/datasets/for-a-day?confirm=for-a-day").raise_for_status()
    again = client.http.post(**asked)
    assert (again.status_code, again.json()["id"]) == (202, made.json()["id"])


def test_a_missing_model_is_refused_at_once(client: Client) -> None:
    """404 with those that are, and with what is to be done about an alias that points nowhere."""
    versions = ", ".join(Registry(client.jobs.home).versions())
    wrong = client.http.post("/v1/jobs/scoring", json={"dataset": "hall-3", "model": "fan-9"})
    sentence = f"There is no model 'fan-9'; the newest versions are: {versions}."
    assert assert_problem(wrong, 404, "model_not_found")["detail"] == sentence
    unset = client.http.post("/v1/jobs/scoring", json={"dataset": "hall-3", "model": "challenger"})
    assert_problem(unset, 404, "model_alias_not_set")


def test_a_job_that_is_not_there_is_no_missing_page(client: Client) -> None:
    """Whether an id looks like one or not; and an unknown kind gets the list of kinds."""
    for job in ("0" * 24, "nosuch"):
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
            assert_problem(client.http.request(method, f"/v1/jobs/{job}{path}"), 404, "job_not_found")
    unknown = assert_problem(client.http.post("/v1/jobs/training", json={}), 404, "job_kind_unknown")
    assert unknown["detail"].endswith(
        "the kinds are feature-extraction, scoring, retraining, recalibration, diagnostic."
    )
    assert_problem(client.http.get("/v1/jobs/scoring"), 405, "method_not_allowed")
    assert_problem(client.http.post("/v1/jobs/" + "0" * 24), 405, "method_not_allowed")


def test_a_retraining_is_live_in_every_process(client: Client) -> None:
    """Trained, promoted, answering in both API processes; the report is served; five at once were one job.

    What it could not learn, for there is one session of each, is in the summary, in the log and in the report.
    """
    asked = {"dataset": "tiny", "promote": "always", "epochs": 4, "refit": False}
    with ThreadPoolExecutor(5) as pool:
        made = set(pool.map(lambda _: client.submit("retraining", **asked), range(5)))
    (job,) = made
    assert_problem(client.http.post("/v1/jobs/retraining", json=asked | {"epochs": 5}), 409, "job_conflict")
    ended = client.wait_for_end(job)
    assert ended["state"] == "succeeded", ended
    version = ended["summary"]["version"]
    assert ended["summary"]["promoted"] is True

    def everywhere() -> bool:
        # Each on a connection of its own, so that both processes are asked.
        asked = [client.server.afresh("GET", "/readyz").json() for _ in range(8)]
        return {ready["model"]["version"] for ready in asked} == {version}

    wait_until(everywhere)
    report = client.http.get(f"/v1/models/{version}/report")
    assert (report.status_code, "</html>" in report.text) == (200, True)
    assert ended["summary"]["not_learned"] == ["clogging", "imbalance"]
    sentence = "Not learned, because all their recordings are held out: clogging (1), imbalance (1);"
    assert sentence in report.text
    logged = [data["message"] for _, event, data in client.jobs.events(job) if event == "log"]
    assert [message for message in logged if message.startswith(sentence)]
    (row,) = client.http.get(f"/v1/jobs/{job}/result").json()
    assert row["version"] == version
    lines = [line for worker in client.jobs.workers for line in worker.log().splitlines() if not line.startswith("{")]
    assert [line for line in lines if "tensorflow" in line.lower()] == []


def test_metrics_tell_of_jobs_queues_and_workers(client: Client) -> None:
    """Jobs by kind and state, what waits, times, and the known workers; the same whichever process is asked."""
    text = client.http.get("/metrics").text
    assert "signalml_queue_up 1.0" in text
    assert 'signalml_jobs{kind="diagnostic",state="succeeded"}' in text
    assert 'signalml_queue_waiting{queue="training"} 0.0' in text
    assert 'signalml_workers{queue="scoring"} 1.0' in text
    assert 'signalml_job_run_seconds_count{kind="diagnostic"}' in text


def test_without_its_queue_jobs_are_refused_and_uploads_answered(
    serve: Serve, original_home: Path, wav: bytes, tmp_path: Path
) -> None:
    """Frozen, then gone: job routes answer 503 with a reason, and do not wait; inference, models and datasets go on."""
    home = Path(shutil.copytree(original_home, tmp_path / "home"))
    with run_jobs(tmp_path, home) as jobs:
        server = serve(home, redis_url=jobs.broker.url)
        assert server.client.post("/v1/jobs/diagnostic", json={}).status_code == 202

        def refused() -> None:
            for method, path in (("POST", "/v1/jobs/diagnostic"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/" + "0" * 24)):
                body = {"json": {}} if method == "POST" else {}
                answer = server.client.request(method, path, **body)
                problem = assert_problem(answer, 503, "queue_unavailable")
                assert "does not answer" in problem["detail"]
                assert answer.headers["retry-after"] == "1"

        def all_at_once() -> None:
            with ThreadPoolExecutor(12) as pool:
                list(pool.map(lambda _: refused(), range(12)))

        def others_go_on() -> None:
            headers = {"content-type": "audio/wav"}
            assert server.client.post("/v1/predict", content=wav, headers=headers).is_success
            assert server.client.get("/v1/models").is_success
            assert server.client.get("/v1/datasets").is_success
            assert server.client.get("/metrics").text.count("signalml_queue_up 0.0") == 1

        jobs.broker.freeze()
        try:
            busy = threading.Thread(target=all_at_once)
            busy.start()
            others_go_on()
            busy.join()
        finally:
            jobs.broker.thaw()
        wait_until(lambda: server.client.get("/v1/jobs").status_code == 200)
        jobs.broker.kill()
        refused()
        others_go_on()
        jobs.broker.start()
        wait_until(lambda: server.client.get("/v1/jobs").status_code == 200)
        assert server.client.get("/v1/jobs").json()["jobs"][0]["kind"] == "diagnostic"


def test_a_service_without_a_queue_answers_no_queue(server: ServerProcess) -> None:
    """503 with what to set; nothing else minds."""
    problem = assert_problem(server.client.post("/v1/jobs/diagnostic", json={}), 503, "queue_unavailable")
    assert "SIGNALML_REDIS_URL" in problem["detail"]


def test_the_api_holds_no_tensorflow_after_all_this(client: Client) -> None:
    """No process of the server has mapped it; nor has the workers' parent."""
    parents = [worker.pid for worker in client.jobs.workers]
    for pid in [*(process.pid for process in client.server.processes()), *parents]:
        assert "tensorflow" not in Path(f"/proc/{pid}/maps").read_text()
    assert os.path.exists(f"/proc/{parents[0]}")  # noqa: PTH110 - of a process
