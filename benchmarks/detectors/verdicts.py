"""Verdicts of a detector on recordings, as the service gives them, with the reasons of those that are not judged."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.detectors.__main__ import SEED
from ml.audio.batch import AudioFile, map_recordings
from ml.audio.recording import Recording
from ml.dataset.entries import Dataset, Entry
from ml.detectors.detector import Detector
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates, wilson
from ml.evaluation.metrics import weighted_share
from ml.evaluation.results import Estimate
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.judging import random_gain_db
from ml.models.labels import DETECTOR_LABELS
from ml.models.picklable import PicklablePredictor
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.system.progress import ProgressCallback, ignore_progress
from ml.training.context import TrainingContext
from ml.training.options import GAIN_DB


class Answer(NamedTuple):
    """Verdict on one recording.

    Attributes:
        session: session of the recording.
        value: ``normal``, ``anomalous`` or ``unusable``.
        why: reason of ``unusable``; empty for the others.
    """

    session: str
    value: str
    why: str

    @property
    def is_anomalous(self) -> bool:
        """Whether the verdict is ``anomalous``."""
        return self.value == "anomalous"


def predictor_at(context: TrainingContext, detector: Detector, rate: float) -> Predictor:
    """Return the model of a detector alone, with the threshold of a stated rate."""
    decision = decision_at(operating_point_at_rate(detector.calibration, rate))
    golden = GoldenClip(make_golden_clip(), ())
    content = BundleContent(context.spec, DETECTOR_LABELS, decision, {}, None, golden, detector)
    return Predictor(ServedModel.as_written(Bundle("benchmark", "", content)))


def answers(
    predictor: Predictor,
    dataset: Dataset,
    entries: Sequence[Entry],
    *,
    machine: str | None = "",
    report: ProgressCallback = ignore_progress,
) -> list[Answer]:
    """Judge recordings with a random gain.

    Args:
        predictor: the model.
        dataset: dataset of the recordings.
        entries: the recordings.
        machine: machine that is named with each; empty for its own, None for none.
        report: called after each recording.
    """
    files = [
        AudioFile(
            dataset.file(entry),
            (entry.machine_name or None) if machine == "" else machine,
            entry.path,
            random_gain_db(entry, GAIN_DB, SEED),
        )
        for entry in entries
    ]
    found = map_recordings(
        partial(_value, PicklablePredictor(predictor)),
        files,
        channel=predictor.extractor.spec.used_channels,
        step="judging",
        processes=1,  # starting others takes longer than some dozens of recordings
        report=report,
    )
    return [Answer(entry.session, *value) for entry, value in zip(entries, found, strict=True)]


def answer(predictor: Predictor, sound: bytes) -> Answer:
    """Judge a recording in memory, with no machine named."""
    return Answer("", *_value_of(predictor, predictor.decode(sound), None))


def wav(samples: NDArray[np.float64], rate_hz: int) -> bytes:
    """Return samples as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def files_in(folder: Path) -> list[bytes]:
    """Return the FLAC files of a folder."""
    return [file.read_bytes() for file in sorted(folder.glob("*.flac"))]


def share_by_session(flags: Sequence[bool], sessions: Sequence[str]) -> Estimate:
    """Return the share of flagged recordings; its 95 % interval comes from draws of sessions, and contains Wilson's.

    With fewer than three sessions, recordings are drawn.
    """
    flagged, n = np.array(flags, bool), len(flags)
    number = np.unique(np.array(sessions), return_inverse=True)[1]
    plan = BootstrapPlan.of(np.zeros(n, np.int64), number, SEED)

    def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return weighted_share(flagged, np.ones(n, bool), weights)[:, None]

    (drawn,) = bootstrap_estimates(shares, plan, [plan.units(0)])
    if drawn.value is None or drawn.low is None or drawn.high is None:
        return drawn
    low, high = wilson(drawn.value, n)
    return replace(drawn, low=min(low, drawn.low), high=max(high, drawn.high))


def _value(model: PicklablePredictor, recording: Recording, machine: str | None) -> tuple[str, str]:
    return _value_of(model.predictor, recording, machine)


def _value_of(predictor: Predictor, recording: Recording, machine: str | None) -> tuple[str, str]:
    verdict = predictor.predict(recording, machine)
    return verdict.value, verdict.unusable.code if verdict.unusable else ""
