"""Machines and models are removed with a confirmation, and never while they are in use."""

import shutil
from pathlib import Path

import pytest

from ml.models.registry import Registry
from ml.training.paths import records_folder
from testing.jobs import run_jobs
from testing.servers import Serve, ServerProcess, assert_problem
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.integration.machines import upload
from tests.unit.ledgers import record
from worker.job_checks import require_unused_by_jobs
from worker.jobs import ScoringParameters


@pytest.fixture
def spare(two_models: tuple[Path, str, str], tmp_path: Path) -> tuple[Path, str, str]:
    """A copy of the home with a champion and another version, which has revisions and records of a training."""
    home = Path(shutil.copytree(two_models[0], tmp_path / "home"))
    records = records_folder(home, two_models[2])
    records.mkdir(parents=True)
    (records / "report.html").write_text("<!doctype html>")
    return home, two_models[1], two_models[2]


def traces(home: Path, version: str) -> list[Path]:
    """Every file and folder of a version, hidden leftovers included."""
    return [path for path in home.rglob("*") if version in path.name or path.name.startswith(".removed")]


def test_a_model_is_removed_over_http(serve: Serve, spare: tuple[Path, str, str], healthy: bytes) -> None:
    """With its full name, twice; its folder, revisions and report are gone, and the champion answers on."""
    home, champion, other = spare
    server = serve(home)

    def remove(version: str, confirm: str | None) -> object:
        params = {} if confirm is None else {"confirm": confirm}
        return server.client.delete(f"/v1/models/{version}", params=params)

    assert_problem(remove(other, None), 422, "request_invalid")
    assert_problem(remove(other, champion), 422, "request_invalid")
    assert_problem(remove("other", "other"), 404, "model_not_found")
    assert_problem(remove("nobody-0123456789", "nobody-0123456789"), 404, "model_not_found")
    in_use = assert_problem(remove(champion, champion), 409, "model_in_use")
    assert f"{champion} is champion" in in_use["detail"]
    assert_problem(remove("champion", "champion"), 404, "model_not_found")
    assert traces(home, other)
    assert remove(other, other).status_code == 204
    assert traces(home, other) == []
    assert_problem(server.client.get(f"/v1/models/{other}"), 404, "model_not_found")
    upload(server, healthy, 1, before=0)


@pytest.mark.parametrize("alias", ["challenger", "previous"])
def test_a_model_with_an_alias_is_not_removed(spare: tuple[Path, str, str], alias: str) -> None:
    """The message names the alias, and nothing is removed."""
    home, champion, other = spare
    registry = Registry(home)
    if alias == "challenger":
        registry.promote(other, "challenger")
    else:
        registry.promote(other)
        other = champion
    before = traces(home, other)
    assert_one_sentence(signalml(home, "models", "remove", other, "--confirm", other), alias)
    assert traces(home, other) == before


def test_a_model_is_removed_on_the_command_line(spare: tuple[Path, str, str]) -> None:
    """Only with its name in --confirm, where nobody can be asked."""
    home, champion, other = spare
    assert_one_sentence(signalml(home, "models", "remove", other), f"--confirm {other}")
    assert_one_sentence(signalml(home, "models", "remove", other, "--confirm", champion), "nothing is removed")
    assert_one_sentence(signalml(home, "models", "remove", "other", "--confirm", "other"), "full name")
    assert succeeds(home, "models", "remove", other, "--confirm", other) == f"{other} is removed"
    assert traces(home, other) == []
    assert Registry(home).versions() == [champion]


def test_a_model_that_a_job_uses_is_not_removed(serve: Serve, spare: tuple[Path, str, str], tmp_path: Path) -> None:
    """Waiting or running, by its version or by an alias; over HTTP and on the command line."""
    home, _, other = spare
    with run_jobs(tmp_path / "jobs", home) as jobs:
        submitted = jobs.queue.submit(ScoringParameters(dataset="hall-3", model=other), request_id="test").job
        server = serve(home, redis_url=jobs.queue.url)
        refused = server.client.delete(f"/v1/models/{other}", params={"confirm": other})
        assert submitted.id in assert_problem(refused, 409, "model_in_use")["detail"]
        done = signalml(home, "models", "remove", other, "--confirm", other, redis_url=jobs.queue.url)
        assert_one_sentence(done, submitted.id)
        jobs.queue.cancel(submitted.id)
        require_unused_by_jobs(jobs.queue.store, home, other)
        assert server.client.delete(f"/v1/models/{other}", params={"confirm": other}).status_code == 204


def test_a_machine_is_removed_over_http(growing: ServerProcess) -> None:
    """With its name, twice; a slash is part of it. Other machines stay."""
    server = growing
    for name in ("fan-3", "fan/id_00", "other"):
        record(server.home, "!!!", name)
    assert_problem(server.client.delete("/v1/machines/fan-3"), 422, "request_invalid")
    assert_problem(server.client.delete("/v1/machines/fan-3?confirm=other"), 422, "request_invalid")
    assert_problem(server.client.delete("/v1/machines/nobody?confirm=nobody"), 404, "machine_not_found")
    for path, name in (("fan-3", "fan-3"), ("fan%2Fid_00", "fan/id_00")):
        assert server.client.delete(f"/v1/machines/{path}", params={"confirm": name}).status_code == 204
    assert [each["machine_id"] for each in server.client.get("/v1/machines").json()["machines"]] == ["other"]
    server.client.delete("/v1/machines/other?confirm=other").raise_for_status()


def test_a_machine_is_removed_on_the_command_line(tmp_path: Path) -> None:
    """Only with its name in --confirm; a machine may also be called like a command."""
    home = tmp_path / "home"
    record(home, "!!!")
    record(home, "!!!", "remove")
    assert_one_sentence(signalml(home, "machines", "remove", "fan-3"), "--confirm fan-3")
    assert_one_sentence(signalml(home, "machines", "remove", "nobody", "--confirm", "nobody"), "nobody")
    assert succeeds(home, "machines", "remove", "fan-3", "--confirm", "fan-3") == "fan-3 is removed"
    shown = succeeds(home, "machines")
    assert "fan-3" not in shown
    assert "remove" in succeeds(home, "machines", "show", "remove")


def test_the_history_of_a_machine_is_printed(tmp_path: Path) -> None:
    """The newest recording first."""
    home = tmp_path / "home"
    record(home, "..!?")
    head, *rows = succeeds(home, "machines", "history", "fan-3", "--latest", 3).splitlines()
    assert head.split()[:3] == ["recorded", "verdict", "score"]
    assert [row.split()[1] for row in rows] == ["unusable", "anomalous", "normal"]
