"""A threshold is moved over HTTP while clients ask: nobody is refused, and every answer is by one threshold."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold, threshold_at
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from testing.jobs import run_jobs
from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from tests.integration.conftest import Lend
from tests.integration.machines import judged_of, wait_for_verdicts
from tests.integration.test_model_swaps import clients
from tests.integration.test_models import create_key
from tests.integration.uploads import WAV_TYPE, Body, judged
from tests.unit import bundles, detectors
from worker.jobs import ScoringParameters

MOVES = 20


@pytest.fixture
def classifying(original_home: Path, lend: Lend) -> Iterator[ServerProcess]:
    """A server whose champion is a classifier, to be changed."""
    with lend(original_home) as server:
        yield server


@pytest.fixture(scope="module")
def detector_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose champion is a detector with scores of 199 healthy recordings. For reading."""
    home = tmp_path_factory.mktemp("detector") / "home"
    registry = Registry(home)
    registry.promote(detectors.add(registry))
    return home


@pytest.fixture
def detector_server(detector_home: Path, lend: Lend) -> Iterator[ServerProcess]:
    """A server of that home, to be changed."""
    with lend(detector_home) as server:
        yield server


def state(server: ServerProcess, reference: str = "champion") -> Body:
    """The answer of GET."""
    found: Body = server.client.get(f"/v1/models/{reference}/threshold").raise_for_status().json()
    return found


def move(server: ServerProcess, reference: str = "champion", **wanted: Any) -> httpx.Response:
    """PATCH, on a connection of its own."""
    return server.afresh("PATCH", f"/v1/models/{reference}/threshold", json=wanted)


# Its description


def test_a_detectors_threshold_is_shown_with_what_it_rests_on(detector_server: ServerProcess) -> None:
    """In force, with the expected rate, its interval and its n; and what each sensitivity would mean."""
    shown = state(detector_server)
    assert (shown["version"], shown["current"]["revision"]) == (detector_version(detector_server), 1)
    assert (shown["current"]["threshold"], shown["current"]["basis"]) == (0.5, "chosen by a test")
    evidence = shown["evidence"]
    assert evidence["expected"]["low"] < evidence["expected"]["value"] < evidence["expected"]["high"]
    assert (evidence["n"], evidence["smallest_rate"]) == (199, 1 / 200)
    assert "5 sessions" in evidence["notes"][0]
    points = shown["sensitivities"]
    assert {point["sensitivity"]: point["false_alarm_rate"] for point in points} == SENSITIVITIES
    scores = detectors.calibration().named
    assert [point["threshold"] for point in points] == [threshold_at(scores, rate) for rate in SENSITIVITIES.values()]
    assert "support no false-alarm rate below 0.5 %" in points[0]["evidence"]["notes"][0]


def test_a_preview_has_the_scores_and_the_alarms_of_machines(detector_server: ServerProcess) -> None:
    """At another threshold, without a change."""
    before = state(detector_server)
    wav = sounds.recording(sounds.fan(3.0, seed=1))
    scores = [judged_of(detector_server, wav)["score"] for _ in range(3)]
    wait_for_verdicts(detector_server, 3)
    path = "/v1/models/champion/threshold/preview"
    low = detector_server.client.get(path, params={"threshold": 0.0}).json()
    (machine,) = low["machines"]
    assert (low["threshold"], machine["machine_id"], machine["recordings"]) == (0.0, "fan-3", 3)
    assert (machine["then"]["anomalous"], machine["then"]["alarms"][0]["highest"]) == (3, max(scores))
    assert low["normal_scores"] == sorted(detectors.calibration().named)
    assert low["evidence"]["expected"]["value"] > 0.9
    high = detector_server.client.get(path, params={"threshold": 1.0}).json()
    assert (high["machines"][0]["then"], high["alarms"]["counted"]) == ({"anomalous": 0, "alarms": []}, 0)
    assert state(detector_server) == before
    assert_problem(detector_server.client.get(path, params={"threshold": 2}), 422, "request_invalid")
    assert_problem(detector_server.client.get(path), 422, "request_invalid")


def detector_version(server: ServerProcess) -> str:
    """The version of its champion."""
    return Registry(server.home).resolve("champion")


