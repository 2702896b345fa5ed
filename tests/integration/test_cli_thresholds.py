"""``signalml thresholds``, as a person or a script uses it."""

import json
from pathlib import Path

import pytest

from ml.models.registry import Registry
from tests import sounds
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.unit import detectors


@pytest.fixture
def detecting(tmp_path: Path) -> Path:
    """A home whose champion is a detector with scores of 199 healthy recordings."""
    registry = Registry(tmp_path / "detecting")
    registry.promote(detectors.add(registry))
    return tmp_path / "detecting"


def rows(shown: str, first: str) -> list[list[str]]:
    """The rows of the table whose head begins with ``first``, cut at blanks."""
    lines = [line.split() for line in shown.splitlines()]
    begin = next(i for i, words in enumerate(lines) if words[:1] == [first])
    end = next((i for i in range(begin, len(lines)) if not lines[i] or lines[i][0] == "-"), len(lines))
    return lines[begin + 1 : end]


def test_help_shows_what_can_be_typed(tmp_path: Path) -> None:
    """Each way to move it, and what the names stand for."""
    text = " ".join(succeeds(tmp_path / "home", "thresholds", "--help").replace("│", " ").split())
    for typed in ("--sensitivity high", "--false-alarm-rate 0.02", "--reset", "signalml thresholds champion"):
        assert typed in text
    assert "low (0.1 %), medium (1 %), high (5 %)" in text


def test_without_an_option_it_shows_and_moves_nothing(detecting: Path) -> None:
    """What is in force, what each sensitivity would mean, the history, and what to know of the figures."""
    before = Registry(detecting).champion_stamp()
    shown = succeeds(detecting, "thresholds")
    assert "a score above 0.5 is anomalous (chosen by a test)" in shown
    assert "by 199 of them, which bear out no rate below 0.5 %." in shown
    assert [row[:4] for row in rows(shown, "sensitivity")] == [
        ["low", "0.1", "%", "0.9"],
        ["medium", "1", "%", "0.8955"],
        ["high", "5", "%", "0.8591"],
    ]
    assert [row[0] for row in rows(shown, "revision")] == ["1"]
    assert "- The interval was drawn from 5 sessions and is rough." in shown
    assert "bear out no false-alarm rate below 0.5 %" in shown
    assert Registry(detecting).champion_stamp() == before


@pytest.mark.parametrize(
    ("options", "threshold"),
    [
        (("--sensitivity", "high"), "0.8591"),
        (("--false-alarm-rate", "0.05"), "0.8591"),
        (("--threshold", "0.25"), "0.25"),
        (("--threshold", "0"), "0"),
    ],
    ids=" ".join,
)
def test_it_is_moved_and_the_earlier_ones_are_kept(detecting: Path, options: tuple[str, str], threshold: str) -> None:
    """By a name, by a rate, or by the score; what is in force is shown then, by version, alias and name alike."""
    shown = succeeds(detecting, "thresholds", "hall-3", *options)
    assert f"a score above {threshold} is anomalous" in shown
    assert [row[0] for row in rows(shown, "revision")] == ["1", "2"]
    assert succeeds(detecting, "thresholds", Registry(detecting).resolve("champion")) == shown
    decision = json.loads(succeeds(detecting, "models", "show", "champion"))["decision"]
    assert f"{decision['threshold']:.4g}" == threshold
    assert "Nothing moved" not in shown
    again = succeeds(detecting, "thresholds", "hall-3", *options)
    assert again == f"Nothing moved: the threshold is there already.\n{shown}"


def test_a_reset_shows_in_the_history_and_tables_fit_a_terminal(detecting: Path) -> None:
    """As the way back that it is; no table is wider than 80 columns, whatever was asked for."""
    for option in (("--sensitivity", "low"), ("--false-alarm-rate", "0.02"), ("--threshold", "0.123456"), ("--reset",)):
        shown = succeeds(detecting, "thresholds", "champion", *option)
    assert "a score above 0.5 is anomalous" in shown
    numbered = [row for row in rows(shown, "revision") if row[0].isdigit()]
    assert [row[0] for row in numbered] == ["1", "2", "3", "4", "5"]
    assert numbered[-1][-4:] == ["back", "to", "revision", "1"]
    assert max(len(line) for line in shown.splitlines() if line.startswith(" ")) <= 80


def test_a_moved_threshold_decides_what_score_says(home: Path, tmp_path: Path) -> None:
    """Commands judge by it as services do: in this process, and in those that share the work."""
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    for threshold, verdict in (("0", "anomalous"), ("1", "normal")):
        succeeds(home, "thresholds", "champion", "--threshold", threshold)
        for processes in ("1", "2"):
            csv = succeeds(home, "score", *tmp_path.glob("*.wav"), "--format", "csv", "--processes", processes)
            assert [line.split(",")[4] for line in csv.splitlines()[1:]] == [verdict] * 3


def test_a_classifier_has_no_sensitivities(home: Path) -> None:
    """It shows its threshold and history alone, and takes a score alone."""
    shown = succeeds(home, "thresholds")
    assert "a score above 0.5 is anomalous" in shown
    assert not [line for line in shown.splitlines() if line.split()[:1] == ["sensitivity"]]
    assert_one_sentence(signalml(home, "thresholds", "champion", "--sensitivity", "high"), "score from 0 to 1")
    assert "a score above 0.7 is anomalous" in succeeds(home, "thresholds", "champion", "--threshold", "0.7")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), ["nobody"]),
        (("challenger",), ["challenger"]),
        (("champion", "--threshold", "1.5"), ["1.5", "0 to 1"]),
        (("champion", "--false-alarm-rate", "0"), ["above 0 and below 1"]),
        (("champion", "--threshold", "0.5", "--reset"), ["exactly one"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    detecting: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    """And nothing moves."""
    assert_one_sentence(signalml(detecting, "thresholds", *arguments), *words)
    assert len(Registry(detecting).threshold_revisions("champion")) == 1
