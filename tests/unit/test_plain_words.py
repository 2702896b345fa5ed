"""Retired words do not come back: neither in names, nor in docstrings, comments, messages and pages."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("ml", "worker", "listener", "api", "cli", "testing", "benchmarks", "tests")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
TEMPLATES = sorted([*ROOT.glob("ml/**/*.jinja"), *ROOT.glob("api/**/*.html")])
OTHER_TEXTS = [ROOT / "Makefile", ROOT / "docker-compose.yml", *sorted(ROOT.glob("Dockerfile.*"))]

RETIRED_IN_NAMES = {
    *("heard", "hear", "hears", "hearing", "unheard"),
    *("aside", "surely", "nudging", "assure", "telling", "joining", "forgetting"),
    *("minds", "naming", "farthest", "farther", "bench", "benches", "tried", "deciding", "detecting", "scene"),
    *("voice", "kin", "said", "says", "told", "foreign"),
}
# Fields of JSON and files, values of the API, and the names that follow them: they stay as they were published.
PUBLISHED_NAMES = {"heard_at", "unheard", "farthest", "foreign", "NamingFacts", "says"}
RETIRED_IN_TEXTS = re.compile(
    r"\b(heard|hears?|unheard|two minds|surely|farther out|far from healthy|held against|bears? out|borne out"
    r"|gives? way|none of ours|the bar\b(?! of)|speaks? for|is told|are told|was told|says|said)\b",
    re.IGNORECASE,
)


def words_of(name: str) -> set[str]:
    """The words of ``snake_case`` and ``CamelCase`` names, in lower case."""
    return {word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", part)}


def tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    """The tokens of a module."""
    return tokenize.generate_tokens(io.StringIO(path.read_text()).readline)


def without_code(text: str) -> str:
    """A text without code blocks, words in backticks and keys of JSON."""
    text = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.S)
    text = re.sub(r'"\w+":', "", text)
    return re.sub(r"``?[^`]+``?", "", text)


def found_in(path: Path, line: int, text: str) -> Iterator[str]:
    """Where retired words are in a text that begins at a line."""
    for number, each in enumerate(without_code(text).split("\n"), line):
        for match in RETIRED_IN_TEXTS.finditer(each):
            yield f"{path.relative_to(ROOT)}:{number}: {match[0]}"


def test_no_retired_word_is_in_a_name() -> None:
    """Modules, classes, functions, parameters and variables have the field's words."""
    found = {
        f"{path.relative_to(ROOT)}: {token.string}"
        for path in SOURCES
        for token in tokens(path)
        if token.type == tokenize.NAME
        and token.string not in PUBLISHED_NAMES
        and words_of(token.string) & RETIRED_IN_NAMES
    }
    found |= {str(path.relative_to(ROOT)) for path in SOURCES if words_of(path.stem) & RETIRED_IN_NAMES}
    assert not sorted(found)


def test_no_retired_word_is_in_docstrings_comments_and_messages() -> None:
    """Texts of the code that people read."""
    assert not [
        each
        for path in SOURCES
        for token in tokens(path)
        if token.type in (tokenize.COMMENT, tokenize.STRING) and " " in token.string
        for each in found_in(path, token.start[0], token.string)
    ]


def test_no_retired_word_is_on_a_page() -> None:
    """README, docs, reports, the console, Makefile and container files."""
    assert not [each for path in (*PAGES, *TEMPLATES, *OTHER_TEXTS) for each in found_in(path, 1, path.read_text())]
