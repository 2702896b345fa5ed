"""Judged recording: the input of all figures."""

from dataclasses import dataclass

from ml.dataset.entries import Entry


@dataclass(frozen=True, slots=True)
class JudgedRecording:
    """A recording and a model's verdict on it.

    Attributes:
        entry: the recording.
        score: 0 to 1, higher is more anomalous.
        anomaly: whether the verdict is ``anomalous``. The verdict ``unusable`` is no alarm.
        probabilities: ``(classes,)``, 0 to 1: of the most anomalous clip, in the order of the classes.
        predicted: name of the predicted class: the most probable fault if ``anomaly``, else the most probable normal
            class.
        truth: name of the true class; None if the model has no class for it, or does not judge the recording.
        unusable: whether the model does not judge the recording. ``predicted`` has no meaning then.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> entry = Entry(path="abnormal/7.wav", annotation=Annotation("abnormal", session="monday"), info=info)
        >>> judged = JudgedRecording(entry, 0.8, True, (0.2, 0.8), "clogging", "clogging")
        >>> judged.entry.label, judged.anomaly
        ('abnormal', True)
    """

    entry: Entry
    score: float
    anomaly: bool
    probabilities: tuple[float, ...]
    predicted: str
    truth: str | None
    unusable: bool = False
