"""The pages say what the code does."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import api.errors
import api.settings
from cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])


def _commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = sorted(_commands(typer.main.get_command(app)))


PRINTED = [("settings.md", api.settings.render_reference), ("errors.md", api.errors.render_reference)]


@pytest.mark.parametrize(("page", "current"), PRINTED)
def test_a_printed_page_is_current(page, current):
    """docs/settings.md and docs/errors.md are what the code prints now: otherwise run  make docs."""
    assert (ROOT / "docs" / page).read_text() == current()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_documented(command):
    """Each command of signalml appears on some page."""
    assert any(f"signalml {' '.join(command)}" in page.read_text() for page in PAGES)


def test_every_command_on_a_page_exists():
    """What a page tells a reader to type is a command, with options that it has."""
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
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{page}: {line}"
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    """A relative link or picture is a file of the project."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []
