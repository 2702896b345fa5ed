"""Table of the operating points of a new detector: detection rate at each sensitivity."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from cli.output import print_table, print_text
from ml.detectors.thresholds import percent


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
