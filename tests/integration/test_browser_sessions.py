"""Sessions of browsers: a key once, then a cookie; its protection, and its ends."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from api.api_keys import ApiKeyStore
from api.browser_sessions import COOKIE, FILE, MOST_OF_KEY, MOST_SESSIONS, BrowserSessions
from ml.system.audit import read_entries
from testing.servers import Serve, ServerProcess, assert_problem

SESSION = "/v1/session"


@pytest.fixture(scope="module")
def locked(original_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server with two processes that requires keys."""
    home = Path(shutil.copytree(original_home, tmp_path_factory.mktemp("sessions") / "home"))
    return serve_for_all(home, require_api_key=True, processes=2, inference_threads=1)


@pytest.fixture
def keys(locked: ServerProcess) -> ApiKeyStore:
    """The keys of its home."""
    return ApiKeyStore(locked.home)


@pytest.fixture
def browser(locked: ServerProcess) -> Iterator[httpx.Client]:
    """A browser on a page of the service: it keeps cookies, and names the page."""
    with httpx.Client(base_url=locked.base_url, headers={"origin": locked.base_url}) as client:
        yield client


def log_in(browser: httpx.Client, secret: str) -> httpx.Response:
    """Exchange a key for a session."""
    return browser.post(SESSION, json={"api_key": secret})


def test_a_session_stands_for_its_key(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """With its scopes and bindings, in every process, and without the key in any later request."""
    secret = keys.create("stands", "read", "label", datasets=["hall-*"])
    answer = log_in(browser, secret)
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["name"], shown["scopes"], shown["datasets"]) == ("stands", ["read", "label"], ["hall-*"])
    assert shown["login_required"]
    for _ in range(8):
        assert browser.get(SESSION, headers={"connection": "close"}).json() == shown
    assert browser.get("/v1/datasets").status_code == 200
    assert_problem(browser.post("/v1/jobs/diagnostic", json={}), 403, "api_key_scope_missing")
    assert browser.post("/v1/datasets", json={"name": "hall-1"}).status_code == 201
    assert_problem(browser.post("/v1/datasets", json={"name": "other"}), 403, "api_key_bound")


def test_the_cookie_is_protected(browser: httpx.Client, keys: ApiKeyStore, locked: ServerProcess) -> None:
    """Neither scripts nor other sites have it, and the home has only its hash."""
    secret = keys.create("protected", "read")
    header = log_in(browser, secret).headers["set-cookie"]
    assert "HttpOnly" in header
    assert "SameSite=strict" in header
    assert "Path=/" in header
    cookie = browser.cookies[COOKIE]
    stored = (locked.home / FILE).read_text()
    assert cookie not in stored
    assert secret not in stored
    assert (locked.home / FILE).stat().st_mode & 0o777 == 0o600


