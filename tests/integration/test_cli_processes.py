"""Commands in their own processes, as a user starts them; other modules test their details in this process."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from cli.main import app
from ml.models.registry import Registry
from testing.servers import Serve
from tests import sounds
from tests.commands import as_process, assert_one_sentence, signalml, start

# Arguments of ``signalml``, run in its own process and in this one, by command.
SMOKE = {
    "": ("--version",),
    "audit": ("audit",),
    "doctor": ("doctor", "--json"),
    "errors": ("errors",),
    "evaluate": ("evaluate", "champion", "fans", "--gain-db", "0", "--processes", "1"),
    "inspect": ("inspect", "fans", "--json"),
    "keys": ("keys", "list"),
    "machines": ("machines",),
    "models": ("models", "verify"),
    "openapi": ("openapi",),
    "score": ("score", "fans", "--format", "csv"),
    "settings": ("settings",),
    "simulate": ("simulate", "made", "--machines", "1", "--sessions", "1", "--recordings", "1", "--duration", "1"),
    "thresholds": ("thresholds", "champion", "--threshold", "0.7"),
    "training-options": ("training-options",),
}
# Commands with process tests in other modules, by module.
ELSEWHERE = {
    "compare": "test_cli_compare",
    "demo": "test_session",
    "download": "test_download",
    "events": "test_cli_events",
    "jobs": "test_run_command",
    "listen": "test_cli_listen",
    "run": "test_run_command",
    "serve": "test_inference",
    "sinks": "test_cli_sinks",
    "sources": "test_cli_sources",
    "train": "test_training",
    "worker": "test_run_command",
}
# Several commands in sequence, as if neither TensorFlow nor h5py were installed.
WITHOUT_TRAINING = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "h5py")))
from cli.main import main
for words in sys.argv[1:]:
    sys.argv[1:] = words.split()
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture
def folder(original_home: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes working folders, with the same home and the same recordings in each."""

    def make(name: str) -> Path:
        shutil.copytree(original_home, tmp_path / name / "home")
        for label, blade_hz in (("normal", 120.0), ("abnormal", 90.0)):
            (tmp_path / name / "fans" / label).mkdir(parents=True)
            for number in range(4):
                wav = sounds.recording(sounds.fan(1.0, seed=number, blade_hz=blade_hz))
                (tmp_path / name / "fans" / label / f"{number}.wav").write_bytes(wav)
        return tmp_path / name

    return make


def test_every_command_has_a_process_test() -> None:
    """Each command is tested here or in an existing module."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    assert set(SMOKE) | set(ELSEWHERE) == {"", *commands}
    modules = {path.stem for path in Path(__file__).parents[1].rglob("test_*.py")}
    assert set(ELSEWHERE.values()) <= modules


@pytest.mark.parametrize("command", SMOKE)
def test_a_command_gives_the_same_output_in_its_own_process(folder: Callable[[str], Path], command: str) -> None:
    """Exit status and both streams are the same, and no library prints to stderr."""
    one, other = (how(Path("home"), *SMOKE[command], folder=folder(how.__name__)) for how in (as_process, signalml))
    assert one.returncode == 0, one.stderr
    assert "XNNPACK" not in one.stderr
    assert one._replace(stdout=without_disk(one.stdout)) == other._replace(stdout=without_disk(other.stdout))


def without_disk(stdout: str) -> str:
    """Return the output of doctor without the folder and the free space."""
    return re.sub(r'"says": "\S+: [\d.]+ of [\d.]+ GB', "", stdout)


def test_a_closed_pipe_is_not_an_error(folder: Callable[[str], Path]) -> None:
    """Nothing is printed to stderr, as in  signalml score ... | head -1."""
    here = folder("here")
    file = here / "fans" / "normal" / "0.wav"
    with start(here / "home", "score", *[file] * 40, "--format", "csv") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("name,")
        process.stdout.close()
        assert process.stderr.read() == ""


def test_an_import_without_tensorflow_prints_what_to_install(tmp_path: Path, original_file: Path) -> None:
    """The message has the extra of the package that includes TensorFlow."""
    words = f"models import {original_file}"
    done = as_process(tmp_path / "home", words, program=("-c", WITHOUT_TRAINING))
    assert_one_sentence(done, "TensorFlow", "signalml[train]")


def test_serving_commands_work_without_tensorflow(home: Path, tmp_path: Path) -> None:
    """An exported model is imported, promoted and verified without TensorFlow and h5py."""
    version = Registry(home).resolve("champion")
    Registry(home).export("champion", tmp_path / "model.zip")
    words = (f"models import {tmp_path / 'model.zip'} --promote", "models verify", "models list")
    done = as_process(tmp_path / "other", *words, program=("-c", WITHOUT_TRAINING))
    assert done.returncode == 0, done.stderr
    imported, verified, *_, listed = done.stdout.strip().splitlines()
    assert imported == version
    assert verified.startswith(version)
    assert listed.split()[:2] == [version, "champion"]


def test_a_port_in_use_is_reported(serve: Serve, original_home: Path) -> None:
    """serve ends with a status other than 0, and the message has the port and the setting."""
    server = serve(original_home)
    done = as_process(original_home, "serve", port=server.port)
    assert done.returncode != 0
    assert f"Port {server.port} is in use: choose another with SIGNALML_PORT or --port." in done.stderr
    assert "Traceback" not in done.stderr
