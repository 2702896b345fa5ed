"""What a training's detector finds at each named false-alarm rate, beside what it costs."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from cli.output import print_table, print_text
from ml.detectors.thresholds import percent


def print_operating_points(version: str, operating: Mapping[str, Any]) -> None:
    """A line for each sensitivity, and how to move to another."""
    if not operating["abnormal"]:
        return
    print_text(
        f"What it detects of {operating['abnormal']} abnormal recordings, none learned from, at each sensitivity:"
    )
    table = Table("sensitivity", "false alarms", "threshold", "detected", box=None)
    for point in operating["points"]:
        detected = "{:.3f} [{:.3f}, {:.3f}]".format(*point["detected"])
        table.add_row(point["sensitivity"], percent(point["false_alarm_rate"]), f"{point['threshold']:.4g}", detected)
    print_table(table, "")
    print_text(f"To move it:  signalml thresholds {version} --sensitivity high")
