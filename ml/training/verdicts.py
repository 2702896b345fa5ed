"""What the measured network said of the test side, kept so that a later model can be held against it.

A network that is fitted once more, to all recordings, can never again be judged on them. What was said before is all
that there will ever be.
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
    """The verdicts, as a table: on the recordings as they are, and with a random gain on each."""
    write_table(folder / VERDICTS, COLUMNS, [*_rows(judged, "none"), *_rows(gained, "random")])


def read_verdicts(home: Path, version: str, entries: Sequence[Entry], gain: Gain) -> tuple[JudgedRecording, ...]:
    """What was said, then, of those of the ``entries`` that were on the test side of a version's training.

    Returns:
        In the order of the entries; empty where nothing was kept.
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
