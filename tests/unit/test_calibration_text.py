"""What training prints about the threshold of a detector, in plain words."""

from dataclasses import replace

import numpy as np
import pytest

from cli.operating_points import print_calibration, print_odd_recordings
from ml.detectors.calibration import Calibration, OddRecording
from tests.unit import detectors

SCORES = np.linspace(0.01, 0.99, 600)


def printed(capsys: pytest.CaptureFixture[str], calibration: Calibration, rate: float) -> list[str]:
    """The printed lines, each sentence in one."""
    detector = replace(detectors.detector(), calibration=calibration)
    print_calibration(detector, 0.984, rate)
    return " ".join(capsys.readouterr().out.split()).split(". ")


def test_a_rate_of_new_sessions_is_stated_with_its_sessions(capsys: pytest.CaptureFixture[str]) -> None:
    """Six sessions: one sentence, and nothing about more sessions."""
    calibration = Calibration(SCORES, SCORES, np.arange(600) % 6, rate_holds_for="new_session")
    (only,) = printed(capsys, calibration, 0.01)
    assert only.startswith(
        "Threshold 0.984: at most 1 false alarm in 100 recordings of a new session, measured with 6 "
    )
    assert only.endswith("sessions (0.36 % to 1.9 %).")


@pytest.mark.parametrize(
    ("sessions", "rate_holds_for", "expected"),
    [
        (1, "same_session", "100 recordings of the same sessions, measured with 1 session ("),
        (3, "new_session", "So few sessions support no promise: record at least 4"),
        (1, "same_session", "A new session can have many more"),
    ],
)
def test_few_sessions_are_no_promise(
    capsys: pytest.CaptureFixture[str], sessions: int, rate_holds_for: str, expected: str
) -> None:
    """One session, and three."""
    calibration = Calibration(SCORES, SCORES, np.arange(600) % sessions)
    found = printed(capsys, replace(calibration, rate_holds_for=rate_holds_for), 0.01)
    assert expected in ". ".join(found)


def test_too_few_recordings_state_the_rate_that_they_support(capsys: pytest.CaptureFixture[str]) -> None:
    """Nineteen recordings support one in 20, not one in 100."""
    calibration = Calibration(SCORES[:19], SCORES[:19], np.arange(19) % 5, rate_holds_for="new_session")
    found = ". ".join(printed(capsys, calibration, 0.01))
    assert "at most 1 false alarm in 20 recordings of a new session" in found
    assert "More recordings are needed for 1 %." in found


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "1 healthy recording stands apart and was kept out of the threshold: listen to it (report)."),
        (3, "3 healthy recordings stand apart and were kept out of the threshold: listen to them (report)."),
        (12, "and 2 more"),
    ],
)
def test_odd_recordings_are_listed_by_name(capsys: pytest.CaptureFixture[str], count: int, expected: str) -> None:
    """At most ten of them."""
    print_odd_recordings([OddRecording(f"{n}.wav", "fan", "monday", 4.21) for n in range(count)], " (report)")
    shown = capsys.readouterr().out
    assert expected in " ".join(shown.split())
    assert "  0.wav: 4.2 times the distance that is usual in its session" in shown.splitlines()
    print_odd_recordings([])
    assert not capsys.readouterr().out
