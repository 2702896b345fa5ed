"""The four recordings that everything here is measured with, and the right answers to them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WEIGHTS_FILE = "weightsMulti.hdf5"


@dataclass(frozen=True, slots=True)
class BenchmarkRecording:
    """One recording: its file, the message that is its right answer, and the original's probabilities."""

    name: str
    content: bytes
    message: str
    probabilities: tuple[float, ...]


def default_data() -> Path:
    """``$SIGNALML_TEST_DATA``, or ``../shared/data`` beside the repository."""
    return Path(os.environ.get("SIGNALML_TEST_DATA") or REPOSITORY.parent / "shared" / "data")


def weights(data: Path) -> Path:
    """The original project's trained network."""
    return data / "seed" / WEIGHTS_FILE


def read_recordings(data: Path) -> tuple[BenchmarkRecording, ...]:
    """Read the recordings and their labels in ``expected.json``.

    Raises:
        OSError: a file is not there.
    """
    seed = data / "seed"
    answers = json.loads((seed / "expected.json").read_text())["answers"]
    return tuple(
        BenchmarkRecording(
            name,
            (seed / name).read_bytes(),
            answer["Details"]["Message"],
            tuple(answer["Details"]["Probabilities"]),
        )
        for name, answer in sorted(answers.items())
    )
