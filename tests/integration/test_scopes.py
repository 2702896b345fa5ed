"""Scopes and bindings of API keys: every route with every scope, and only what a key is bound to."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from api.api_keys import ApiKeyStore, parse_expiry
from api.main import create_app
from api.scopes import MEANINGS, OPEN_ROUTES, ROUTE_SCOPES, SCOPES, Scope, render_table, scope_of
from api.settings import Settings
from ml.errors import InvalidParameter
from testing.jobs import Broker
from testing.servers import ROOT, Serve, ServerProcess, assert_problem, wait_until
from tests import sounds
from worker.jobs import DiagnosticParameters, ExtractionParameters
from worker.queue import JobQueue

WAV_TYPE = {"content-type": "audio/wav"}
WAV = sounds.recording(sounds.fan(1.0))
ENDS_WITHIN_S = 60.0
METHODS = ("get", "put", "post", "delete", "patch")
SECURITY = (ROOT / "docs" / "security.md").read_text()


class Keyed(NamedTuple):
    """A server that requires keys, and its home."""

    server: ServerProcess
    keys: ApiKeyStore
    queue: JobQueue

    def key(self, name: str, *scopes: Scope, **bound: Any) -> dict[str, str]:
        """The header of a new key."""
        return {"x-api-key": self.keys.create(name, *scopes, **bound)}


@pytest.fixture(scope="module")
def keyed(original_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A server that requires keys and keeps three machines, with a queue that nobody works on."""
    root = tmp_path_factory.mktemp("scopes")
    home = Path(shutil.copytree(original_home, root / "home"))
    broker = Broker(root / "broker").start()
    server = serve_for_all(home, require_api_key=True, redis_url=broker.url, machines_kept=3)
    yield Keyed(server, ApiKeyStore(home), JobQueue(broker.url))
    broker.kill()


