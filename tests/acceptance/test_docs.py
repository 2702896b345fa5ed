"""Documentation matches the code: generated pages, commands, links and Python examples."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import api.errors
import api.settings
import cli.training_options
from cli.lazy import LazyCommand
from cli.main import app
from testing.servers import environment
from tests.commands import succeeds

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
GENERATED = [
    ("settings.md", api.settings.render_reference),
    ("errors.md", api.errors.render_reference),
    ("training-options.md", cli.training_options.render_reference),
]
# Pages whose Python examples work on a folder data/fans and a home var.
PAGES_WITH_SCRIPTS = ("../README.md", "training.md", "thresholds.md", "comparing.md", "reports.md", "alerts.md")


def subcommands(command: Any) -> dict[str, Any]:
    """The commands below one of ``signalml``, loaded."""
    found = getattr(command, "commands", {})
    return {name: each.load() if isinstance(each, LazyCommand) else each for name, each in found.items()}


def command_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, such as ``("models", "list")``."""
    below = subcommands(command)
    if not below:
        yield path
    for name, each in below.items():
        yield from command_paths(each, (*path, name))


@pytest.mark.parametrize(("page", "render"), GENERATED)
def test_generated_pages_are_current(page: str, render: Callable[[], str]) -> None:
    """The page is what the code prints now: otherwise run  make docs."""
    assert (ROOT / "docs" / page).read_text() == render()


def test_every_command_is_documented() -> None:
    """Each command of signalml is on some page."""
    text = "\n".join(page.read_text() for page in PAGES)
    paths = list(command_paths(typer.main.get_command(app)))
    assert len(paths) > 30
    assert not [path for path in paths if f"signalml {' '.join(path)}" not in text]


def test_the_list_of_commands_has_the_first_sentence_of_each_help() -> None:
    """`signalml --help` shows a sentence without loading the command; it is the one that the command begins with."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    assert not [
        (name, each.help, help_text)
        for name, each in commands.items()
        if (help_text := " ".join(each.load().help.split("\n\n")[0].split())) != each.help
    ]


def test_commands_on_pages_exist() -> None:
    """What a page asks the reader to type is a command, with options that it has."""
    root = typer.main.get_command(app)
    typed = [
        (page.name, line)
        for page in PAGES
        for block in re.findall(r"```(?:console|sh|bash)?\n(.*?)```", page.read_text(), re.S)
        for line in re.findall(r"(?:^|\$ |&& )(signalml [^\n#&|]+)", block, re.M)
    ]
    assert len(typed) > 5
    for page, line in typed:
        words, command = shlex.split(line.rstrip("\\ "))[1:], root
        while words and (below := subcommands(command)):
            assert words[0] in below, f"{page}: {line}"
            command = below[words.pop(0)]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, f"{page}: {line}"


def test_links_between_pages_lead_to_files() -> None:
    """A relative link or picture is a file of the project."""
    assert not [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]


def test_python_examples_run_as_scripts(tmp_path: Path) -> None:
    """Each example of the pages, saved as a file, runs on a simulated dataset where a champion detector answers."""
    home = tmp_path / "var"
    simulated = ("--machines", "2", "--sessions", "2", "--recordings", "2", "--snr", "6", "--duration", "1.5")
    succeeds(home, "simulate", tmp_path / "data" / "fans", *simulated)
    (tmp_path / "data" / "small").symlink_to("fans")
    succeeds(home, "train", tmp_path / "data" / "fans", "--name", "demo-fans", "--detector", "--promote")
    examples = [
        (page, code)
        for page in PAGES_WITH_SCRIPTS
        for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    ]
    assert len(examples) >= 5
    for number, (page, code) in enumerate(examples):
        script = tmp_path / f"example{number}.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page}: {done.stderr}"
        assert done.stdout, page