def test_a_classifiers_threshold_is_shown_without_any(server: ServerProcess) -> None:
    """Nobody has measured it, and no sensitivity would mean anything."""
    shown = state(server)
    assert shown["current"]["false_alarm_rate"] is None
    assert (shown["evidence"], shown["sensitivities"], len(shown["history"])) == (None, [], 1)
    assert shown["alarms"] is None


def test_a_version_an_alias_and_a_name_are_one(detector_server: ServerProcess) -> None:
    """The name that a version begins with means the newest of that name."""
    assert (
        state(detector_server)
        == state(detector_server, "hall-3")
        == state(detector_server, detector_version(detector_server))
    )


# Moving it


@pytest.mark.parametrize("wanted", [{"sensitivity": "high"}, {"false_alarm_rate": 0.05}, {"threshold": 0.85}])
def test_a_moved_threshold_is_in_the_very_next_answer(detector_server: ServerProcess, wav: bytes, wanted: Body) -> None:
    """Whichever way it is asked for, and in what shows the model; the earlier ones are kept."""
    before = judged(detector_server.client, wav)
    answer = move(detector_server, **wanted)
    assert answer.status_code == 200
    moved = answer.json()
    assert moved == state(detector_server)
    assert [place["revision"] for place in moved["history"]] == [1, 2]
    assert moved["current"]["sensitivity"] == wanted.get("sensitivity")
    assert moved["current"]["threshold"] == wanted.get("threshold", threshold_at(detectors.calibration().named, 0.05))
    after = judged(detector_server.client, wav)
    assert (before["threshold"], after["threshold"]) == (0.5, moved["current"]["threshold"])
    assert after["false_alarm_rate"] == moved["current"]["false_alarm_rate"] == moved["evidence"]["expected"]["value"]
    assert after["score"] == before["score"]
    decision = detector_server.client.get("/v1/models/champion").json()["decision"]
    assert decision["threshold"] == moved["current"]["threshold"]


def test_a_limit_of_false_alarms_moves_it(detector_server: ServerProcess) -> None:
    """The answer has the request, the false alarms at this threshold, and what the recordings support."""
    shown = state(detector_server)
    assert (shown["current"]["false_alarms"], shown["current"]["every"]) == (None, None)
    assert shown["alarms"]["rule"] == {"raise_at": 3, "of": 5, "clear_at": 1}
    assert shown["alarms"]["counted"] > 0
    moved = move(detector_server, false_alarms="1/month", every="10min").raise_for_status().json()
    assert (moved["current"]["false_alarms"], moved["current"]["every"]) == ("1/month", "10min")
    assert (moved["alarms"]["counted"], moved["alarms"]["per_recording"]["value"]) == (0, 1 / 200)
    assert "199 normal recordings support no fewer false alarms" in moved["alarms"]["notes"][0]
    assert moved == state(detector_server)


def test_a_classifiers_threshold_is_moved_by_rate(classifying: ServerProcess) -> None:
    """A classifier with scores of normal recordings has evidence and sensitivities, as a detector has."""
    version = bundles.calibrated(Registry(classifying.home))
    answer = move(classifying, version, false_alarm_rate=0.1)
    assert answer.status_code == 200
    moved = answer.json()
    assert moved["current"]["threshold"] == calibrated_threshold(bundles.normal_scores().calibration, 0.1)
    assert (moved["evidence"]["n"], moved["evidence"]["n_sessions"]) == (199, 5)
    assert moved["evidence"]["rate_holds_for"] == "new_session"
    assert [point["sensitivity"] for point in moved["sensitivities"]] == list(SENSITIVITIES)


