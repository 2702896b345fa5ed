"""``signalml thresholds``: show, set and reset the threshold of a model."""

import json
from pathlib import Path

import pytest

from ml.models.registry import Registry
from tests import sounds
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.unit import bundles, detectors


@pytest.fixture
def detector_home(tmp_path: Path) -> Path:
    """A home whose champion is a detector with a calibration of 199 normal recordings."""
    registry = Registry(tmp_path / "detector_home")
    registry.promote(detectors.add(registry))
    return tmp_path / "detector_home"


def rows(shown: str, first: str) -> list[list[str]]:
    """Return the rows of the table whose header starts with ``first``, split at blanks."""
    lines = [line.split() for line in shown.splitlines()]
    begin = next(i for i, cells in enumerate(lines) if cells[:1] == [first])
    end = next((i for i in range(begin, len(lines)) if not lines[i] or lines[i][0] == "-"), len(lines))
    return lines[begin + 1 : end]


def test_help_shows_every_way_to_set_the_threshold(tmp_path: Path) -> None:
    """It has an example of each option, and the false-alarm rates of the sensitivities."""
    text = " ".join(succeeds(tmp_path / "home", "thresholds", "--help").replace("│", " ").split())
    for example in ("--sensitivity high", "--false-alarm-rate 0.02", "--reset", "signalml thresholds champion"):
        assert example in text
    assert "low (0.1 %), medium (1 %), high (5 %)" in text


def test_without_an_option_the_threshold_is_shown_and_unchanged(detector_home: Path) -> None:
    """The output has the threshold, each sensitivity, the history, and notes on the figures."""
    before = Registry(detector_home).reference_stamp("champion")
    shown = succeeds(detector_home, "thresholds")
    assert "a score above 0.5 is anomalous (chosen by a test)" in shown
    measured = "of normal recordings, measured with 199 of them, from 5 sessions. The lowest rate that their number"
    assert measured in shown
    assert [row[:4] for row in rows(shown, "sensitivity")] == [
        ["low", "0.1", "%", "0.9"],
        ["medium", "1", "%", "0.8955"],
        ["high", "5", "%", "0.8591"],
    ]
    assert [row[0] for row in rows(shown, "revision")] == ["1"]
    assert "- The interval was drawn from 5 sessions and is rough." in shown
    assert "- low: 199 normal recordings support no false-alarm rate below 0.5 %; 0.1 % was requested." in shown
    assert Registry(detector_home).reference_stamp("champion") == before


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
def test_a_new_threshold_is_a_new_revision(detector_home: Path, options: tuple[str, str], threshold: str) -> None:
    """Set by sensitivity, rate or score; version, alias and name show the same; setting it again changes nothing."""
    shown = succeeds(detector_home, "thresholds", "hall-3", *options)
    assert f"a score above {threshold} is anomalous" in shown
    assert [row[0] for row in rows(shown, "revision")] == ["1", "2"]
    assert succeeds(detector_home, "thresholds", Registry(detector_home).resolve("champion")) == shown
    decision = json.loads(succeeds(detector_home, "models", "show", "champion"))["decision"]
    assert f"{decision['threshold']:.4g}" == threshold
    assert "Nothing changed" not in shown
    again = succeeds(detector_home, "thresholds", "hall-3", *options)
    assert again == f"Nothing changed: this is the present threshold already.\n{shown}"


def test_a_limit_of_false_alarms_is_set_and_explained(detector_home: Path) -> None:
    """The output has the time between false alarms at this rhythm, and what the recordings support."""
    shown = succeeds(detector_home, "thresholds", "champion", "--false-alarms", "1/day", "--every", "1h")
    assert "is anomalous (for 1/day at a recording every 1h (alarm: 3 of 5)" in shown
    assert "With a recording every 60 minutes, alarms (3 of 5) come falsely at most once in" in shown
    shown = succeeds(detector_home, "thresholds", "champion", "--false-alarms", "1/month", "--every", "10min")
    assert "- 199 normal recordings support no fewer false alarms than one in 33 hours at a recording" in shown
    assert "1/month needs 4382 normal recordings, from at least 4 sessions." in shown
    assert "and are expected once in 33 hours. Among 199 normal recordings of 5 sessions, 0 alarms were" in shown
    assert [row[0] for row in rows(shown, "revision") if row[0].isdigit()] == ["1", "2", "3"]


