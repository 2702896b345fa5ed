"""Folder of a training's records: ``<home>/training/<version>/``. See records.py for its files."""

from pathlib import Path

from ml.errors import ReportNotFound
from ml.system.names import child

FOLDER, SPLIT, REPORT = "training", "split.csv", "report.html"


def records_folder(home: Path, version: str) -> Path:
    """Return the folder of a version's records; it may not exist."""
    return child(home / FOLDER, version)


def report_path(home: Path, version: str) -> Path:
    """Return the path of a version's report.

    Raises:
        ReportNotFound: there is no report.
    """
    file = records_folder(home, version) / REPORT
    if not file.is_file():
        raise ReportNotFound(
            f"There is no report of {version}. Only versions that were trained in this home have one; imported "
            "versions have none."
        )
    return file
