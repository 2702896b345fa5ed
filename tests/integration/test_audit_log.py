"""Each change over HTTP and on the command line is in the audit log, once, with who made it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.api_keys import ApiKeyStore
from ml.models.registry import Registry
from ml.system.audit import read_entries, user_name
from testing.jobs import Broker
from testing.servers import Serve, ServerProcess, wait_until
from tests import sounds
from tests.commands import signalml, succeeds

WAV_TYPE = {"content-type": "audio/wav"}
Json = dict[str, Any]


class Audited(NamedTuple):
    """A server that requires keys, and an admin's key."""

    server: ServerProcess
    key: dict[str, str]

    def ask(self, method: str, path: str, **request: Any) -> list[Json]:
        """The lines that a request adds."""
        before = len(list(read_entries(self.server.home)))
        answer = self.server.client.request(method, path, headers=self.key | request.pop("headers", {}), **request)
        lines = list(read_entries(self.server.home))[before:]
        for line in lines:
            assert (line["actor_kind"], line["actor"], line["address"]) == ("key", "control-room", "127.0.0.1")
            assert line["request_id"] == answer.headers["x-request-id"]
        return lines


@pytest.fixture(scope="module")
def audited(
    two_models: tuple[Path, str, str], serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Audited]:
    """A server with two models, and a queue that nobody works on."""
    root = tmp_path_factory.mktemp("audited")
    home = Path(shutil.copytree(two_models[0], root / "home"))
    key = {"x-api-key": ApiKeyStore(home).create("control-room", "admin")}
    broker = Broker(root / "broker").start()
    yield Audited(serve_for_all(home, require_api_key=True, redis_url=broker.url, alarm_raise=1, alarm_clear=0), key)
    broker.kill()


def facts(lines: list[Json]) -> list[tuple[Any, ...]]:
    """What was done to what, in short."""
    return [(line["action"], line["object"], line["outcome"]) for line in lines]


def test_changes_of_models_have_their_values_before_and_after(
    audited: Audited, two_models: tuple[Path, str, str]
) -> None:
    """Promotion, names of classes, and threshold."""
    _, first, second = two_models
    (line,) = audited.ask("PUT", "/v1/models/aliases/champion", json={"version": second})
    assert facts([line]) == [("model.promote", "champion", "done")]
    assert (line["before"], line["after"]) == (first, second)
    count = len(Registry(audited.server.home).label_revisions("champion")[-1].labels.classes)
    names = {"classes": [{"name": f"c{number}", "message": "-"} for number in range(count)]}
    (line,) = audited.ask("PATCH", "/v1/models/champion/labels", json=names)
    assert facts([line]) == [("model.labels", second, "done")]
    assert line["after"][0]["name"] == "c0"
    (line,) = audited.ask("PATCH", "/v1/models/champion/threshold", json={"threshold": 0.4})
    assert facts([line]) == [("model.threshold", second, "done")]
    assert (line["before"]["threshold"], line["after"]["threshold"]) == (0.5, 0.4)
    audited.ask("PUT", "/v1/models/aliases/champion", json={"version": first})


def test_changes_of_datasets_and_labels(audited: Audited) -> None:
    """One line for each request; the values of a label before and after."""
    assert facts(audited.ask("POST", "/v1/datasets", json={"name": "hall-3"})) == [("dataset.create", "hall-3", "done")]
    file = {"file": ("a.wav", sounds.recording(sounds.sine(440, 16_000, 16_000)))}
    (line,) = audited.ask("POST", "/v1/datasets/hall-3/recordings", files=file, data={"label": "normal"})
    assert facts([line]) == [("recording.upload", "hall-3", "done")]
    assert line["after"] == {"added": 1, "relabelled": 0, "labels": {"label": "normal"}}
    listed = audited.server.client.get("/v1/datasets/hall-3/recordings", headers=audited.key).json()
    name = f"hall-3/{listed['recordings'][0]['id']}"
    path = f"/v1/datasets/{name.replace('/', '/recordings/')}"
    (line,) = audited.ask("PATCH", path, json={"label": "abnormal"})
    assert facts([line]) == [("recording.label", name, "done")]
    assert (line["before"], line["after"]) == ({"label": "normal"}, {"label": "abnormal"})
    assert facts(audited.ask("DELETE", path)) == [("recording.remove", name, "done")]
    confirmed = {"params": {"confirm": "hall-3"}}
    assert facts(audited.ask("DELETE", "/v1/datasets/hall-3", **confirmed)) == [("dataset.remove", "hall-3", "done")]