def test_a_reset_is_in_the_history_and_tables_have_80_columns(detector_home: Path) -> None:
    """The last row of the history is "back to revision 1"; no table is wider than 80 columns."""
    for option in (("--sensitivity", "low"), ("--false-alarm-rate", "0.02"), ("--threshold", "0.123456"), ("--reset",)):
        shown = succeeds(detector_home, "thresholds", "champion", *option)
    assert "a score above 0.5 is anomalous" in shown
    numbered = [row for row in rows(shown, "revision") if row[0].isdigit()]
    assert [row[0] for row in numbered] == ["1", "2", "3", "4", "5"]
    assert numbered[-1][-4:] == ["back", "to", "revision", "1"]
    assert max(len(line) for line in shown.splitlines() if line.startswith(" ")) <= 80


def test_score_uses_a_changed_threshold(home: Path, tmp_path: Path) -> None:
    """It is used in this process and in the processes that share the work."""
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(sounds.recording(sounds.fan(1.0, seed=number)))
    for threshold, verdict in (("0", "anomalous"), ("1", "normal")):
        succeeds(home, "thresholds", "champion", "--threshold", threshold)
        for processes in ("1", "2"):
            csv = succeeds(home, "score", *tmp_path.glob("*.wav"), "--format", "csv", "--processes", processes)
            assert [line.split(",")[4] for line in csv.splitlines()[1:]] == [verdict] * 3


def test_a_classifier_with_scores_has_sensitivities(home: Path) -> None:
    """Its threshold is set by a sensitivity, and the table of sensitivities is shown."""
    version = bundles.calibrated(Registry(home))
    shown = succeeds(home, "thresholds", version, "--sensitivity", "high")
    assert "is anomalous (for 5 % false alarms in a new session;" in shown
    assert "from 5 sessions" in shown
    assert [row[0] for row in rows(shown, "sensitivity")][:3] == ["low", "medium", "high"]


def test_a_classifier_without_scores_has_no_sensitivities(home: Path) -> None:
    """It shows only threshold and history; a sensitivity is refused, a score is accepted."""
    shown = succeeds(home, "thresholds")
    assert "a score above 0.5 is anomalous" in shown
    assert not [line for line in shown.splitlines() if line.split()[:1] == ["sensitivity"]]
    assert_one_sentence(signalml(home, "thresholds", "champion", "--sensitivity", "high"), "score from 0 to 1")
    assert "a score above 0.7 is anomalous" in succeeds(home, "thresholds", "champion", "--threshold", "0.7")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("nobody",), ["nobody"]),
        (("challenger",), ["challenger"]),
        (("champion", "--threshold", "1.5"), ["1.5", "0 to 1"]),
        (("champion", "--false-alarm-rate", "0"), ["above 0 and below 1"]),
        (("champion", "--threshold", "0.5", "--reset"), ["exactly one"]),
        (("champion", "--false-alarms", "1/month"), ["--every", "both together"]),
        (("champion", "--false-alarms", "1/moon", "--every", "10min"), ["1/moon", "1/month"]),
    ],
    ids=" ".join,
)
def test_an_impossible_threshold_is_refused_in_one_sentence(
    detector_home: Path, arguments: tuple[str, ...], fragments: list[str]
) -> None:
    """The threshold is unchanged."""
    assert_one_sentence(signalml(detector_home, "thresholds", *arguments), *fragments)
    assert len(Registry(detector_home).threshold_revisions("champion")) == 1
