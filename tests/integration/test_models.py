"""Which model answers, what its classes are called, and who may change either, over HTTP."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.servers import MULTIPART_TYPE, Serve, ServerProcess, assert_problem, request, wait_until
from tests.commands import succeeds
from tests.integration.conftest import Lend
from tests.integration.uploads import judged

TwoModels = tuple[Path, str, str]
OPEN = ("/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json")


@pytest.fixture
def changing(two_models: TwoModels, lend: Lend) -> Iterator[ServerProcess]:
    """A server whose models a test may change."""
    with lend(two_models[0]) as server:
        yield server


def point(server: ServerProcess, version: str, alias: str = "champion") -> httpx.Response:
    """PUT an alias."""
    return server.client.put(f"/v1/models/aliases/{alias}", json={"version": version})


def test_the_models_are_listed_with_their_aliases_and_history(server: ServerProcess, two_models: TwoModels) -> None:
    """A list of versions, the aliases of each, and every change that led there."""
    _, first, _ = two_models
    listed = server.client.get("/v1/models").json()
    assert listed["models"] == [{"version": first, "aliases": ["champion"]}]
    (change,) = listed["history"]
    assert (change["alias"], change["version"], change["before"]) == ("champion", first, None)


def test_a_model_is_shown_whole_by_version_and_by_alias(server: ServerProcess, two_models: TwoModels) -> None:
    """Feature spec, threshold, labels and card; an alias shows what it points to."""
    _, first, _ = two_models
    shown = server.client.get(f"/v1/models/{first}").json()
    assert server.client.get("/v1/models/champion").json() == shown
    assert (shown["version"], shown["aliases"]) == (first, ["champion"])
    assert (shown["features"]["sample_rate_hz"], shown["features"]["n_mfcc"]) == (22_050, 40)
    assert shown["decision"]["threshold"] == 0.5
    (labels,) = shown["labels"]
    assert [c["message"] for c in labels["classes"]] == [
        "Component OK",
        "Component is imbalanced",
        "Component is clogged",
        "Voltage change",
    ]


def keep_report(home: Path, version: str, page: bytes) -> None:
    """What a training leaves beside the models."""
    folder = home / "training" / version
    folder.mkdir(parents=True)
    (folder / "report.html").write_bytes(page)


def test_the_report_of_a_training_is_served_and_may_run_nothing(changing: ServerProcess, two_models: TwoModels) -> None:
    """By version and by alias, byte for byte; a policy allows its styles, pictures and sounds, and not one script."""
    page = "<!doctype html><title>Trained</title><p>fan, 1.0 ± 0</p>".encode()
    keep_report(changing.home, two_models[1], page)
    for reference in (two_models[1], "champion"):
        answer = changing.client.get(f"/v1/models/{reference}/report")
        assert (answer.status_code, answer.content) == (200, page)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        rules = dict(rule.strip().partition(" ")[::2] for rule in answer.headers["content-security-policy"].split(";"))
        assert (rules["default-src"], rules["style-src"]) == ("'none'", "'unsafe-inline'")
        assert (rules["img-src"], rules["media-src"], rules["sandbox"]) == ("data:", "data:", "")
        assert "script-src" not in rules


def test_a_model_without_a_report_answers_no_report(changing: ServerProcess, two_models: TwoModels) -> None:
    """A version that was imported has none: 404 with a code of its own; a version that is not there has another."""
    _, first, second = two_models
    keep_report(changing.home, "nobody-0123456789", b"of a version that is gone")
    assert_problem(changing.client.get(f"/v1/models/{first}/report"), 404, "model_report_not_found")
    assert_problem(changing.client.get(f"/v1/models/{second}/report"), 404, "model_report_not_found")
    assert_problem(changing.client.get("/v1/models/nobody-0123456789/report"), 404, "model_not_found")
    assert_problem(changing.client.get("/v1/models/challenger/report"), 404, "model_alias_not_set")


@pytest.mark.parametrize("version", ["nobody-0123456789", "x", "..%2f..%2fetc", "%00", "a" * 500, "challenger"])
def test_a_model_that_is_not_there_is_not_found(server: ServerProcess, version: str) -> None:
    """Neither an unknown version nor an alias that points nowhere nor an attempt at a path shows anything."""
    answer = server.client.get(f"/v1/models/{version}")
    assert_problem(answer, 404, answer.json()["code"])


def test_a_promoted_version_answers_the_next_request(
    changing: ServerProcess, two_models: TwoModels, wav: bytes
) -> None:
    """After the answer to a PUT, uploads are judged by the version it named, and the one before is previous."""
    _, first, second = two_models
    before = judged(changing, wav)
    answer = point(changing, second)
    assert answer.json() == {"aliases": {"champion": second, "previous": first}}
    after = judged(changing, wav)
    assert (before["model"]["version"], after["model"]["version"]) == (first, second)
    assert after["message"].startswith("The other model: class ")
    assert after["classes"] != before["classes"]


def test_rolling_back_makes_the_previous_champion_answer_again(
    changing: ServerProcess, two_models: TwoModels, wav: bytes
) -> None:
    """{"version": "previous"} at champion swaps the two, to the same answers as before."""
    _, first, second = two_models
    before = judged(changing, wav)
    point(changing, second)
    assert point(changing, "previous").json() == {"aliases": {"champion": first, "previous": second}}
    assert judged(changing, wav) == before
    history = changing.client.get("/v1/models").json()["history"]
    assert [(change["version"], change["before"]) for change in history] == [
        (first, None),
        (second, first),
        (first, second),
    ]


def test_a_challenger_answers_nothing_until_it_is_promoted(
    changing: ServerProcess, two_models: TwoModels, wav: bytes
) -> None:
    """The alias challenger names a version without letting it answer; champion <- challenger does."""
    _, first, second = two_models
    assert point(changing, second, "challenger").json()["aliases"] == {"champion": first, "challenger": second}
    assert judged(changing, wav)["model"]["version"] == first
    assert point(changing, "challenger").json()["aliases"] == {"champion": second, "previous": first}
    assert judged(changing, wav)["model"]["version"] == second


def test_promotions_that_cannot_be_leave_everything_as_it_was(changing: ServerProcess, wav: bytes) -> None:
    """An unknown version, previous as a target of its own, and nothing to roll back to: refused, and nothing moved."""
    before, listed = judged(changing, wav), changing.client.get("/v1/models").json()
    assert_problem(point(changing, "nobody-0123456789"), 404, "model_not_found")
    assert_problem(point(changing, "previous"), 404, "model_alias_not_set")
    assert_problem(point(changing, "champion", "previous"), 409, "model_alias_reserved")
    assert changing.client.get("/v1/models").json() == listed
    assert judged(changing, wav) == before


def named(*messages: str) -> dict[str, Any]:
    """A body for PATCH labels."""
    return {"classes": [{"name": f"class_{i}", "message": message} for i, message in enumerate(messages)]}


def test_named_classes_are_in_the_very_next_answer_and_the_old_names_kept(changing: ServerProcess, wav: bytes) -> None:
    """PATCH makes a new revision of the labels, which answers at once; earlier revisions stay to be read."""
    answer = changing.client.patch("/v1/models/champion/labels", json=named("Läuft", "Unwucht", "Verstopft", "Netz"))
    assert answer.status_code == 200
    assert (answer.json()["revision"], answer.json()["classes"][1]["message"]) == (2, "Unwucht")
    message = changing.client.post("/inference", files={"file": ("a.wav", wav)}).json()["Details"]["Message"]
    assert message in {"Läuft", "Unwucht", "Verstopft", "Netz"}
    assert judged(changing, wav)["model"]["labels_revision"] == 2
    changing.client.patch("/v1/models/champion/labels", json=named("A", "B", "C", "D"))
    labels = changing.client.get("/v1/models/champion").json()["labels"]
    assert [revision["revision"] for revision in labels] == [1, 2, 3]
    assert [revision["classes"][0]["message"] for revision in labels] == ["Component OK", "Läuft", "A"]
    assert [c["anomalous"] for c in labels[-1]["classes"]] == [False, True, True, True]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (named("A", "B", "C"), "model_labels_invalid"),
        ({"classes": [{"name": "same", "message": "x"}] * 4}, "model_labels_invalid"),
        (named("A", "B", "C", ""), "request_invalid"),
        (named("A", "B", "C", "x" * 201), "request_invalid"),
        ({"classes": [], "more": 1}, "request_invalid"),
    ],
    ids=["too few", "twice", "empty", "too long", "unknown key"],
)
def test_labels_that_do_not_fit_are_refused(server: ServerProcess, body: dict[str, Any], code: str) -> None:
    """One name and message for each class, each name once, within their lengths; else nothing changes."""
    before = server.client.get("/v1/models/champion").json()["labels"]
    assert_problem(server.client.patch("/v1/models/champion/labels", json=body), 422, code)
    assert server.client.get("/v1/models/champion").json()["labels"] == before


def damage_behind_its_back(home: Path, version: str) -> str:
    """Add a copy of ``version`` with one bit flipped, and write it down as champion by hand; returns its version."""
    models = home / "models"
    damaged = version[:-10] + "f" * 10
    shutil.copytree(models / version, models / damaged)
    manifest = models / damaged / "manifest.json"
    manifest.write_text(manifest.read_text().replace(version, damaged))
    network = models / damaged / "network.tflite"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)
    aliases = json.loads((models / "aliases.json").read_text())
    aliases["aliases"]["champion"] = damaged
    (models / "aliases.new").write_text(json.dumps(aliases))
    (models / "aliases.new").rename(models / "aliases.json")
    return damaged


def test_a_damaged_champion_never_goes_live(changing: ServerProcess, two_models: TwoModels, wav: bytes) -> None:
    """A champion with one flipped bit, put there behind its back: the model before goes on, and health reports it."""
    before = judged(changing, wav)
    damaged = damage_behind_its_back(changing.home, two_models[1])
    ready = wait_until(lambda: (r := changing.client.get("/readyz").json())["model_failure"] and r, every_s=0.1)
    assert ready["status"] == "ready"
    assert ready["model"] == before["model"]
    assert damaged in ready["model_failure"]
    assert "network.tflite" in ready["model_failure"]
    assert judged(changing, wav) == before
    assert "signalml_model_failed 1.0" in changing.client.get("/metrics").text
    assert point(changing, two_models[2]).status_code == 200
    assert changing.client.get("/readyz").json()["model_failure"] is None


@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped"])
def test_a_damaged_version_cannot_be_promoted(
    changing: ServerProcess, two_models: TwoModels, wav: bytes, harm: str
) -> None:
    """A version with a missing, truncated or changed file is refused with the file's name; the champion is unharmed."""
    before = judged(changing, wav)
    network = changing.home / "models" / two_models[2] / "network.tflite"
    content = bytearray(network.read_bytes())
    content[1000] ^= 4
    change: dict[str, Callable[[], object]] = {
        "missing": network.unlink,
        "truncated": lambda: network.write_bytes(content[:-1]),
        "flipped": lambda: network.write_bytes(content),
    }
    change[harm]()
    assert "network.tflite" in assert_problem(point(changing, two_models[2]), 409, "model_bundle_damaged")["detail"]
    assert judged(changing, wav) == before
    assert changing.client.get("/readyz").json()["model_failure"] is None


