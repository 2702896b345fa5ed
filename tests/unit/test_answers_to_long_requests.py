"""Answers to requests with long or deep values: short, cheap, and in sentences of this project."""

import time
from pathlib import Path

import pytest

from api.main import create_app
from api.settings import Settings
from tests.unit.asgi import AppClient

JSON = {"content-type": "application/json"}
RETRAINING = "/v1/jobs/retraining"
LONG = 60_000 * "\\"


@pytest.fixture
def client(tmp_path: Path) -> AppClient:
    """Client of an application in this process, without a model and without a queue."""
    return AppClient(create_app(Settings(home=tmp_path, _env_file=None)))


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/predict", {"content-type": LONG}),
        ("POST", "/v1/datasets/a/recordings", {"content-type": LONG}),
        ("POST", RETRAINING, {"content-type": LONG}),
        ("POST", "/v1/predict", {"content-type": "audio/wav", "content-encoding": LONG}),
        ("GET", f"/{30_000 * 'a/'}", {}),
        ("DELETE", f"/v1/machines/{30_000 * 'a/'}health", {}),
        ("GET", "/v1/models", {"host": LONG}),
        ("POST", "/v1/predict", {"origin": LONG}),
        ("GET", f"/v1/models/{30_000 * 'a'}", {}),
        ("GET", f"/v1/datasets/{30_000 * 'a'}", {}),
        ("GET", f"/v1/jobs/{30_000 * 'a'}", {}),
        ("POST", f"/v1/jobs/{30_000 * 'a'}", {}),
        ("GET", f"/v1/models?{30_000 * 'a'}=1", {}),
        ("POST", "/v1/predict", {"idempotency-key": LONG, "content-type": "audio/wav"}),
    ],
    ids=range(14),
)
def test_an_answer_does_not_repeat_a_long_value(
    client: AppClient, method: str, path: str, headers: dict[str, str]
) -> None:
    """A content type of 60 KB was answered with 240 KB."""
    answer = client.request(method, path, content=b"{}" if method == "POST" else None, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"dataset": 1' + 5000 * b"0" + b"}", "a number of 500"),
        (b'{"dataset": -1' + 5000 * b"0" + b"}", "a number of 500"),
        (30_000 * b"[", "too many lists and objects in each other"),
        (b'{"dataset":' + 10_000 * b'{"a":' + b"1" + 10_001 * b"}", "too many lists and objects in each other"),
        (b"\xff\xfe{", "UTF-8 was expected"),
        (b'{"dataset": "\xe9"}', "UTF-8 was expected"),
    ],
)
def test_json_that_python_cannot_read_is_refused_in_plain_words(client: AppClient, body: bytes, found: str) -> None:
    """The sentence was one of Python: "Exceeds the limit (4300 digits) ...; use sys.set_int_max_str_digits()"."""
    answer = client.post(RETRAINING, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert found in answer.json()["detail"]
    assert not {word for word in ("sys.", "recursion", "codec") if word in answer.text}


@pytest.mark.parametrize("field", ["name", "message"])
def test_a_class_has_no_control_characters_in_its_texts(client: AppClient, field: str) -> None:
    """They are in each verdict, and other programs show them. Names of faults and machines have the same rule."""
    classes = [{"name": "normal", "message": "fine"}, {"name": "clogging", "message": "clogged"} | {field: "a\x1b[31m"}]
    answer = client.request("PATCH", "/v1/models/fan-1/labels", json={"classes": classes})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert f"body.classes.1.{field}" in answer.json()["detail"]


@pytest.mark.parametrize("item", [b"1,", b"{},", b'"x",'])
def test_a_long_list_of_engines_is_refused_without_reading_it_all(client: AppClient, item: bytes) -> None:
    """64 KB of numbers took a fifth of a second of the process, for one sentence."""
    body = b'{"dataset": "a", "engines": [' + 60_000 // len(item) * item + b"1]}"
    times_s = []
    for _ in range(5):  # the shortest counts: a collection of garbage can fall into one
        begin = time.process_time()
        answer = client.post(RETRAINING, content=body, headers=JSON)
        times_s.append(time.process_time() - begin)
        assert answer.status_code == 422
        assert "engines" in answer.json()["detail"]
    assert min(times_s) < 0.12
