"""What to expect of a new model: its verdicts; for a detector, its calibration and its sensitivities."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.table import Table

from cli.output import print_table, print_text
from ml.detectors.alarm_limit import USUAL_EVERY_S
from ml.detectors.alarm_rule import KOfNRule
from ml.detectors.calibration import Calibration, OddRecording
from ml.detectors.detector import Detector
from ml.detectors.false_alarms import count_false_alarms
from ml.detectors.thresholds import SESSIONS_FOR_A_RATE, expected_rate, percent, smallest_rate
from ml.reports.advice import answers, warnings
from ml.reports.expectations import Expectations
from ml.system.text import printable

ODD_SHOWN = 10


def print_operating_points(version: str, operating: Mapping[str, Any]) -> None:
    """Print a row for each sensitivity, and the command that changes the threshold."""
    if not operating["abnormal"]:
        return
    print_text(f"Share of the {operating['abnormal']} abnormal recordings that the detector finds at each sensitivity:")
    table = Table("sensitivity", "false alarms", "threshold", "detected", box=None)
    for point in operating["points"]:
        detected = "{:.3f} [{:.3f}, {:.3f}]".format(*point["detected"])
        table.add_row(point["sensitivity"], percent(point["false_alarm_rate"]), f"{point['threshold']:.4g}", detected)
    print_table(table, "")
    if len({point["threshold"] for point in operating["points"]}) > 1:
        print_text(f"To move the threshold:  signalml thresholds {version} --sensitivity high")


def print_false_alarms(version: str, detector: Detector, threshold: float, rule: KOfNRule) -> None:
    """Print the time between false alarms of a machine, and the command that sets it."""
    print_text(count_false_alarms(detector.calibration, threshold, rule).describe(USUAL_EVERY_S))
    print_text(f"To set this time:  signalml thresholds {version} --false-alarms 1/month --every 10min")


def print_calibration(detector: Detector, threshold: float, rate: float) -> None:
    """Print what the stated rate holds for, and the normal recordings that the threshold does not count.

    Args:
        detector: the detector.
        threshold: threshold of its score.
        rate: false-alarm rate that was requested.
    """
    calibration = detector.calibration
    print_text(f"Threshold {threshold:.4g}: {_promise(calibration, threshold, rate)}")
    if calibration.rate_holds_for == "same_session":
        print_text(
            "A new session can have many more. For a rate that holds for new sessions, record each machine in at least "
            f"{SESSIONS_FOR_A_RATE} sessions, on different days."
        )
    elif calibration.n_sessions < SESSIONS_FOR_A_RATE:
        print_text(f"So few sessions support no promise: record at least {SESSIONS_FOR_A_RATE}, on different days.")
    print_odd_recordings(detector.odd_recordings, " (report, section Example recordings)")


def _promise(calibration: Calibration, threshold: float, rate: float) -> str:
    """Return the rate in plain words, with the number of sessions and the interval."""
    lowest = smallest_rate(int(calibration.kept.sum()))
    one_in = round(1 / max(rate, lowest))
    of = "a new session" if calibration.rate_holds_for == "new_session" else "the same sessions"
    sessions = f"{calibration.n_sessions} session{'' if calibration.n_sessions == 1 else 's'}"
    found = expected_rate(calibration, threshold)
    interval = "" if found.low is None or found.high is None else f" ({_short(found.low)} to {_short(found.high)})"
    few = f" More recordings are needed for {percent(rate)}." if rate < lowest else ""
    return f"at most 1 false alarm in {one_in} recordings of {of}, measured with {sessions}{interval}.{few}"


def print_odd_recordings(odd: Sequence[OddRecording], where: str = "") -> None:
    """Print the normal recordings that stand apart from their session.

    Args:
        odd: the recordings.
        where: where to listen to them, in parentheses after a space.
    """
    if not odd:
        return
    if len(odd) == 1:
        sentence = f"1 healthy recording stands apart and was kept out of the threshold: listen to it{where}."
    else:
        sentence = (
            f"{len(odd)} healthy recordings stand apart and were kept out of the threshold: listen to them{where}."
        )
    print_text(sentence)
    for each in odd[:ODD_SHOWN]:
        typer.echo(f"  {printable(each.name)}: {each.times:.1f} times the distance that is usual in its session")
    if len(odd) > ODD_SHOWN:
        typer.echo(f"  and {len(odd) - ODD_SHOWN} more")


def print_expectations(found: Expectations, version: str) -> None:
    """Print what to expect of a model in three sentences, and the warnings."""
    typer.echo()
    for question, answer in answers(found):
        print_text(f"{question} {answer}")
    for warning in warnings(found, version):
        print_text(f"Warning: {warning}")
    typer.echo()


def _short(rate: float) -> str:
    """Return a rate in percent, with two significant digits."""
    return f"{100 * rate:.2g} %"