def create_key(home: Path, name: str, scope: str) -> str:
    """What ``signalml keys create`` prints."""
    return succeeds(home, "keys", "create", name, "--scope", scope)


@pytest.fixture(scope="module")
def locked(two_models: TwoModels, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server that requires keys."""
    home = Path(shutil.copytree(two_models[0], tmp_path_factory.mktemp("locked") / "home"))
    keep_report(home, two_models[1], b"<!doctype html>")
    return serve_for_all(home, require_api_key=True)


@pytest.fixture(scope="module")
def secrets(locked: ServerProcess) -> dict[str, str]:
    """A key of each scope."""
    return {scope: create_key(locked.home, scope, scope) for scope in ("predict", "read", "admin")}


REQUESTS = {
    "inference": ("POST", "/inference", "predict"),
    "predict": ("POST", "/v1/predict", "predict"),
    "batch": ("POST", "/v1/predict/batch", "predict"),
    "list": ("GET", "/v1/models", "read"),
    "show": ("GET", "/v1/models/champion", "read"),
    "report": ("GET", "/v1/models/champion/report", "read"),
    "promote": ("PUT", "/v1/models/aliases/champion", "admin"),
    "label": ("PATCH", "/v1/models/champion/labels", "admin"),
}


def ask(server: ServerProcess, kind: str, wav: bytes, secret: str | bytes | None) -> httpx.Response:
    """One of the requests, with or without a key."""
    method, path, _ = REQUESTS[kind]
    body: dict[str, Any] = {
        "POST": {"files": {"file": ("a.wav", wav)}},
        "PUT": {"json": {"version": "champion"}},
        "PATCH": {"json": named("A", "B", "C", "D")},
    }.get(method, {})
    return server.client.request(
        method, path, headers=httpx.Headers({} if secret is None else {b"x-api-key": secret}), **body
    )


@pytest.mark.parametrize("kind", REQUESTS)
def test_each_route_asks_for_its_scope(locked: ServerProcess, secrets: dict[str, str], wav: bytes, kind: str) -> None:
    """Without a key and with a wrong one 401, with the wrong scope 403, with the right one the answer."""
    for wrong in (None, "", "sml_wrong", secrets["admin"][:-1], b"\xff"):
        answer = ask(locked, kind, wav, wrong)
        assert_problem(answer, 401, "api_key_missing")
        assert "www-authenticate" in answer.headers
    for scope, secret in secrets.items():
        if scope in (REQUESTS[kind][2], "admin"):
            assert ask(locked, kind, wav, secret).status_code == 200
        else:
            assert_problem(ask(locked, kind, wav, secret), 403, "api_key_scope_missing")


@pytest.mark.parametrize("path", OPEN)
def test_health_metrics_and_documentation_stay_open(locked: ServerProcess, path: str) -> None:
    """Who watches the service and who reads how to use it needs no key."""
    assert locked.client.get(path).status_code == 200


def test_without_a_key_nothing_of_a_body_is_read(locked: ServerProcess) -> None:
    """A stranger's upload is refused by its headers: the answer comes although the body never does."""
    head = request("POST", "/inference", [MULTIPART_TYPE, ("content-length", "9999")])
    assert_problem(locked.exchange(head), 401, "api_key_missing")


def test_keys_are_hashed_at_rest_and_read_by_their_owner_only(locked: ServerProcess, secrets: dict[str, str]) -> None:
    """No secret, nor any half of one, is in any file of the home; the file of hashes has mode 600."""
    stored = b"".join(path.read_bytes() for path in locked.home.rglob("*") if path.is_file())
    for secret in secrets.values():
        assert re.fullmatch(r"sml_[\w-]{43}", secret)
        assert secret.encode() not in stored
        assert secret[4:26].encode() not in stored
    assert (locked.home / "api-keys.json").stat().st_mode & 0o777 == 0o600
    assert not any(secret in locked.log() for secret in secrets.values())


def test_a_revoked_key_stops_working_with_the_next_request(locked: ServerProcess, wav: bytes) -> None:
    """Revoking needs no restart."""
    secret = create_key(locked.home, "shortlived", "predict")
    assert ask(locked, "inference", wav, secret).status_code == 200
    succeeds(locked.home, "keys", "revoke", "shortlived")
    assert_problem(ask(locked, "inference", wav, secret), 401, "api_key_missing")


def test_a_bug_is_answered_with_the_id_of_its_log_line(original_home: Path, tmp_path: Path, wav: bytes) -> None:
    """A failure inside (here: a key file that is no JSON) is a 500 without details; the log has them under its id."""
    home = Path(shutil.copytree(original_home, tmp_path / "home"))
    (home / "api-keys.json").write_text("[")
    broken = ServerProcess(home, tmp_path / "run", require_api_key=True).start()
    try:
        answer = broken.client.get("/v1/models", headers={"x-api-key": "sml_x"})
        problem = assert_problem(answer, 500, "internal_error")
        assert "api-keys" not in problem["detail"]
        (logged,) = wait_until(lambda: [line for line in broken.lines() if line.get("exception")])
        assert logged["request_id"] == problem["request_id"]
    finally:
        broken.stop(bugs_expected=True)