@pytest.fixture(scope="module")
def admin(keyed: Keyed) -> dict[str, str]:
    """A key that allows everything."""
    return keyed.key("admin", "admin")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema of the application."""
    found: dict[str, Any] = create_app(Settings(home=tmp_path_factory.mktemp("none"), _env_file=None)).openapi()
    return found


def routes(schema: dict[str, Any]) -> list[str]:
    """All routes of the schema that need a key."""
    every = [f"{m.upper()} {path}" for path, found in schema["paths"].items() for m in METHODS if m in found]
    return [route for route in every if route not in OPEN_ROUTES]


# The table


def test_every_route_of_the_schema_is_in_the_table_and_the_other_way_round(schema: dict[str, Any]) -> None:
    """A new route needs an entry; a removed one leaves none."""
    assert sorted(routes(schema)) == sorted(set(ROUTE_SCOPES) - {"POST /v1/jobs/{kind}"})


def test_a_route_without_an_entry_needs_admin() -> None:
    """It is closed and not open; a slash at the end makes no other route."""
    assert scope_of("GET", "/v1/new") == scope_of("DELETE", "/v1/models") == "admin"
    assert scope_of("POST", "/inference/") == "predict"


def test_each_operation_states_its_scope(schema: dict[str, Any]) -> None:
    """In its description and as its security requirement; open routes have none."""
    for path, found in schema["paths"].items():
        for method, operation in found.items():
            route = f"{method.upper()} {path}"
            if route in OPEN_ROUTES:
                assert "security" not in operation
                continue
            scope = ROUTE_SCOPES[route]
            assert operation["security"] == [{"APIKeyHeader": [] if scope is None else [scope]}]
            shown = "any" if scope is None else f"`{scope}`"
            assert operation["description"].endswith(f"Scope of the API key: {shown}.")


def test_the_page_on_security_has_the_table() -> None:
    """And the meaning of each scope."""
    assert render_table() in SECURITY
    for scope, meaning in MEANINGS.items():
        assert f"| `{scope}` | {meaning} |\n" in SECURITY


def test_every_route_takes_its_scope_and_no_other(keyed: Keyed, schema: dict[str, Any]) -> None:
    """All routes with all scopes, with no key, a wrong one and an expired one."""
    keys = {scope: keyed.key(f"walk-{scope}", scope) for scope in SCOPES}
    expired = keyed.key("walk-expired", "admin", expires=datetime.now(UTC) - timedelta(seconds=1))
    # This route is not in the schema: the answer to an unknown kind of job.
    for route in (*routes(schema), "POST /v1/jobs/{kind}"):
        method, path = route.split()
        url = re.sub("{.+?}", "absent", path.replace("{job}", "0" * 24))
        for wrong, code in (({}, "api_key_missing"), ({"x-api-key": "sml_x"}, "api_key_missing")):
            assert_problem(keyed.server.client.request(method, url, headers=wrong), 401, code)
        assert_problem(keyed.server.client.request(method, url, headers=expired), 401, "api_key_expired")
        for scope, key in keys.items():
            answer = _status_of(keyed.server.client, method, url, key)
            if ROUTE_SCOPES[route] in (scope, None) or scope == "admin":
                assert answer.status_code not in (401, 403), (route, scope)
            else:
                assert_problem(answer, 403, "api_key_scope_missing")


def _status_of(client: httpx.Client, method: str, url: str, key: dict[str, str]) -> httpx.Response:
    """The answer, without waiting for the end of a stream."""
    with client.stream(method, url, headers=key) as answer:
        if answer.headers["content-type"] != "text/event-stream; charset=utf-8":
            answer.read()
    return answer


def test_a_key_has_several_scopes(keyed: Keyed) -> None:
    """It may do what either allows, and nothing else."""
    key = keyed.key("both", "predict", "read")
    assert keyed.server.client.post("/v1/predict", content=WAV, headers=WAV_TYPE | key).is_success
    assert keyed.server.client.get("/v1/models", headers=key).is_success
    assert_problem(keyed.server.client.post("/v1/datasets", headers=key), 403, "api_key_scope_missing")


def test_a_key_file_of_an_earlier_version_works(keyed: Keyed) -> None:
    """``predict`` gets verdicts and reads no more; ``admin`` does everything."""
    file = keyed.server.home / "api-keys.json"
    digests = {scope: hashlib.sha256(f"sml_{scope}".encode()).hexdigest() for scope in ("predict", "admin")}
    old = [{"name": f"old-{s}", "scope": s, "created": "", "sha256": digest} for s, digest in digests.items()]
    file.write_text(json.dumps(json.loads(file.read_text() if file.exists() else "[]") + old))
    line, room = {"x-api-key": "sml_predict"}, {"x-api-key": "sml_admin"}
    assert keyed.server.client.post("/v1/predict", content=WAV, headers=WAV_TYPE | line).is_success
    assert_problem(keyed.server.client.get("/v1/datasets", headers=line), 403, "api_key_scope_missing")
    assert keyed.server.client.get("/v1/datasets", headers=room).is_success


def test_only_admin_promotes_without_a_rule(keyed: Keyed, admin: dict[str, str]) -> None:
    """A retraining with promote always is a promotion."""
    keyed.server.client.post("/v1/datasets", json={"name": "to-train"}, headers=admin).raise_for_status()
    body = {"dataset": "to-train", "promote": "always"}
    refused = keyed.server.client.post("/v1/jobs/retraining", json=body, headers=keyed.key("trainer", "train"))
    assert_problem(refused, 403, "api_key_scope_missing")


# Bindings


@pytest.fixture(scope="module")
def halls(keyed: Keyed, admin: dict[str, str]) -> dict[str, str]:
    """Two datasets with one recording and one job each, and one job without a dataset; the id of each job."""
    jobs = {}
    for number, name in enumerate(("hall-3", "hall-4")):
        content = sounds.recording(sounds.sine(440 + 10 * number, 16_000, 16_000))
        form = {"files": {"file": ("a.wav", content)}, "data": {"label": "normal"}}
        keyed.server.client.post(f"/v1/datasets/{name}/recordings", headers=admin, **form).raise_for_status()
        jobs[name] = keyed.queue.submit(ExtractionParameters(dataset=name), request_id="-").job.id
    jobs["none"] = keyed.queue.submit(DiagnosticParameters(), request_id="-").job.id
    return jobs


def test_a_key_bound_to_a_dataset_reaches_no_other_one(keyed: Keyed, halls: dict[str, str]) -> None:
    """On every route with a dataset in its path, its body or its job; lists are filtered."""
    everything: tuple[Scope, ...] = ("read", "label", "train", "admin")
    key = keyed.key("bound-hall-3", *everything, datasets=["hall-3"])
    http = keyed.server.client

    def ask(method: str, path: str, **body: Any) -> httpx.Response:
        return http.request(method, path, headers=key, **body)

    (recording,) = ask("GET", "/v1/datasets/hall-3/recordings").json()["recordings"]
    for route in ROUTE_SCOPES:
        method, path = route.split()
        if path.startswith("/v1/datasets/{name}"):
            other = path.replace("{name}", "hall-4").replace("{recording}", recording["id"])
            assert_problem(ask(method, other), 403, "api_key_bound")
            assert_problem(ask(method, other.replace("hall-4", "absent")), 403, "api_key_bound")
    assert_problem(ask("POST", "/v1/datasets", json={"name": "hall-5"}), 403, "api_key_bound")
    for kind in ("feature-extraction", "scoring", "retraining", "recalibration"):
        assert_problem(ask("POST", f"/v1/jobs/{kind}", json={"dataset": "hall-4"}), 403, "api_key_bound")
    assert_problem(ask("POST", "/v1/jobs/diagnostic", json={}), 403, "api_key_bound")
    recalibrate = ask("PATCH", "/v1/models/champion/threshold", json={"recalibrate": "hall-4"})
    assert_problem(recalibrate, 403, "api_key_bound")
    for other in (halls["hall-4"], halls["none"]):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/result")):
            assert_problem(ask(method, f"/v1/jobs/{other}{path}"), 404, "job_not_found")
    assert [each["name"] for each in ask("GET", "/v1/datasets").json()["datasets"]] == ["hall-3"]
    assert {each["parameters"]["dataset"] for each in ask("GET", "/v1/jobs").json()["jobs"]} == {"hall-3"}
    assert ask("GET", "/v1/jobs", params={"dataset": "hall-4"}).json()["jobs"] == []
    assert ask("GET", f"/v1/jobs/{halls['hall-3']}").is_success
    assert ask("POST", "/v1/jobs/scoring", json={"dataset": "hall-3"}).status_code == 202
    assert_problem(ask("GET", "/v1/models/champion/report"), 403, "api_key_bound")
    assert_problem(ask("GET", "/v1/machines/fan-1/health"), 403, "api_key_bound")


def test_a_missing_dataset_names_no_other_one_to_a_bound_key(keyed: Keyed, halls: dict[str, str]) -> None:
    """The usual message lists the existing datasets."""
    key = keyed.key("bound-absent", "train", datasets=["absent"])
    answer = keyed.server.client.post("/v1/jobs/scoring", json={"dataset": "absent"}, headers=key)
    assert "hall" not in assert_problem(answer, 404, "dataset_not_found")["detail"]


def upload(keyed: Keyed, path: str, machine_id: str, key: dict[str, str], *, part: bool = False) -> httpx.Response:
    """Send a recording of a machine, with its name in the query or in the form."""
    named: dict[str, Any] = {"data": {"machine_id": machine_id}} if part else {"params": {"machine_id": machine_id}}
    return keyed.server.client.post(path, files={"file": ("a.wav", WAV)}, headers=key, **named)


@pytest.mark.parametrize("path", ["/inference", "/v1/predict", "/v1/predict/batch"])
@pytest.mark.parametrize("part", [False, True])
def test_a_key_bound_to_machines_records_no_other_one(keyed: Keyed, path: str, part: bool) -> None:
    """With the machine in the query and in the form; a star stands for one part of a name."""
    key = keyed.key(f"bound{path}-{part}".replace("/", "-"), "predict", machines=["hall-3/*"])
    for other in ("hall-4/fan", "fan", "hall-3"):
        assert_problem(upload(keyed, path, other, key, part=part), 403, "api_key_bound")
    assert upload(keyed, path, "hall-3/fan", key, part=part).is_success
    assert keyed.server.client.post(path, files={"file": ("a.wav", WAV)}, headers=key).is_success


def listed(keyed: Keyed, key: dict[str, str]) -> list[str]:
    """The machines that a key sees."""
    return [each["machine_id"] for each in keyed.server.client.get("/v1/machines", headers=key).json()["machines"]]


def test_a_predict_key_cannot_remove_the_machines_of_others(keyed: Keyed, admin: dict[str, str]) -> None:
    """With every place taken, invented names displace only machines of the same key; the others stay."""
    owner, stranger = keyed.key("owner", "predict"), keyed.key("stranger", "predict")
    upload(keyed, "/v1/predict", "hall-3/fan", owner)
    upload(keyed, "/v1/predict", "real", owner)
    wait_until(lambda: "real" in listed(keyed, admin))
    for number in range(5):
        assert upload(keyed, "/v1/predict", f"invented-{number}", stranger).is_success
    wait_until(lambda: "invented-4" in listed(keyed, admin))
    assert listed(keyed, admin) == ["hall-3/fan", "invented-4", "real"]
    third = keyed.key("third", "predict")
    assert upload(keyed, "/v1/predict", "another", third).is_success
    metric = r"^signalml_observations_not_recorded_total ([1-9].*)$"
    wait_until(lambda: re.search(metric, keyed.server.client.get("/metrics").text, re.M))
    assert listed(keyed, admin) == ["hall-3/fan", "invented-4", "real"]
    # Lists and single machines are filtered by the binding.
    bound = keyed.key("bound-read", "read", "label", machines=["hall-3/*"])
    assert listed(keyed, bound) == ["hall-3/fan"]
    http = keyed.server.client
    assert http.get("/v1/machines/hall-3/fan/health", headers=bound).is_success
    for other in ("real", "absent"):
        assert_problem(http.get(f"/v1/machines/{other}/health", headers=bound), 403, "api_key_bound")
        answer = http.post(f"/v1/machines/{other}/acknowledge", json={"by": "Ana", "note": "-"}, headers=bound)
        assert_problem(answer, 403, "api_key_bound")
    assert http.get("/v1/datasets", headers=bound).json()["datasets"] == []


# The end of a key


def test_a_stream_ends_when_its_key_is_revoked(keyed: Keyed, halls: dict[str, str]) -> None:
    """The events of a job that waits are watched until the key is gone."""
    key = keyed.key("watcher", "read")
    with keyed.server.client.stream("GET", f"/v1/jobs/{halls['hall-3']}/events", headers=key) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        keyed.keys.revoke("watcher")
        deadline = time.monotonic() + ENDS_WITHIN_S
        for _ in lines:  # until the server ends the stream
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", "2026-04-01T12:00:00+00:00"),
        ("12h", "2026-01-02T00:00:00+00:00"),
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00+00:00"),
    ],
)
def test_the_end_of_a_key_is_a_time_from_now_or_a_date(text: str, end: str) -> None:
    """A date begins at 0:00 UTC."""
    assert parse_expiry(text, datetime(2026, 1, 1, 12, tzinfo=UTC)).isoformat() == end


@pytest.mark.parametrize("text", ["", "0d", "-1d", "90", "2025-12-31", "tomorrow", "999999d9", "9999999d"])
def test_an_end_that_is_over_or_not_a_time_is_refused(text: str) -> None:
    """With a sentence."""
    with pytest.raises(InvalidParameter, match="was expected"):
        parse_expiry(text, datetime(2026, 1, 1, 12, tzinfo=UTC))


def test_an_expired_key_is_refused_by_name(keyed: Keyed) -> None:
    """The answer names the key and the time."""
    key = keyed.key("short", "predict", expires=datetime(2026, 1, 1, tzinfo=UTC))
    answer = keyed.server.client.post("/v1/predict", content=WAV, headers=WAV_TYPE | key)
    detail = assert_problem(answer, 401, "api_key_expired")["detail"]
    assert "'short' has expired at 2026-01-01T00:00:00+00:00" in detail


def test_failed_authentications_are_counted_and_logged_without_the_secret(keyed: Keyed) -> None:
    """An unknown key by the beginning of its hash, a known one by its name."""
    unknown = "sml_an-unknown-secret-of-a-stranger"
    key = keyed.key("named-in-the-log", "predict")
    keyed.server.client.get("/v1/models", headers={"x-api-key": unknown})
    keyed.server.client.get("/v1/models", headers=key)
    digest = f"sha256:{hashlib.sha256(unknown.encode()).hexdigest()[:8]}"
    logged = [line for line in keyed.server.lines() if line["logger"] == "signalml.keys"]
    assert [(line["code"], line["key"], line["path"], line["client"]) for line in logged[-2:]] == [
        ("api_key_missing", digest, "/v1/models", "127.0.0.1"),
        ("api_key_scope_missing", "named-in-the-log", "/v1/models", "127.0.0.1"),
    ]
    assert unknown not in keyed.server.log()
    assert key["x-api-key"] not in keyed.server.log()
    shown = keyed.server.client.get("/metrics").text
    for code in ("api_key_missing", "api_key_scope_missing"):
        assert re.search(rf'^signalml_failed_authentications_total{{code="{code}"}} [1-9]', shown, re.M)


@pytest.mark.parametrize("change", ["upload", "job", "model"])
def test_each_api_key_has_its_own_idempotency_keys(keyed: Keyed, admin: dict[str, str], change: str) -> None:
    """A client that counts 1, 2, 3 does not block another one that counts, and does not learn the ids of its jobs."""
    mine, his = (
        {**keyed.key(f"{name}-{change}", "admin"), "idempotency-key": f"1-{change}"} for name in ("mine", "his")
    )

    def send(key: dict[str, str], seed: int) -> httpx.Response:
        if change == "upload":
            content = sounds.recording(sounds.fan(1.0, seed=seed))
            return keyed.server.client.post("/v1/predict", content=content, headers=key | WAV_TYPE)
        if change == "job":
            body = {"through": "scoring", "seconds": seed}
            return keyed.server.client.post("/v1/jobs/diagnostic", json=body, headers=key)
        body = {"threshold": seed / 10}
        return keyed.server.client.patch("/v1/models/champion/threshold", json=body, headers=key)

    for key, seed in ((mine, 5), (his, 6), (mine, 5), (his, 6)):
        assert send(key, seed).status_code < 300
    for key in (mine, his):
        assert_problem(send(key, 7), 422, "idempotency_conflict")
