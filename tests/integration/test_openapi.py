"""The schema is what the service does: frozen, whole, with examples, and true for whatever a client may send."""

import difflib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import settings
from hypothesis import strategies as st

from api.main import create_app
from api.schemas.common import Problem
from api.scopes import OPEN_ROUTES
from api.settings import Settings
from testing.jobs import Broker
from testing.servers import PATIENCE_S, ROOT, Serve, ServerProcess
from tests import sounds

FROZEN = ROOT / "docs" / "openapi.json"
PROBLEM_JSON = "application/problem+json"
RECORDINGS = "/v1/datasets/{name}/recordings"
SECRET = "sml_known-to-this-test-only"
MULTIPART = "multipart/form-data"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
Json = dict[str, Any]

# The stream of events has no end.
api = schemathesis.openapi.from_path(FROZEN).exclude(path="/v1/events/stream")
schemathesis.openapi.format(
    "binary", st.sampled_from([sounds.recording(sounds.noise(16_000)), sounds.flac(sounds.noise(16_000))])
)

# A body may also break the schema by its mere size.
api.config.checks.negative_data_rejection.expected_statuses.append("413")


@schemathesis.serializer("audio/wav", "audio/flac")
def as_it_is(_: schemathesis.SerializationContext, content: bytes) -> bytes:
    """Sound is sent as it is."""
    return content


@api.auth()
class AdminKey:
    """Sends a key that may do everything, unless a request is to be without one."""

    def get(self, *_: object) -> str:
        return SECRET

    def set(self, case: schemathesis.Case, data: str, *_: object) -> None:
        case.headers["X-API-Key"] = data