def test_reset_brings_the_first_one_back(classifying: ServerProcess, wav: bytes) -> None:
    """As a revision of its own, and the answers of before."""
    before = judged(classifying.client, wav)
    opposite = 0.0 if before["verdict"] == "normal" else 1.0
    assert move(classifying, threshold=opposite).status_code == 200
    assert judged(classifying.client, wav)["verdict"] != before["verdict"]
    back = move(classifying, reset=True).json()
    assert [place["threshold"] for place in back["history"]] == [0.5, opposite, 0.5]
    after = judged(classifying.client, wav)
    assert {**after, "model": None} == {**before, "model": None}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "parameter_invalid"),
        ({"reset": False}, 422, "parameter_invalid"),
        ({"threshold": 0.5, "sensitivity": "high"}, 422, "parameter_invalid"),
        ({"threshold": 1.5}, 422, "request_invalid"),
        ({"threshold": "0.5"}, 422, "request_invalid"),
        ({"false_alarm_rate": 0}, 422, "request_invalid"),
        ({"sensitivity": "higher"}, 422, "request_invalid"),
        ({"treshold": 0.5}, 422, "request_invalid"),
        ({"sensitivity": "high"}, 409, "model_not_calibrated"),
        ({"false_alarm_rate": 0.01}, 409, "model_not_calibrated"),
        ({"false_alarms": "1/month", "every": "10min"}, 409, "model_not_calibrated"),
        ({"false_alarms": "1/month"}, 422, "parameter_invalid"),
        ({"false_alarms": "1/month", "every": "10min", "threshold": 0.5}, 422, "parameter_invalid"),
        ({"false_alarms": "1/moon", "every": "10min"}, 422, "request_invalid"),
    ],
    ids=str,
)
def test_a_threshold_that_cannot_be_is_refused(server: ServerProcess, body: Body, status: int, code: str) -> None:
    """By name, and nothing changes."""
    before = state(server)
    assert_problem(server.client.patch("/v1/models/champion/threshold", json=body), status, code)
    assert state(server) == before


def test_a_model_that_is_not_there_has_no_threshold(server: ServerProcess) -> None:
    """An unknown version, and an alias that points nowhere."""
    assert_problem(server.client.get("/v1/models/nobody/threshold"), 404, "model_not_found")
    assert_problem(move(server, "nobody-0123456789", threshold=0.5), 404, "model_not_found")
    assert_problem(move(server, "challenger", threshold=0.5), 404, "model_alias_not_set")


def test_it_is_seen_by_whoever_may_ask_and_moved_by_an_admin(serve: Serve, home: Path) -> None:
    """As the names of classes are."""
    locked = serve(home, require_api_key=True)
    keys = {scope: {"x-api-key": create_key(home, scope, scope)} for scope in ("predict", "read", "admin")}
    url = "/v1/models/champion/threshold"
    assert_problem(locked.client.get(url), 401, "api_key_missing")
    assert locked.client.get(url, headers=keys["read"]).status_code == 200
    assert_problem(locked.client.get(url, headers=keys["predict"]), 403, "api_key_scope_missing")
    assert_problem(locked.client.patch(url, json={"threshold": 0.4}), 401, "api_key_missing")
    assert_problem(
        locked.client.patch(url, json={"threshold": 0.4}, headers=keys["predict"]), 403, "api_key_scope_missing"
    )
    assert locked.client.patch(url, json={"threshold": 0.4}, headers=keys["admin"]).status_code == 200


# Under load


@pytest.mark.parametrize("kind", ["classifying", "detector_server"])
def test_a_threshold_that_moves_fails_nobody_and_mixes_nothing(
    kind: str, wav: bytes, request: pytest.FixtureRequest
) -> None:
    """20 moves, 8 clients: only 200, and each answer's verdict follows from its own threshold, in every window."""
    server: ServerProcess = request.getfixturevalue(kind)
    expected = {}
    for threshold in (0.0, 1.0):
        assert move(server, threshold=threshold).status_code == 200
        expected[threshold] = without_revision(judged(server.client, wav))
    assert [expected[threshold]["verdict"] for threshold in (0.0, 1.0)] == ["anomalous", "normal"]
    ask = "/v1/predict"
    with clients(server, lambda client: client.post(ask, content=wav, headers=WAV_TYPE)) as answers:
        statuses = [move(server, threshold=float(i % 2)).status_code for i in range(MOVES)]
    assert statuses == [200] * MOVES
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    bodies = [answer.json() for answer in answers]
    assert all(without_revision(body) == expected[body["threshold"]] for body in bodies)
    history = {place["revision"]: place["threshold"] for place in state(server)["history"]}
    assert list(history) == list(range(1, MOVES + 4))
    assert all(body["threshold"] == history[body["model"]["threshold_revision"]] for body in bodies)
    assert {body["threshold"] for body in bodies} == {0.0, 1.0}
    assert len(bodies) > MOVES


def without_revision(body: Body) -> Body:
    """An answer but for the number of the threshold's revision, which grows with each move."""
    return {**body, "model": {"version": body["model"]["version"]}}


