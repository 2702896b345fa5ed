"""Mistakes of a new user: a mistyped name, a damaged home, no model. Each gets a sentence with the way out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from api.api_keys import ApiKeyStore
from ml.models.registry import Registry
from testing.jobs import Broker
from testing.servers import ServerProcess, assert_problem
from tests import sounds
from tests.commands import assert_one_sentence, signalml
from tests.unit.ledgers import FILE, record

FIRST_MODEL = ("signalml demo", "signalml train", "signalml models import")


def wrong(home: Path, **settings: object) -> dict[str, dict[str, str]]:
    """What doctor finds wrong; its exit status is 1 exactly then, and every finding has a remedy."""
    done = signalml(home, "doctor", "--json", **settings)
    found = {each["what"]: each for each in json.loads(done.stdout) if each["grade"] == "wrong"}
    assert done.returncode == int(bool(found))
    assert all(each["do"] for each in found.values())
    return found


def test_doctor_finds_nothing_wrong_in_a_good_home(home: Path) -> None:
    """Its exit status is 0."""
    record(home, "!!!")
    ApiKeyStore(home).create("line", "predict")
    assert wrong(home, require_api_key=True) == {}


@pytest.mark.parametrize("alias", ["champion", "challenger", "previous"])
def test_doctor_finds_an_alias_whose_model_is_gone(home: Path, alias: str) -> None:
    """As the service does, which answers 503 without its champion."""
    aliases = home / "models" / "aliases.json"
    state = json.loads(aliases.read_bytes())
    version = state["aliases"]["champion"] if alias == "champion" else "gone-0123456789"
    state["aliases"][alias] = version
    aliases.write_text(json.dumps(state))
    shutil.rmtree(home / "models" / version, ignore_errors=True)
    finding = wrong(home)[f"model {version}"]
    assert finding["says"] == f"The {alias}: the folder of {version} is gone."


def damage_aliases(home: Path) -> None:
    (home / "models" / "aliases.json").write_text("{")


def damage_threshold(home: Path) -> None:
    version = Registry(home).resolve("champion")
    (home / "models" / "thresholds").mkdir()
    (home / "models" / "thresholds" / f"{version}.json").write_text("{")


def damage_keys(home: Path) -> None:
    (home / "api-keys.json").write_text('[{"name": 1}]')


def damage_machines(home: Path) -> None:
    (home / FILE).parent.mkdir()
    (home / FILE).write_bytes(b"not a database at all" * 100)


def damage_journal(home: Path) -> None:
    (home / "datasets" / "hall-3" / "recordings").mkdir(parents=True)
    (home / "datasets" / "hall-3" / "journal.jsonl").write_text('{"kind": "created"}\nnot JSON\n')


@pytest.mark.parametrize(
    ("damage", "subject"),
    [
        (damage_aliases, "models"),
        (damage_threshold, "model"),
        (damage_keys, "keys"),
        (damage_machines, "machines"),
        (damage_journal, "dataset hall-3"),
    ],
)
def test_doctor_finds_a_damaged_file(home: Path, damage: Any, subject: str) -> None:
    """By its subject, with a remedy."""
    damage(home)
    assert any(each.startswith(subject) for each in wrong(home))


def test_doctor_finds_that_keys_are_required_and_absent(home: Path) -> None:
    """Otherwise every request is refused without a visible reason."""
    assert "signalml keys create" in wrong(home, require_api_key=True)["keys"]["do"]


def test_a_mistyped_variable_is_found_at_the_start(home: Path, tmp_path: Path) -> None:
    """In the environment and in .env, with the nearest name; by doctor, serve and worker. Others are left alone."""
    (tmp_path / ".env").write_text("SIGNALML_MAX_BODY_BYTE=5000\nSIGNALML_PUBLISH=0.0.0.0\nOTHER=1\n")
    done = signalml(home, "doctor", "--json", folder=tmp_path, alram_of=7, redis_password="x")
    settings = [each["says"] for each in json.loads(done.stdout) if each["what"] == "settings"]
    assert len(settings) == 2
    assert "SIGNALML_ALRAM_OF is not a setting and has no effect. Did you mean 'SIGNALML_ALARM_OF'?" in settings[0]
    assert "SIGNALML_MAX_BODY_BYTE in .env" in settings[1]
    assert "Did you mean 'SIGNALML_MAX_BODY_BYTES'?" in settings[1]
    for command in ("serve", "worker", "run"):
        done = signalml(home, command, alram_of=7, port="abc")  # the port ends it
        assert done.stderr.startswith("warning: SIGNALML_ALRAM_OF"), done.stderr
        assert "error: SIGNALML_PORT=abc" in done.stderr


def test_without_a_model_all_three_ways_to_one_are_named(tmp_path: Path, bare: ServerProcess, wav: bytes) -> None:
    """Over HTTP, in doctor, and by every command that needs a model."""
    home = tmp_path / "home"
    (tmp_path / "a.wav").write_bytes(wav)
    answer = bare.client.post("/v1/predict", files={"file": ("a.wav", wav)})
    texts = [
        assert_problem(answer, 503, "no_model")["detail"],
        wrong(home)["models"]["do"],
        signalml(home, "score", tmp_path / "a.wav").stderr,
        signalml(home, "models", "list").stdout,
        signalml(home, "models", "show").stderr,
        signalml(home, "thresholds").stderr,
    ]
    for text in texts:
        assert [way for way in FIRST_MODEL if way not in " ".join(text.split())] == [], text


@pytest.fixture(scope="module")
def queue_url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A queue that nobody works on."""
    broker = Broker(tmp_path_factory.mktemp("broker")).start()
    yield broker.url
    broker.kill()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("feature-extraction", "nosuch"), ["nosuch", "hall-3"]),
        (("scoring", "nosuch"), ["nosuch", "hall-3"]),
        (("retraining", "nosuch"), ["nosuch", "hall-3"]),
        (("recalibration", "nosuch"), ["nosuch", "hall-3"]),
        (("scoring", "hall-3", "--set", "model=nosuch"), ["no model 'nosuch'"]),
        (("recalibration", "hall-3", "--set", "model=nosuch"), ["no model 'nosuch'"]),
        (("recalibration", "hall-3"), ["detector"]),
        (("scoring", "hall-3", "--set", "modle=champion"), ["--set modle", "parameters are: model", "'model'?"]),
        (("retraining", "hall-3", "--set", "promot=never"), ["--set promot", "'promote'?", "learn"]),
        (("diagnostic", "--set", "second=1"), ["--set second", "through, seconds", "'seconds'?"]),
        (("diagnostic", "hall-3"), ["none"]),
        (("scoring",), ["dataset is missing", "signalml jobs submit scoring DATASET"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_job_that_http_refuses_is_refused_on_the_command_line(
    home: Path, queue_url: str, arguments: tuple[str, ...], fragments: list[str]
) -> None:
    """Before it is submitted, with the names that exist."""
    (home / "datasets" / "hall-3").mkdir(parents=True)
    assert_one_sentence(signalml(home, "jobs", "submit", *arguments, redis_url=queue_url), *fragments)
    assert "No jobs yet" in signalml(home, "jobs", "list", redis_url=queue_url).stdout


def test_a_mistyped_name_gets_the_nearest_one_over_http(server: ServerProcess, wav: bytes) -> None:
    """Query parameters, form parts, fields of a body, and fields inside a list."""
    body = {"classes": [{"nmae": "a", "message": "A"}, {"name": "b", "message": "B"}]}
    answers = {
        "'explain'": server.client.post("/v1/predict?explan=true", files={"file": ("a.wav", wav)}),
        "'recorded_at'": server.client.post("/v1/predict", files={"file": ("a.wav", wav)}, data={"recordedat": "x"}),
        "'sensitivity'": server.client.patch("/v1/models/champion/threshold", json={"sensitivty": "high"}),
        "'name'": server.client.patch("/v1/models/champion/labels", json=body),
    }
    for nearest, answer in answers.items():
        detail = answer.json()["detail"]
        assert answer.status_code == 422
        assert f"Did you mean {nearest}?" in detail, detail
    assert "the fields are: name, message" in answers["'name'"].json()["detail"]


def test_score_compares_with_the_truth_and_gives_each_reason(home: Path, tmp_path: Path) -> None:
    """A column with the label, counts for each label, and a sentence for each recording without a score."""
    for label, count in (("normal", 3), ("abnormal", 2)):
        (tmp_path / "fan" / label).mkdir(parents=True)
        for number in range(count):
            content = sounds.recording(sounds.fan(1.0, seed=number))
            (tmp_path / "fan" / label / f"{number}.wav").write_bytes(content)
    (tmp_path / "fan" / "normal" / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "fan" / "abnormal" / "empty.wav").write_bytes(b"")
    done = signalml(home, "score", tmp_path / "fan")
    assert done.returncode == 1
    head, *rows = done.stdout.splitlines()
    assert head.split()[:3] == ["verdict", "truth", "score"]
    assert sorted(row.split()[1] for row in rows[:7]) == ["abnormal"] * 3 + ["normal"] * 4
    assert "Truth normal: 3 of 3 are judged normal, 0 false alarms; 1 without a score." in done.stdout
    assert "Truth abnormal: 0 of 2 are judged anomalous, 2 missed; 1 without a score." in done.stdout
    for name in ("normal/broken.wav: ", "abnormal/empty.wav: "):
        assert any(name in row and row.startswith("- ") for row in rows)


def test_score_has_no_truth_where_no_label_is_known(home: Path, tmp_path: Path) -> None:
    """Then the table has no such column."""
    (tmp_path / "a.wav").write_bytes(sounds.recording(sounds.fan(1.0)))
    done = signalml(home, "score", tmp_path / "a.wav")
    head, _, *rest = done.stdout.splitlines()
    assert (done.returncode, "truth" in head, any(line.startswith("Truth") for line in rest)) == (0, False, False)