@pytest.fixture(scope="module")
def keyed(
    original_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server of its own that requires a key, and knows this one; with a queue that nobody works on."""
    root = tmp_path_factory.mktemp("keyed")
    home = Path(shutil.copytree(original_home, root / "home"))
    key = {"name": "test", "scope": "admin", "created": "", "sha256": hashlib.sha256(SECRET.encode()).hexdigest()}
    (home / "api-keys.json").write_text(json.dumps([key]))
    broker = Broker(root / "broker").start()
    yield serve_for_all(home, require_api_key=True, redis_url=broker.url)
    broker.kill()


# A parameter beside the case: without one, pytest 9.2 gives all operations of schemathesis 4.32 one name.
@pytest.mark.parametrize("timeout_s", [PATIENCE_S])
@api.parametrize()
@settings(max_examples=25, derandomize=True)
def test_the_service_does_what_its_schema_states(
    case: schemathesis.Case, keyed: ServerProcess, timeout_s: float
) -> None:
    """Whatever the schema allows or forbids: no 500, no undocumented status, type, header or body, no key passed over;
    what fits the schema is taken, what does not is refused."""
    # A schema cannot say that bytes are sound, that there is one name for each class of the model, that a fault goes
    # with one label, nor that an Idempotency-Key was used for another job.
    recordings = (case.method, case.path) == ("POST", RECORDINGS)
    # Nor that a dataset, a model or a machine is removed by its name, given twice.
    removal = case.method == "DELETE" and "confirm" in (case.query or {})
    # Nor that a machine named twice is one machine.
    twice = isinstance(case.body, dict) and "machine_id" in case.body and "machine_id" in (case.query or {})
    job = case.method == "POST" and case.path.startswith("/v1/jobs/")
    # Nor that a recording is not of the future, and that each file of a batch has its time.
    timed = {"recorded_at", "since", "until"} & (case.query or {}).keys() or (
        isinstance(case.body, dict) and "recorded_at" in case.body
    )
    # Nor that the event in a form is JSON, that a folder is in the home, or that a sink is muted until a time.
    listening = case.method == "POST" and case.path.startswith(("/v1/events", "/v1/sources", "/v1/sinks"))
    beyond_words = (
        case.method == "PATCH"
        or (case.media_type or "").startswith("audio/")
        or recordings
        or removal
        or twice
        or job
        or bool(timed)
        or listening
        or "Idempotency-Key" in (case.headers or {})
    )
    excluded = [schemathesis.checks.positive_data_acceptance] if beyond_words else []
    if case.media_type == MULTIPART:  # In a form a number is a text too.
        excluded.append(schemathesis.checks.negative_data_rejection)
    case.call_and_validate(base_url=keyed.base_url, timeout=timeout_s, excluded_checks=excluded)


def test_no_route_passes_over_what_it_does_not_take(schema: Json, keyed: ServerProcess) -> None:
    """Nor does it tell those without a key what it takes."""
    for name, _ in operations(schema):
        method, path = name.split()
        if not path.startswith("/v1/") or name in OPEN_ROUTES:
            continue
        url = re.sub("{.+?}", "0" * 24, path)
        unreadable = {"content": b"{", "headers": {"content-type": "application/json"}}
        without = keyed.client.request(method, url, params={"mistyped": "1"}, **unreadable)
        assert without.json()["code"] == "api_key_missing", name
        answer = keyed.client.request(method, url, params={"mistyped": "1"}, headers={"X-API-Key": SECRET})
        assert (answer.status_code, answer.json()["code"]) == (422, "parameter_unknown"), name
        assert answer.json()["detail"].startswith(f"{name} takes no query parameter 'mistyped': it takes "), name


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The schema as the application makes it now."""
    found: Json = create_app(Settings(home=tmp_path_factory.mktemp("none"), _env_file=None)).openapi()
    return found


def operations(schema: Json) -> Iterator[tuple[str, Json]]:
    """Every operation with its name."""
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods:
                yield f"{method.upper()} {path}", methods[method]


def test_the_schema_is_the_frozen_one(schema: Json) -> None:
    """A change to the wire is a change to docs/openapi.json, made on purpose; this shows it as a diff."""
    now = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
    frozen = FROZEN.read_text(encoding="utf-8").splitlines()
    diff = "\n".join(difflib.unified_diff(frozen, now, "docs/openapi.json", "the application", lineterm=""))
    if diff:
        pytest.fail(f"the schema has changed; if that is wanted, run  make docs\n{diff}", pytrace=False)


def test_the_schema_is_openapi_3_1_and_served(schema: Json, server: ServerProcess) -> None:
    """/openapi.json is the same schema, of version 3.1."""
    assert schema["openapi"].startswith("3.1.")
    assert server.client.get("/openapi.json").json() == schema


def test_every_route_of_the_issue_is_there(schema: Json) -> None:
    """The routes that clients are promised."""
    assert [name for name, _ in operations(schema)] == [
        "POST /inference",
        "POST /v1/predict",
        "POST /v1/predict/batch",
        "GET /v1/models",
        "GET /v1/models/{version}",
        "DELETE /v1/models/{version}",
        "GET /v1/models/{version}/report",
        "PUT /v1/models/aliases/{alias}",
        "PATCH /v1/models/{version}/labels",
        "GET /v1/models/{version}/threshold",
        "PATCH /v1/models/{version}/threshold",
        "GET /v1/models/{version}/threshold/preview",
        "GET /v1/datasets",
        "POST /v1/datasets",
        "GET /v1/datasets/{name}",
        "DELETE /v1/datasets/{name}",
        "GET /v1/datasets/{name}/sessions",
        "GET /v1/datasets/{name}/recordings",
        "POST /v1/datasets/{name}/recordings",
        "GET /v1/datasets/{name}/recordings/{recording}",
        "DELETE /v1/datasets/{name}/recordings/{recording}",
        "PATCH /v1/datasets/{name}/recordings/{recording}",
        "GET /v1/datasets/{name}/recordings/{recording}/audio",
        "POST /v1/features",
        "GET /v1/datasets/{name}/recordings/{recording}/features",
        "POST /v1/jobs/feature-extraction",
        "POST /v1/jobs/scoring",
        "POST /v1/jobs/retraining",
        "POST /v1/jobs/recalibration",
        "POST /v1/jobs/diagnostic",
        "GET /v1/jobs",
        "GET /v1/jobs/{job}",
        "DELETE /v1/jobs/{job}",
        "GET /v1/jobs/{job}/events",
        "GET /v1/jobs/{job}/result",
        "GET /v1/machines",
        "GET /v1/machines/{machine_id}/health",
        "GET /v1/machines/{machine_id}/scores",
        "POST /v1/machines/{machine_id}/acknowledge",
        "DELETE /v1/machines/{machine_id}",
        "GET /v1/session",
        "POST /v1/session",
        "DELETE /v1/session",
        "GET /v1/events",
        "POST /v1/events",
        "GET /v1/events/stream",
        "GET /v1/events/{event}",
        "PATCH /v1/events/{event}",
        "GET /v1/events/{event}/clip",
        "GET /v1/events/{event}/spectrogram",
        "POST /v1/events/{event}/recording",
        "GET /v1/sources",
        "POST /v1/sources",
        "GET /v1/sources/{source}",
        "DELETE /v1/sources/{source}",
        "PATCH /v1/sources/{source}",
        "GET /v1/sources/{source}/live",
        "GET /v1/sources/{source}/sound",
        "GET /v1/sinks",
        "POST /v1/sinks",
        "GET /v1/sinks/{sink}",
        "DELETE /v1/sinks/{sink}",
        "PATCH /v1/sinks/{sink}",
        "POST /v1/sinks/{sink}/test",
        "POST /v1/sinks/{sink}/mute",
        "GET /v1/sinks/{sink}/dead",
        "POST /v1/sinks/{sink}/dead/resend",
        "GET /",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    ]


def test_every_error_is_documented_as_a_problem_with_an_example_of_each_code(schema: Json) -> None:
    """An error has one media type and the one shape; each of its examples is a Problem of that very status and code."""
    seen = 0
    for name, operation in operations(schema):
        for status, response in operation["responses"].items():
            if not status.startswith(("4", "5")) or name == "GET /readyz":
                continue
            assert list(response["content"]) == [PROBLEM_JSON], f"{name} {status}"
            documented = response["content"][PROBLEM_JSON]
            assert documented["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert documented["examples"], f"{name} {status}"
            for code, example in documented["examples"].items():
                problem = Problem.model_validate(example["value"])
                assert (problem.code, str(problem.status)) == (code, status), f"{name} {status} {code}"
                seen += 1
    assert seen > 60


UPLOAD = """
api_key_missing api_key_scope_missing body_too_large body_timeout media_type_unsupported multipart_malformed
part_missing part_too_many busy no_model
"""
AUDIO = """
audio_empty audio_not_recognised audio_codec_unsupported audio_malformed audio_truncated audio_sample_rate_unsupported
audio_too_many_channels audio_too_long audio_too_short audio_unpacked_too_large audio_not_finite audio_decoder_missing
audio_decoder_failed
"""
RECORDED = " recorded_at_invalid idempotency_conflict"
KEYS = "api_key_missing api_key_scope_missing parameter_unknown "
COLLECTION = KEYS + "name_invalid dataset_not_found dataset_read_only "
RECORDING = COLLECTION + "recording_not_found "
LABELLED = "recording_labels_invalid request_invalid body_too_large body_timeout storage_full "
EVENTS = KEYS + "request_invalid events_unavailable "
EVENT = KEYS + "events_unavailable event_not_found "
ENTRY = KEYS + "listener_config_invalid "
ENTRY_CHANGE = ENTRY + "request_invalid body_too_large body_timeout storage_full "
STORED = KEYS + "model_not_found model_alias_not_set model_bundle_damaged"
CODES = {
    "POST /inference": UPLOAD + AUDIO + RECORDED,
    "POST /v1/predict": UPLOAD + AUDIO + KEYS + "request_invalid" + RECORDED,
    "POST /v1/predict/batch": UPLOAD + KEYS + RECORDED,
    "DELETE /v1/models/{version}": STORED + " model_in_use request_invalid queue_unavailable",
    "DELETE /v1/machines/{machine_id}": KEYS + "machine_not_found machines_unavailable storage_full request_invalid",
    "GET /v1/models/{version}": STORED,
    "GET /v1/models/{version}/report": STORED + " model_report_not_found",
    "PUT /v1/models/aliases/{alias}": STORED
    + " request_invalid model_alias_reserved model_golden_clip_failed body_too_large body_timeout",
    "PATCH /v1/models/{version}/labels": STORED + " request_invalid model_labels_invalid body_too_large body_timeout",
    "GET /v1/models/{version}/threshold": STORED,
    "PATCH /v1/models/{version}/threshold": STORED
    + " request_invalid parameter_invalid model_not_calibrated body_too_large body_timeout idempotency_conflict",
    "GET /v1/machines": KEYS + "machines_unavailable",
    "GET /v1/machines/{machine_id}/health": KEYS + "machine_not_found machines_unavailable request_invalid",
    "POST /v1/machines/{machine_id}/acknowledge": KEYS
    + "machine_not_found machine_nothing_to_acknowledge machines_unavailable storage_full request_invalid",
    "GET /v1/datasets": KEYS,
    "POST /v1/datasets": KEYS + "name_invalid dataset_exists request_invalid storage_full",
    "GET /v1/datasets/{name}": KEYS + "name_invalid dataset_not_found",
    "DELETE /v1/datasets/{name}": COLLECTION + "request_invalid",
    "POST /v1/datasets/{name}/recordings": UPLOAD.replace("no_model", "")
    + AUDIO
    + LABELLED
    + "name_invalid dataset_read_only",
    "GET /v1/datasets/{name}/recordings": COLLECTION + "request_invalid",
    "GET /v1/datasets/{name}/recordings/{recording}": RECORDING,
    "GET /v1/datasets/{name}/recordings/{recording}/audio": RECORDING,
    "PATCH /v1/datasets/{name}/recordings/{recording}": RECORDING + LABELLED,
    "DELETE /v1/datasets/{name}/recordings/{recording}": RECORDING + "storage_full",
    "GET /v1/events": EVENTS,
    "POST /v1/events": EVENTS + UPLOAD.replace("no_model", "") + AUDIO + "event_conflict storage_full",
    "GET /v1/events/stream": EVENTS + "busy",
    "GET /v1/events/{event}": EVENT,
    "PATCH /v1/events/{event}": EVENT + LABELLED,
    "GET /v1/events/{event}/clip": EVENT + "clip_not_found range_malformed range_not_satisfiable",
    "GET /v1/events/{event}/spectrogram": EVENT + "clip_not_found",
    "POST /v1/events/{event}/recording": EVENT + LABELLED + "clip_not_found name_invalid dataset_read_only",
    "GET /v1/sources": KEYS,
    "POST /v1/sources": ENTRY_CHANGE + "entry_exists api_key_bound",
    "GET /v1/sources/{source}": ENTRY + "entry_not_found",
    "PATCH /v1/sources/{source}": ENTRY_CHANGE + "entry_not_found",
    "DELETE /v1/sources/{source}": ENTRY + "entry_not_found storage_full",
    "GET /v1/sources/{source}/live": ENTRY + "entry_not_found listener_not_running busy",
    "GET /v1/sources/{source}/sound": ENTRY + "entry_not_found listener_not_running clip_not_found request_invalid",
    "GET /v1/sinks": KEYS + "events_unavailable",
    "POST /v1/sinks": ENTRY_CHANGE + "entry_exists",
    "GET /v1/sinks/{sink}": ENTRY + "entry_not_found events_unavailable",
    "PATCH /v1/sinks/{sink}": ENTRY_CHANGE + "entry_not_found",
    "DELETE /v1/sinks/{sink}": ENTRY + "entry_not_found storage_full",
    "POST /v1/sinks/{sink}/test": ENTRY + "entry_not_found listener_not_running delivery_failed",
    "POST /v1/sinks/{sink}/mute": ENTRY_CHANGE + "entry_not_found",
    "GET /v1/sinks/{sink}/dead": ENTRY + "entry_not_found events_unavailable request_invalid",
    "POST /v1/sinks/{sink}/dead/resend": ENTRY_CHANGE + "entry_not_found events_unavailable",
}


@pytest.mark.parametrize("name", CODES)
def test_the_codes_that_are_met_are_documented(schema: Json, name: str) -> None:
    """What the other tests get as an answer is among the examples of that operation."""
    responses = dict(operations(schema))[name]["responses"].values()
    examples = [response.get("content", {}).get(PROBLEM_JSON, {}).get("examples", {}) for response in responses]
    assert set(CODES[name].split()) <= {code for group in examples for code in group}


def example_of(schema: Json, of: Json) -> Any:
    """The example that the parts of ``of`` add up to; fails where a part has none."""
    if "$ref" in of:
        return example_of(schema, schema["components"]["schemas"][of["$ref"].rpartition("/")[2]])
    for key in ("example", "const", "default"):
        if key in of:
            return of[key]
    for key in ("examples", "enum"):
        if key in of:
            return of[key][0]
    if "oneOf" in of:
        return example_of(schema, of["oneOf"][0])
    if "anyOf" in of:
        return None if {"type": "null"} in of["anyOf"] else example_of(schema, of["anyOf"][0])
    if of.get("type") == "array":
        return [example_of(schema, of["items"])]
    if "properties" in of:
        return {name: example_of(schema, part) for name, part in of["properties"].items()}
    if of.get("type") == "boolean" or of.get("additionalProperties") is True:
        return {} if of.get("type") == "object" else True
    raise AssertionError(f"no example for {of}")


def test_every_answer_has_an_example_that_fits_its_schema(schema: Json) -> None:
    """For each JSON answer the examples add up to a whole one, and it is valid; 204 alone has nothing to say."""
    for name, operation in operations(schema):
        answers = {status: response for status, response in operation["responses"].items() if status.startswith("2")}
        assert answers, name
        for status, response in answers.items():
            content = response.get("content", {})
            assert bool(content) == (status != "204"), f"{name} {status}"
            if "application/json" not in content:
                assert all("example" in content[kind] for kind in list(content)[:1]), f"{name} {status}"
                continue
            answer = content["application/json"]["schema"]
            example = example_of(schema, answer)
            jsonschema_rs.validate({**answer, "components": schema["components"]}, example)


def filled_by_swagger_ui(schema: Json, of: Json) -> Any:
    """What the form of /docs puts into a field, as Swagger UI 5 does: an example, a default, or a made-up value."""
    of = {**of, **of.get("anyOf", [{}])[0]}
    if "$ref" in of:
        of = schema["components"]["schemas"][of["$ref"].rpartition("/")[2]]
    if "example" in of:
        return of["example"]
    if "properties" in of:
        return {name: filled_by_swagger_ui(schema, part) for name, part in of["properties"].items()}
    return of.get("default", of.get("examples", ["made up"])[0])


def test_the_form_of_docs_sends_no_value_that_a_person_did_not_type(schema: Json) -> None:
    """Optional parts, parameters and fields are empty: a made-up machine would stay listed."""
    for name, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            if not parameter["required"]:
                assert (
                    not {"example", "examples"} & parameter.keys()
                    | {"example", "examples"} & parameter["schema"].keys()
                )
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            body = content["schema"]
            if media_type == MULTIPART:
                for part, of in body["properties"].items():
                    if part not in body["required"]:
                        assert filled_by_swagger_ui(schema, of) in ("", []), f"{name} {part}"
            elif media_type == "application/json":
                required = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]].get("required", [])
                filled = filled_by_swagger_ui(schema, body)
                # A threshold, and a sink of one kind, need one field more.
                assert "threshold" in name or set(filled) == set(required) or name == "POST /v1/sinks", name


def test_nothing_of_the_frameworks_own_errors_is_left(schema: Json) -> None:
    """FastAPI's shape of a 422 is answered nowhere, so it is described nowhere."""
    assert "HTTPValidationError" not in json.dumps(schema)


def test_the_documentation_needs_no_other_host(server: ServerProcess) -> None:
    """/docs and /redoc refer to nothing but this service, which serves all that they refer to."""
    for path in ("/docs", "/redoc"):
        page = server.client.get(path).text
        references = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)|url: ["']([^"']+)""", page)
        found = [first or second for first, second in references]
        assert len(found) >= 3
        assert all(reference.startswith("/") and not reference.startswith("//") for reference in found)
        for reference in found:
            answer = server.client.get(reference)
            assert answer.status_code == 200
            assert len(answer.content) > 500


def test_the_styles_of_the_documentation_need_no_other_host(server: ServerProcess) -> None:
    """The style sheet loads nothing from elsewhere either."""
    styles = server.client.get("/docs/static/swagger-ui.css").text
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)