def test_a_change_needs_a_page_of_the_service(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """A form of another page, or one that hides it, has no effect; reading needs no page."""
    log_in(browser, keys.create("pages", "admin"))
    del browser.headers["origin"]
    assert browser.get("/v1/datasets").status_code == 200
    assert_problem(browser.post("/v1/datasets", json={"name": "forged"}), 403, "origin_not_allowed")
    for origin in ("https://evil.example", "null"):
        answer = browser.post("/v1/datasets", json={"name": "forged"}, headers={"origin": origin})
        assert_problem(answer, 403, "origin_not_allowed")
    assert browser.get("/v1/datasets/forged").status_code == 404


def test_a_session_ends_with_the_log_out(browser: httpx.Client, keys: ApiKeyStore, locked: ServerProcess) -> None:
    """Also for somebody who has copied the cookie."""
    log_in(browser, keys.create("leaves", "read"))
    copied = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
    assert httpx.get(f"{locked.base_url}/v1/models", headers=copied).status_code == 200
    assert browser.delete(SESSION).status_code == 204
    assert COOKIE not in browser.cookies
    assert_problem(httpx.get(f"{locked.base_url}/v1/models", headers=copied), 401, "session_ended")
    actions = [entry["action"] for entry in read_entries(locked.home) if entry["object"] == "leaves"]
    assert actions == ["key.create", "session.begin", "session.end"]


def test_a_session_ends_with_its_key(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """At once when the key is revoked; another key of the same name does not bring it back."""
    log_in(browser, keys.create("revoked", "read"))
    keys.revoke("revoked")
    keys.create("revoked", "read")
    assert_problem(browser.get(SESSION), 401, "session_ended")


def test_a_session_is_not_longer_than_its_key(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """Its end is that of the key, if that is earlier."""
    end = datetime.now(UTC) + timedelta(minutes=5)
    shown = log_in(browser, keys.create("short", "read", expires=end)).json()
    assert shown["expires"] == end.isoformat(timespec="seconds")


def test_what_is_no_key_begins_no_session(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """Each has its code, and no cookie."""
    expired = keys.create("expired", "read", expires=datetime.now(UTC) - timedelta(seconds=1))
    assert_problem(log_in(browser, "sml_x"), 401, "api_key_missing")
    assert_problem(log_in(browser, expired), 401, "api_key_expired")
    assert_problem(browser.post(SESSION, json={}), 422, "request_invalid")
    assert_problem(browser.get(SESSION), 401, "api_key_missing")
    assert not browser.cookies


@pytest.mark.parametrize("cookie", ["", "x", "a" * 5000, "%00"])
def test_an_unknown_cookie_is_no_session(locked: ServerProcess, cookie: str) -> None:
    """It is refused, and a key beside it counts."""
    answer = httpx.get(f"{locked.base_url}/v1/models", headers={"cookie": f"{COOKIE}={cookie}"})
    assert answer.status_code == 401


def test_a_key_counts_before_a_session(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """A program that sends both is known by its key."""
    log_in(browser, keys.create("first", "read"))
    secret = keys.create("second", "predict")
    assert browser.get(SESSION, headers={"x-api-key": secret}).json()["name"] == "second"


def test_without_required_keys_there_is_no_login(server: ServerProcess) -> None:
    """Everybody may do everything, and no cookie is set."""
    shown = server.client.get(SESSION).json()
    assert (shown["login_required"], shown["scopes"], shown["expires"]) == (False, ["admin"], None)
    answer = server.client.post(SESSION, json={"api_key": "anything"})
    assert (answer.json(), "set-cookie" in answer.headers) == (shown, False)


def test_sessions_are_bounded_and_end_at_their_time(tmp_path: Path) -> None:
    """The oldest ends for one above the limit; a damaged file has no sessions."""
    keys = ApiKeyStore(tmp_path)
    key = keys.find(keys.create("many", "read"))
    assert key is not None
    sessions = BrowserSessions(tmp_path, hours=1)
    first, found = sessions.begin(key)
    entry = json.loads((tmp_path / FILE).read_text())[0]
    (tmp_path / FILE).write_text(json.dumps([entry] + [entry | {"sha256": str(n)} for n in range(MOST_SESSIONS - 1)]))
    assert sessions.find(first) == found
    later, _ = sessions.begin(key)
    assert sessions.find(first) is None
    assert sessions.find(later) is not None
    over = entry | {"expires": "2020-01-01T00:00:00+00:00"}
    (tmp_path / FILE).write_text(json.dumps([over]))
    assert sessions.find(first) is None
    (tmp_path / FILE).write_text("[{")
    assert sessions.find(later) is None
    sessions.begin(key)
    assert len(json.loads((tmp_path / FILE).read_text())) == 1


def test_a_key_ends_only_its_own_sessions(tmp_path: Path) -> None:
    """However often it logs in."""
    keys = ApiKeyStore(tmp_path)
    one, other = (keys.find(keys.create(name, "read")) for name in ("one", "other"))
    assert one is not None
    assert other is not None
    sessions = BrowserSessions(tmp_path, hours=1)
    kept, _ = sessions.begin(other)
    first, _ = sessions.begin(one)
    for _ in range(MOST_OF_KEY):
        sessions.begin(one)
    assert sessions.find(kept) is not None
    assert sessions.find(first) is None


def test_a_stream_ends_with_its_session(browser: httpx.Client, keys: ApiKeyStore) -> None:
    """Soon after the log out."""
    log_in(browser, keys.create("streams", "read"))
    with browser.stream("GET", "/v1/events/stream", timeout=30) as stream:
        browser.delete(SESSION).raise_for_status()
        assert stream.read() is not None
