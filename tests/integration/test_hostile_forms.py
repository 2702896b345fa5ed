"""Uploads whose form is wrong: each way to get it wrong has its code."""

import pytest

from testing.servers import MULTIPART_TYPE, ServerProcess, assert_problem, multipart, request
from tests.integration.uploads import GOOD, RAW_WAV, UPLOADS

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


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("filename*=UTF-8''L%C3%BCfter%203.wav", "Lüfter 3.wav"),
        ("filename*=utf-8'en'a.wav", "a.wav"),
        ("filename*=iso-8859-1''L%FCfter.wav", "Lüfter.wav"),
        ("filename*=UTF-8''%FF%.wav", "\N{REPLACEMENT CHARACTER}%.wav"),
        ("filename=a.wav; filename*=utf-8''b.wav", "a.wav"),
        ("filename*=rot13''a.wav", "a.wav"),
        ("filename*=\"UTF-8''L%C3%BCfter.wav\"", "Lüfter.wav"),
        ("filename=\"=?utf-8?B?TMO8ZnRlci53YXY=?=\"; filename*=utf-8''L%C3%BCfter.wav", "Lüfter.wav"),
        ('filename="=?fan?=.wav"', "=?fan?=.wav"),
    ],
)
def test_a_file_name_in_the_extended_form_is_one(target: ServerProcess, parameters: str, name: str) -> None:
    """As RFC 8187 writes a name that is not ASCII, alone or beside the plain one."""
    body = multipart(("file", "a.wav", GOOD)).replace(b'filename="a.wav"', parameters.encode())
    (result,) = target.exchange(request("POST", "/v1/predict/batch", [MULTIPART_TYPE], body)).json()["results"]
    assert (result["file_name"], result["error"]) == (name, None)


@pytest.mark.parametrize("disposition", ["name=\"file; filename*=UTF-8''a.wav\"", "name=file; filename*=a.wav"])
def test_what_only_looks_like_a_file_name_is_none(target: ServerProcess, disposition: str) -> None:
    """Inside of another value, or without a character set."""
    body = multipart(("file", "a.wav", GOOD)).replace(b'name="file"; filename="a.wav"', disposition.encode())
    assert_problem(target.exchange(request("POST", "/inference", [MULTIPART_TYPE], body)), 422, "part_missing")


FORM_TYPE = ("content-type", "multipart/form-data")
SENTENCES = {
    "a recording as the body": (request("POST", "/inference", [RAW_WAV], GOOD), "curl -F file=@recording.wav"),
    "what curl sends without a type": (
        request("POST", "/v1/predict", [("content-type", "application/x-www-form-urlencoded")], GOOD),
        "curl -H Content-Type:audio/wav --data-binary @recording.wav",
    ),
    "no type": (request("POST", "/v1/predict", [], GOOD), "The request has no Content-Type;"),
    "an empty form": (request("POST", "/v1/predict", [MULTIPART_TYPE], b""), "The form has no part;"),
    "another name": (
        request("POST", "/inference", [MULTIPART_TYPE], multipart(("audio", "a.wav", GOOD))),
        "The form has the parts ['audio']; a file in a part called 'file' was expected.",
    ),
    "another boundary": (
        request("POST", "/inference", [("content-type", "multipart/form-data; boundary=x")], multipart()),
        "The body does not begin with the boundary that its Content-Type names, '--x'.",
    ),
    "no boundary": (request("POST", "/inference", [FORM_TYPE], multipart()), "Let the HTTP client write the header"),
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_a_refused_upload_is_explained(target: ServerProcess, kind: str) -> None:
    """With what was found, and how to send a recording."""
    sent, sentence = SENTENCES[kind]
    assert sentence in target.exchange(sent).json()["detail"]