def test_a_batch_is_judged_by_one_threshold(classifying: ServerProcess, wav: bytes) -> None:
    """All files of one request, whatever happens meanwhile."""
    parts = [("file", (f"{i}.wav", wav)) for i in range(3)]
    with clients(classifying, lambda client: client.post("/v1/predict/batch", files=parts)) as answers:
        for i in range(10):
            assert move(classifying, threshold=float(i % 2)).status_code == 200
    batches = [[result["prediction"] for result in answer.json()["results"]] for answer in answers]
    assert all(len({each["threshold"] for each in batch}) == 1 for batch in batches)
    assert {each["threshold"] for batch in batches for each in batch} >= {0.0, 1.0}


def test_a_moved_threshold_is_live_in_every_process(serve: Serve, home: Path) -> None:
    """Moved in one process of two, it soon decides in the other."""
    server = serve(home, processes=2, inference_threads=1)
    wav = sounds.recording(sounds.fan(1.0))
    assert move(server, threshold=0.875).status_code == 200

    def thresholds() -> set[float]:
        answers = [server.afresh("POST", "/v1/predict", content=wav, headers=WAV_TYPE) for _ in range(12)]
        return {answer.json()["threshold"] for answer in answers}

    wait_until(lambda: thresholds() == {0.875})


def test_scoring_jobs_judge_by_a_moved_threshold(home: Path, tmp_path: Path) -> None:
    """A worker that has loaded the model already judges the next job by where the threshold is then."""
    folder = home / "datasets" / "few" / "normal"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.wav").write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    with run_jobs(tmp_path / "queue", home) as jobs:
        jobs.start_worker(children=1)
        for threshold, verdict in ((0.0, "anomalous"), (1.0, "normal")):
            Registry(home).set_threshold("champion", ThresholdRequest(threshold=threshold))
            job = jobs.submit(ScoringParameters(dataset="few"))
            jobs.wait_for_state(job, "succeeded")
            judged_so = [(row["threshold"], row["verdict"]) for row in jobs.rows(job)]
            assert judged_so == [(threshold, verdict)] * 2


def test_a_threshold_is_moved_once_for_a_key(classifying: ServerProcess) -> None:
    """A late repetition does not undo a later move; another request with the key is refused."""
    server = classifying

    def moved(key: str, **wanted: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return server.afresh("PATCH", "/v1/models/champion/threshold", json=wanted, headers=headers)

    first = moved("first", threshold=0.7).raise_for_status()
    assert "Idempotent-Replayed" not in first.headers
    moved("second", threshold=0.8).raise_for_status()
    repeated = moved("first", threshold=0.7)
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert repeated.json()["current"]["threshold"] == state(server)["current"]["threshold"] == 0.8
    assert_problem(moved("first", threshold=0.9), 422, "idempotency_conflict")
    alias = {"json": {"version": "champion"}, "headers": {"Idempotency-Key": "first"}}
    assert_problem(server.client.put("/v1/models/aliases/champion", **alias), 422, "idempotency_conflict")
    assert_problem(moved("third", threshold=2.0), 422, "request_invalid")
    moved("third", threshold=0.75).raise_for_status()  # a refused request does not use up its key
    assert state(server)["current"]["threshold"] == 0.75


def test_a_late_repetition_undoes_no_promotion_and_no_names(two_models: tuple[Path, str, str], lend: Lend) -> None:
    """With the key of its request, it changes nothing."""
    home, first, second = two_models
    with lend(home) as server:

        def put(version: str, key: str) -> httpx.Response:
            headers = {"Idempotency-Key": key}
            return server.client.put("/v1/models/aliases/champion", json={"version": version}, headers=headers)

        put(second, "second").raise_for_status()
        put(first, "first").raise_for_status()
        repeated = put(second, "second")
        assert repeated.headers["Idempotent-Replayed"] == "true"
        assert repeated.json()["aliases"]["champion"] == first

        def name(prefix: str) -> httpx.Response:
            classes = [{"name": f"{prefix}_{number}", "message": prefix} for number in range(4)]
            headers = {"Idempotency-Key": prefix}
            return server.client.patch(f"/v1/models/{first}/labels", json={"classes": classes}, headers=headers)

        assert [name(prefix).json()["revision"] for prefix in ("a", "b", "a")] == [2, 3, 3]
