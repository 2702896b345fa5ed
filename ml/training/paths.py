"""Where the records of trainings are: ``<home>/training/<version>/``; records.py says what is in them."""

from pathlib import Path

from ml.errors import ReportNotFound

FOLDER, REPORT = "training", "report.html"


def records_folder(home: Path, version: str) -> Path:
    """Where the records of a version are; it need not exist."""
    return home / FOLDER / version


def report_path(home: Path, version: str) -> Path:
    """The report of a version's training.

    Raises:
        ReportNotFound: there is none.
    """
    file = records_folder(home, version) / REPORT
    if not file.is_file():
        raise ReportNotFound(
            f"There is no report of {version}: signalml train writes one, beside the home's models; versions that were "
            "imported have none."
        )
    return file
