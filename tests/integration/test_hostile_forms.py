"""Uploads whose form is wrong: each way to get it wrong has its code."""

import pytest

from testing.servers import MULTIPART_TYPE, ServerProcess, assert_problem, multipart, request
from tests.integration.uploads import GOOD, UPLOADS

FORMS = {
    "no part": (b"--BoUnDaRy--\r\n", 422, "part_missing"),
    "text named file": (multipart(("file", None, b"hello")), 422, "part_missing"),
    "two parts": (multipart(("file", "a.wav", GOOD), ("file", "b.wav", GOOD)), 422, "part_too_many"),
    "a thousand parts": (multipart(*[("file", "a.wav", b"")] * 1000), 422, "part_too_many"),
    "a thousand texts": (multipart(*[("file", None, b"")] * 1000, ("file", "a.wav", GOOD)), 422, "part_too_many"),
    "garbage": (b"\0\xff" * 5000, 400, "multipart_malformed"),
    "another boundary": (multipart(("file", "a.wav", GOOD), boundary=b"other"), 400, "multipart_malformed"),
    "no end": (multipart(("file", "a.wav", GOOD))[:-20], 400, "multipart_malformed"),
    "a part without a name": (b"--BoUnDaRy\r\n\r\nx\r\n--BoUnDaRy--\r\n", 400, "multipart_malformed"),
    "a header of a megabyte": (multipart(("file", "x" * 2**20, GOOD)), 400, "multipart_malformed"),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("path", ["/inference", "/v1/predict"])
def test_a_form_that_is_not_one_file_is_refused_by_name(target: ServerProcess, path: str, kind: str) -> None:
    """Each way to get the form wrong has its code."""
    body, status, code = FORMS[kind]
    assert_problem(target.exchange(request("POST", path, [MULTIPART_TYPE], body)), status, code)


@pytest.mark.parametrize(
    ("path", "refusals"),
    [("/inference", ("part_missing", "part_too_many")), ("/v1/predict", ("parameter_unknown",) * 2)],
)
def test_parts_of_other_names_are_no_recording(target: ServerProcess, path: str, refusals: tuple[str, str]) -> None:
    """One instead of the file, and a thousand beside it."""
    instead = multipart(("sound", "a.wav", GOOD))
    beside = multipart(*[("x", None, b"")] * 1000, ("file", "a.wav", GOOD))
    for body, code in zip((instead, beside), refusals, strict=True):
        assert_problem(target.exchange(request("POST", path, [MULTIPART_TYPE], body)), 422, code)


@pytest.mark.parametrize("path", UPLOADS)
def test_a_form_without_a_boundary_is_refused(target: ServerProcess, path: str) -> None:
    """multipart/form-data alone does not say where parts end."""
    headers = [("content-type", "multipart/form-data")]
    body = multipart(("file", "a.wav", GOOD))
    assert_problem(target.exchange(request("POST", path, headers, body)), 400, "multipart_malformed")


@pytest.mark.parametrize("path", UPLOADS)
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "video/mp4", ""])
def test_a_body_of_another_type_is_refused(target: ServerProcess, path: str, kind: str) -> None:
    """What is neither a form nor sound by its own account is not read."""
    assert_problem(
        target.client.post(path, content=GOOD, headers={"content-type": kind}), 415, "media_type_unsupported"
    )