def test_jobs_and_alarms(audited: Audited) -> None:
    """Submission, cancellation and acknowledgement."""
    (line,) = audited.ask("POST", "/v1/jobs/diagnostic", json={})
    assert (line["action"], line["after"]["kind"]) == ("job.submit", "diagnostic")
    (line,) = audited.ask("DELETE", f"/v1/jobs/{line['object']}")
    assert (line["action"], line["before"], line["after"]) == ("job.cancel", "queued", "cancelled")
    faulty = sounds.recording(sounds.sine(440, 16_000, 16_000))
    assert audited.ask("POST", "/v1/predict?machine_id=fan-3", content=faulty, headers=WAV_TYPE) == []

    def acknowledged() -> list[Json] | None:
        lines = audited.ask("POST", "/v1/machines/fan-3/acknowledge", json={"by": "Ana", "note": "seen"})
        return lines if lines[0]["outcome"] == "done" else None

    (line,) = wait_until(acknowledged)
    assert facts([line]) == [("machine.acknowledge", "fan-3", "done")]
    assert line["after"] == {"alarm": 1, "by": "Ana", "note": "seen"}


@pytest.mark.parametrize(
    ("method", "path", "body", "outcome"),
    [
        ("PUT", "/v1/models/aliases/champion", {"version": "absent"}, "model_not_found"),
        ("PUT", "/v1/models/aliases/champion", {}, "request_invalid"),
        ("DELETE", "/v1/datasets/absent?confirm=absent", None, "dataset_not_found"),
        ("POST", "/v1/jobs/scoring", {"dataset": "absent"}, "dataset_not_found"),
    ],
)
def test_a_change_that_failed_is_there_with_its_code(
    audited: Audited, method: str, path: str, body: Json | None, outcome: str
) -> None:
    """One line, with the route and the address that was asked for."""
    (line,) = audited.ask(method, path, json=body)
    assert line["outcome"] == outcome
    assert line["action"].startswith(f"{method} /v1/")
    assert line["object"] == path.partition("?")[0]


def test_reading_and_refused_keys_add_nothing(audited: Audited) -> None:
    """Those who may do nothing cannot fill the log."""
    before = list(read_entries(audited.server.home))
    key = {"x-api-key": ApiKeyStore(audited.server.home).create("line", "predict")}
    for headers in (key, {}, {"x-api-key": "sml_x"}):
        audited.server.client.delete("/v1/datasets/hall-3", headers=headers)
    audited.server.client.get("/v1/models", headers=audited.key)
    assert facts(list(read_entries(audited.server.home))[len(before) :]) == [("key.create", "line", "done")]


def test_the_command_line_is_recorded_and_listed(tmp_path: Path, two_models: tuple[Path, str, str]) -> None:
    """With the name of the user; `signalml audit` lists and filters, and no line has a secret."""
    home = Path(shutil.copytree(two_models[0], tmp_path / "home"))
    secret = succeeds(home, "keys", "create", "line-3", "--scope", "predict", "--machine", "hall-3/*")
    succeeds(home, "models", "promote", two_models[2])
    succeeds(home, "thresholds", two_models[2], "--threshold", 0.3)
    succeeds(home, "keys", "revoke", "line-3")
    lines = [json.loads(line) for line in succeeds(home, "audit", "--json", "--last", 4).splitlines()]
    assert [(line["action"], line["object"]) for line in lines] == [
        ("key.create", "line-3"),
        ("model.promote", "champion"),
        ("model.threshold", two_models[2]),
        ("key.revoke", "line-3"),
    ]
    assert {(line["actor_kind"], line["actor"], line["request_id"]) for line in lines} == {("user", user_name(), "-")}
    assert lines[0]["after"] == {"scopes": ["predict"], "machines": ["hall-3/*"]}
    assert secret[4:] not in (home / "audit.jsonl").read_text()
    for filters, count in ((("--action", "key.*"), 2), (("--object", "champion"), 1), (("--actor", "nobody"), 0)):
        found = succeeds(home, "audit", "--json", "--last", 4, *filters)
        assert len(found.splitlines()) >= count
        assert bool(found) == bool(count)
    table = succeeds(home, "audit", "--last", 1)
    assert table.splitlines()[1].split()[1:5] == ["user", user_name(), "key.revoke", "line-3"]
    assert succeeds(home, "audit", "--since", "2999-01-01") == "No changes are recorded."


def test_the_settings_bound_the_log(tmp_path: Path) -> None:
    """Two files of 4096 bytes at most, after many changes."""
    home, limits = tmp_path / "home", {"audit_max_bytes": 4096, "audit_files": 1}
    for number in range(20):
        assert signalml(home, "keys", "create", f"key-{number}", **limits).returncode == 0
        assert signalml(home, "keys", "revoke", f"key-{number}", **limits).returncode == 0
    sizes = [file.stat().st_size for file in home.glob("audit.jsonl*")]
    assert len(sizes) == 2
    assert max(sizes) <= 4096
