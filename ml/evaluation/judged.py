"""A recording and what a model says of it: what every figure is computed from."""

from dataclasses import dataclass

from ml.dataset.entries import Entry


@dataclass(frozen=True, slots=True)
class JudgedRecording:
    """A recording and what the model says of it.

    Attributes:
        entry: the recording.
        score: 0 to 1, higher is more anomalous.
        anomaly: whether the verdict is ``anomalous``: what is ``unusable`` raises no alarm.
        probabilities: of the most anomalous window, in the order of the classes.
        predicted: name of the class that the verdict names: the most probable fault where ``anomaly``, otherwise the
            most probable healthy class.
        truth: name of the class that it belongs to; None where the model has no class for it, or does not judge it.
        unusable: whether the model does not judge it. What it would have been taken for is of no account then.
    """

    entry: Entry
    score: float
    anomaly: bool
    probabilities: tuple[float, ...]
    predicted: str
    truth: str | None
    unusable: bool = False
