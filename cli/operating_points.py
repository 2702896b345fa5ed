"""What to expect of a new model: its verdicts; for a detector, its calibration and its sensitivities."""

from collections.abc import Mapping
from typing import Any

import typer
from rich.table import Table

from cli.output import print_table, print_text, printable
from ml.detectors.detector import Detector
from ml.detectors.thresholds import SESSIONS_FOR_A_RATE, percent
from ml.reports.advice import answers, warnings
from ml.reports.expectations import Expectations

ODD_SHOWN = 10


def print_operating_points(version: str, operating: Mapping[str, Any]) -> None:
    """Print a row for each sensitivity, and the command that changes the threshold."""
    if not operating["abnormal"]:
        return
    print_text(f"Share of the {operating['abnormal']} abnormal recordings that is detected at each sensitivity:")
    table = Table("sensitivity", "false alarms", "threshold", "detected", box=None)
    for point in operating["points"]:
        detected = "{:.3f} [{:.3f}, {:.3f}]".format(*point["detected"])
        table.add_row(point["sensitivity"], percent(point["false_alarm_rate"]), f"{point['threshold']:.4g}", detected)
    print_table(table, "")
    print_text(f"To move the threshold:  signalml thresholds {version} --sensitivity high")


def print_calibration(detector: Detector) -> None:
    """Print what the stated rate holds for, and the normal recordings that the threshold does not count."""
    calibration, odd = detector.calibration, detector.odd_recordings
    if calibration.rate_holds_for == "new_session":
        print_text(
            f"The stated rate is for recordings of a new session; it comes from {calibration.n_sessions} sessions."
        )
        if calibration.n_sessions < SESSIONS_FOR_A_RATE:
            print_text(f"So few sessions support no promise: record at least {SESSIONS_FOR_A_RATE}, on different days.")
    else:
        print_text(
            "The stated rate is for recordings of the same session. For a rate that holds for new sessions, record "
            f"each machine in at least {SESSIONS_FOR_A_RATE} sessions, on different days."
        )
    if odd:
        print_text(
            f"Normal recordings that stand apart from their session: {len(odd)}. The threshold does not count them. "
            "Listen to them (report, section Example recordings):"
        )
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
