"""The command line, as a person or a script uses it: each command a process of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cli import train
from cli.main import app
from ml.models.registry import Registry
from tests import sounds
from tests.integration.servers import ROOT, Serve, environment
from tests.unit import bundles, keras2

MISSING = "import sys; sys.modules.update(dict.fromkeys({modules}))\nfrom cli.main import main\nmain()"
INTERRUPTED = """
import signal
from cli import train
from cli.main import main
train.run = lambda *_, **__: signal.raise_signal(signal.SIGINT)
main()
"""


def signalml(
    home: Path, *arguments: object, program: Sequence[str] = ("-m", "cli.main"), **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    folder = home.parent
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env=environment(home=home, **settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeeds(home: Path, *arguments: object) -> str:
    """What a command prints to stdout; it must succeed, and no library below it has a word to say."""
    done = signalml(home, *arguments)
    assert done.returncode == 0, done.stderr
    assert "XNNPACK" not in done.stderr
    return done.stdout.strip()


def is_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A command that failed as promised: exit status 1, nothing on stdout, one line on stderr that has ``words``."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    "command",
    ["", "serve", "models import", "models promote", "models export", "models label", "keys create"],
)
def test_help_shows_an_example(tmp_path: Path, command: str) -> None:
    """--help of what needs one has an example that can be typed; of the whole, where the settings are."""
    text = succeeds(tmp_path / "home", *command.split(), "--help")
    assert ("signalml " + command if command else "SIGNALML_HOME") in " ".join(text.split())


@pytest.mark.parametrize("group", [(), ("models",), ("keys",)])
def test_a_command_without_a_verb_lists_the_verbs(tmp_path: Path, group: tuple[str, ...]) -> None:
    """Without arguments there is help, not a traceback."""
    done = signalml(tmp_path / "home", *group)
    assert "Usage" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", ["settings", "errors"])
def test_the_reference_pages_are_what_the_commands_print(tmp_path: Path, page: str) -> None:
    """docs/settings.md and docs/errors.md are printed by the commands that they name."""
    assert succeeds(tmp_path / "home", page) == (ROOT / "docs" / f"{page}.md").read_text().strip()


def test_the_openapi_command_prints_the_frozen_schema(tmp_path: Path) -> None:
    """What `make openapi` writes is what `signalml openapi` prints."""
    assert json.loads(succeeds(tmp_path / "home", "openapi")) == json.loads(
        (ROOT / "docs" / "openapi.json").read_text()
    )


def test_an_original_file_is_imported_promoted_and_rolled_back(home: Path, tmp_path: Path) -> None:
    """import prints the version and nothing else; --promote makes it champion; rollback undoes that."""
    before = Registry(home).resolve("champion")
    file = keras2.write(tmp_path / "weights.h5", seed=5)
    version = succeeds(home, "models", "import", file, "--promote", "--name", "fan-hall-3")
    assert version.startswith("fan-hall-3-")
    assert Registry(home).aliases() == {"champion": version, "previous": before}
    assert succeeds(home, "models", "rollback") == f"{before} is champion"
    assert Registry(home).aliases() == {"champion": before, "previous": version}


def test_the_report_of_a_training_is_found_and_copied(home: Path, tmp_path: Path) -> None:
    """models report prints where it is, or copies it; a version that was imported has none."""
    is_one_sentence(signalml(home, "models", "report"), "no report", Registry(home).resolve("champion"))
    page = home / "training" / Registry(home).resolve("champion") / "report.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"<!doctype html>")
    assert succeeds(home, "models", "report", "champion") == str(page)
    assert succeeds(home, "models", "report", "--output", tmp_path / "copy.html") == str(tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_bytes() == page.read_bytes()


def test_models_are_listed_shown_and_verified(home: Path) -> None:
    """list names version and alias; show is JSON; verify says that each version answers its golden clip."""
    version = Registry(home).resolve("champion")
    listed = succeeds(home, "models", "list")
    assert version in listed
    assert "champion" in listed
    shown = json.loads(succeeds(home, "models", "show"))
    assert (shown["version"], shown["aliases"]) == (version, ["champion"])
    assert json.loads(succeeds(home, "models", "show", version)) == shown
    assert succeeds(home, "models", "verify").startswith(version)


def test_an_exported_model_serves_in_another_home(home: Path, tmp_path: Path) -> None:
    """export prints the archive's path; imported elsewhere it is the same version and can be promoted."""
    version = Registry(home).resolve("champion")
    archive = tmp_path / ("a-name-that-makes-this-path-longer-than-a-line-of-a-terminal-" + "x" * 40 + ".zip")
    assert succeeds(home, "models", "export", "champion", archive) == str(archive)
    other = tmp_path / "other"
    assert succeeds(other, "models", "import", archive, "--promote") == version
    assert Registry(other).aliases() == {"champion": version}
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_long_name_is_listed_whole(home: Path, tmp_path: Path) -> None:
    """In a pipe there is no right margin: scripts get whole versions."""
    registry = Registry(home)
    content = registry.read("champion").content
    version = bundles.add(registry, content, registry.path("champion") / "network.keras", name="x" * 48)
    assert version in succeeds(home, "models", "list")


