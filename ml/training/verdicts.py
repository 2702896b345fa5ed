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
COLUMNS = ("audio_hash", "gain", "score", "anomaly", "predicted", "truth", "probabilities", "path")
Gain = Literal["none", "random"]


def write_verdicts(folder: Path, judged: Sequence[JudgedRecording], gained: Sequence[JudgedRecording]) -> None:
    """Write the verdicts as a table: without gain, and with a random gain on each recording."""
    write_table(folder / VERDICTS, COLUMNS, [*_rows(judged, "none"), *_rows(gained, "random")])


def read_verdicts(home: Path, version: str, entries: Sequence[Entry], gain: Gain) -> tuple[JudgedRecording, ...]:
    """Read the verdicts on those ``entries`` that were on the test side of a version's training.

    Returns:
        The verdicts in the order of the entries; empty if none were stored. Whether a recording was unusable is not
        stored.
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
            "true" if each.anomaly else "false",
            each.predicted,
            each.truth or "",
            probabilities,
            each.entry.path,
        )


def _judged(entry: Entry, row: Mapping[str, str]) -> JudgedRecording:
    return JudgedRecording(
        entry=entry,
        score=float(row["score"]),
        anomaly=row["anomaly"] == "true",
        probabilities=tuple(map(float, filter(None, row["probabilities"].split(";")))),
        predicted=row["predicted"],
        truth=row["truth"] or None,
    )
