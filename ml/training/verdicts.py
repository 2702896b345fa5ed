"""Stored verdicts of the measured model on the test side, for comparisons with later models.

A model with a final fit has learned from all recordings, so it cannot be tested on them again.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ml.dataset.entries import Entry
from ml.evaluation.judged import JudgedRecording
from ml.training.paths import records_folder
from ml.training.records import write_table

VERDICTS = "verdicts.csv"
COLUMNS = ("audio_hash", "gain", "score", "anomaly", "predicted", "truth", "probabilities", "path", "unusable")
Gain = Literal["none", "random"]
TRUE = "true"


def write_verdicts(folder: Path, judged: Sequence[JudgedRecording], gained: Sequence[JudgedRecording]) -> None:
    """Write the verdicts as a table: without gain, and with a random gain on each recording."""
    write_table(folder / VERDICTS, COLUMNS, [*_rows(judged, "none"), *_rows(gained, "random")])


def read_verdicts(home: Path, version: str, entries: Sequence[Entry], gain: Gain) -> tuple[JudgedRecording, ...]:
    """Read the verdicts on those ``entries`` that were on the test side of a version's training.

    Returns:
        The verdicts in the order of the entries; empty if none were stored. Trainings before November 2026 did not
        store whether a recording was unusable; there, none is.
    """
    file = records_folder(home, version) / VERDICTS
    if not file.is_file():
        return ()
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        rows = {row["audio_hash"]: row for row in csv.DictReader(lines) if row["gain"] == gain}
    return tuple(_judged(entry, rows[entry.audio_hash]) for entry in entries if entry.audio_hash in rows)


def _rows(judged: Sequence[JudgedRecording], gain: Gain) -> Iterator[tuple[object, ...]]:
    for each in judged:
        probabilities = ";".join(map(repr, each.probabilities))
        yield (
            each.entry.audio_hash,
            gain,
            repr(each.score),
            _flag(each.anomaly),
            each.predicted,
            each.truth or "",
            probabilities,
            each.entry.path,
            _flag(each.unusable),
        )


def _judged(entry: Entry, row: Mapping[str, str]) -> JudgedRecording:
    return JudgedRecording(
        entry=entry,
        score=float(row["score"]),
        anomaly=row["anomaly"] == TRUE,
        probabilities=tuple(map(float, filter(None, row["probabilities"].split(";")))),
        predicted=row["predicted"],
        truth=row["truth"] or None,
        unusable=row.get("unusable") == TRUE,
    )


def _flag(value: bool) -> str:
    return TRUE if value else "false"