def test_classes_are_named(home: Path) -> None:
    """label makes a new revision, which show has; umlauts and equals signs are kept."""
    names = ["ok=Läuft", "imbalance=Unwucht: a=b", "clogging=Verstopft", "voltage=Netz"]
    assert succeeds(home, "models", "label", "champion", *names).startswith("revision 2")
    labels = json.loads(succeeds(home, "models", "show"))["labels"]
    assert [revision["revision"] for revision in labels] == [1, 2]
    assert [f"{c['name']}={c['message']}" for c in labels[-1]["classes"]] == names


def test_a_challenger_is_named_and_promoted(home: Path) -> None:
    """promote --alias challenger, then promote challenger."""
    version = bundles.further(Registry(home))
    assert succeeds(home, "models", "promote", version, "--alias", "challenger") == f"{version} is challenger"
    assert succeeds(home, "models", "promote", "challenger") == f"{version} is champion"


def test_the_demonstration_model_takes_no_place_that_was_taken_meanwhile(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """While it is trained somebody promotes another: that one answers, and the command says so, and nothing else."""
    registry = Registry(home)
    mine, champion = bundles.further(registry), registry.resolve("champion")
    (home / "models" / "aliases.json").unlink()

    def trained(*_: object) -> tuple[SimpleNamespace, None]:
        registry.promote(champion)
        return SimpleNamespace(version=mine), None

    monkeypatch.setenv("SIGNALML_HOME", str(home))
    monkeypatch.setattr(train, "simulated_fans", lambda _: nullcontext())
    monkeypatch.setattr(train, "_train", trained)
    train.demo()
    said, _ = capfd.readouterr()
    assert Registry(home).aliases() == {"champion": champion}
    assert said.startswith(f"It answers no uploads: {champion} is the champion.\n")


@pytest.fixture(scope="module")
def archive(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An exported model."""
    target = tmp_path_factory.mktemp("export") / "model.zip"
    Registry(original_home).export("champion", target)
    return target.read_bytes()


def flipped(content: bytes, at: float) -> bytes:
    """The content with one bit flipped."""
    changed = bytearray(content)
    changed[round(len(content) * at)] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("kind", ["cut.zip", "flip-1.zip", "flip-2.zip", "flip-3.zip", "text.zip", "cut.hdf5", "a.txt"])
def test_a_file_that_is_no_model_is_refused_in_one_sentence(
    tmp_path: Path, archive: bytes, original_file: Path, kind: str
) -> None:
    """Damaged, truncated or foreign: one sentence that names the file, exit status 1, and an empty registry."""
    contents = {
        "cut.zip": archive[: len(archive) // 2],
        "flip-1.zip": flipped(archive, 0.1),
        "flip-2.zip": flipped(archive, 0.4),
        "flip-3.zip": flipped(archive, 0.7),
        "text.zip": b"This is no archive.",
        "cut.hdf5": original_file.read_bytes()[:60_000],
        "a.txt": b"",
    }
    (tmp_path / kind).write_bytes(contents[kind])
    is_one_sentence(signalml(tmp_path / "home", "models", "import", tmp_path / kind, "--promote"), kind)
    assert Registry(tmp_path / "home").versions() == []
    assert Registry(tmp_path / "home").aliases() == {}


def test_a_damaged_version_is_found_by_verify_and_cannot_be_promoted(home: Path) -> None:
    """verify and promote name the file that was changed."""
    registry = Registry(home)
    version = bundles.further(registry)
    network = registry.path(version) / "network.tflite"
    network.write_bytes(flipped(network.read_bytes(), 0.5))
    is_one_sentence(signalml(home, "models", "verify", version), "network.tflite", "SHA-256")
    is_one_sentence(signalml(home, "models", "promote", version), "network.tflite", "SHA-256")
    assert registry.resolve("champion") != version


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("models", "show", "nobody-0123456789"), ["nobody-0123456789"]),
        (("models", "show", "[/red]"), ["[/red]"]),
        (("models", "promote", "challenger"), ["challenger"]),
        (("models", "rollback"), ["previous"]),
        (("models", "label", "champion", "one=One"), ["1", "4"]),
        (("models", "label", "champion", "no equals sign"), ["NAME=MESSAGE"]),
        (("models", "export", "champion", "no/such/folder/x.zip"), ["no/such/folder"]),
        (("keys", "revoke", "nobody"), ["nobody"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_one_sentence(home: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    """A mistake gets one sentence on stderr and exit status 1, whatever characters it is made of."""
    is_one_sentence(signalml(home, *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("thresholds", "champion", "--false-alarm-rate", "5%"), "'--false-alarm-rate': '5%': "),
        (("thresholds", "champion", "--sensitivity", "hgih"), "'--sensitivity': 'hgih' is not one of"),
        (("simulate", "fans", "--duration", "0"), "--duration is 0.0; 1 to 60 was expected."),
        (("score", "fans", "--machine", "id 00"), "--machine id 00: 1 to 64 letters"),
        (("compare", "fans", "--out-of-domain", "nosuch"), "--out-of-domain nosuch does not exist"),
        (("jobs", "submit", "scoring", "data/fans"), "'data/fans' is no name of a dataset"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_value_that_cannot_be_is_shown(arguments: tuple[str, ...], words: str) -> None:
    """With the option that it was given to, and what was expected."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code != 0
    said = str(result.exception) + result.output
    assert words in said
    assert "Value error" not in said


def test_an_interrupted_training_says_that_it_goes_on(tmp_path: Path) -> None:
    """And what could not be read was said before it began to learn."""
    (tmp_path / "fan" / "normal").mkdir(parents=True)
    (tmp_path / "fan" / "normal" / "0.wav").write_bytes(sounds.recording(sounds.fan(1.0)))
    (tmp_path / "fan" / "normal" / "broken.wav").write_bytes(b"RIFF")
    done = signalml(tmp_path / "home", "train", tmp_path / "fan", "--processes", 1, program=("-c", INTERRUPTED))
    assert (done.returncode, done.stdout) == (130, "")
    assert "\nleft out: normal/broken.wav: " in done.stderr
    assert done.stderr.endswith("\nStopped. The same command goes on where it was.\n")


def test_the_version_is_said(tmp_path: Path) -> None:
    """Of the whole, as its package has it."""
    assert succeeds(tmp_path / "home", "--version") == f"signalml {version('signalml')}"


@pytest.mark.parametrize("modules", ["['tensorflow', 'keras']", "['tensorflow', 'keras', 'h5py']"])
def test_importing_without_tensorflow_says_what_to_install(tmp_path: Path, original_file: Path, modules: str) -> None:
    """Where TensorFlow is not installed, the sentence has the extra that brings it."""
    program = ("-c", MISSING.format(modules=modules))
    done = signalml(tmp_path / "home", "models", "import", original_file, program=program)
    is_one_sentence(done, "TensorFlow", "signalml[train]")


def test_all_that_serving_needs_works_without_tensorflow(home: Path, tmp_path: Path) -> None:
    """An exported model is imported, promoted and verified where there is neither TensorFlow nor h5py."""
    program = ("-c", MISSING.format(modules="['tensorflow', 'keras', 'h5py']"))
    Registry(home).export("champion", tmp_path / "model.zip")
    for arguments in (
        ("models", "import", tmp_path / "model.zip", "--promote"),
        ("models", "verify"),
        ("models", "list"),
    ):
        done = signalml(tmp_path / "other", *arguments, program=program)
        assert done.returncode == 0, done.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """create prints the secret this once; list has names and scopes and no secret; revoke removes."""
    home = tmp_path / "home"
    secrets = [succeeds(home, "keys", "create", name, "--scope", name) for name in ("predict", "admin")]
    assert all(secret.startswith("sml_") and len(secret) > 40 for secret in secrets)
    listed = succeeds(home, "keys", "list")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["predict", "predict"], ["admin", "admin"]]
    assert not any(secret[4:20] in listed for secret in secrets)
    taken = signalml(home, "keys", "create", "admin")
    assert taken.returncode != 0
    assert "Traceback" not in taken.stderr
    succeeds(home, "keys", "revoke", "admin")
    assert "admin" not in succeeds(home, "keys", "list")


def test_a_keys_name_may_have_brackets(tmp_path: Path) -> None:
    """A name is text, not markup: what was created can be listed and revoked."""
    home = tmp_path / "home"
    succeeds(home, "keys", "create", "line[/3]")
    assert "line[/3]" in succeeds(home, "keys", "list")
    assert "line[/3]" in succeeds(home, "keys", "revoke", "line[/3]")


@pytest.mark.parametrize(("name", "given"), [("port", "abc"), ("processes", "0"), ("max_body_bytes", "-1")])
def test_a_setting_that_makes_no_sense_is_named(tmp_path: Path, name: str, given: str) -> None:
    """A wrong SIGNALML_ variable is one sentence with the variable and what it was set to, not a traceback."""
    done = signalml(tmp_path / "home", "serve", **{name: given})
    is_one_sentence(done, f"SIGNALML_{name.upper()}", given)


def test_a_port_that_is_taken_is_said(serve: Serve, original_home: Path) -> None:
    """serve on a port in use ends with a status other than 0 and says why."""
    server = serve(original_home)
    done = signalml(original_home, "serve", port=server.port)
    assert done.returncode != 0
    assert f"Port {server.port} is taken" in done.stderr
    assert "SIGNALML_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_read_from_a_env_file(home: Path, tmp_path: Path) -> None:
    """A .env in the folder counts, and the environment wins over it."""
    (tmp_path / ".env").write_text(f"SIGNALML_HOME={home}\n")
    bare = environment()
    command = [sys.executable, "-m", "cli.main", "models", "list"]
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    assert Registry(home).resolve("champion") in subprocess.run(command, env=bare, **run).stdout
    other = bare | {"SIGNALML_HOME": str(tmp_path / "other")}
    assert f"No models in {tmp_path / 'other'}" in subprocess.run(command, env=other, **run).stdout


def test_the_default_home_is_var_in_this_folder(home: Path, tmp_path: Path) -> None:
    """Without SIGNALML_HOME, ./var is it."""
    shutil.move(home, tmp_path / "var")
    command = [sys.executable, "-m", "cli.main", "models", "list"]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "champion" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["var"]


def test_a_damaged_version_hides_no_other(home: Path) -> None:
    """models list shows every version, and what is wrong with the damaged one; models verify ends with 1."""
    damaged = next((home / "models").glob("*-*/network.tflite"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    whole = f"{damaged.parent.name[:-10]}0123456789"
    (home / "models" / whole).mkdir()
    listed = succeeds(home, "models", "list")
    assert damaged.parent.name in listed
    assert whole in listed
    assert listed.count("damaged:") == 2
    done = signalml(home, "models", "verify")
    assert done.returncode == 1
    assert "network.tflite" in done.stderr
    assert "no manifest.json" in done.stderr


def test_the_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Nobody else on the machine can read the hashes."""
    succeeds(tmp_path / "home", "keys", "create", "line-3")
    assert (tmp_path / "home" / "api-keys.json").stat().st_mode & 0o777 == 0o600


def test_a_name_that_cannot_be_is_refused_before_any_work(home: Path, original_file: Path) -> None:
    """Importing under an unusable name says so at once, and imports nothing."""
    done = signalml(home, "models", "import", str(original_file), "--name", "Fan 3")
    assert done.returncode == 2
    assert "Fan 3" in done.stderr


def test_an_exported_model_takes_its_names_along(home: Path, tmp_path: Path) -> None:
    """What a person named is said on the other machine too, with its history."""
    names = [c.name for c in Registry(home).label_revisions("champion")[-1].labels.classes]
    succeeds(home, "models", "label", "champion", *[f"{name}=Fan 3: {name}" for name in names])
    succeeds(home, "models", "export", "champion", tmp_path / "fan.zip")
    version = succeeds(tmp_path / "edge", "models", "import", tmp_path / "fan.zip")
    revisions = Registry(tmp_path / "edge").label_revisions(version)
    assert [r.revision for r in revisions] == [1, 2]
    assert [c.message for c in revisions[-1].labels.classes] == [f"Fan 3: {name}" for name in names]
