"""Judged clips for tests of events, with verdicts made by hand."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from listener.config.source_types import FolderSource, PipeSource, SourceEntry
from listener.events.event import Change, Event
from listener.events.event_keeper import EventClips
from listener.events.store import NewAlert
from listener.judging.judged_clip import JudgedClip, SoundBetween, no_sound
from listener.sound import SoundBlock
from ml.audio.recording import AudioQuality
from ml.detectors.deviations import BandDeviation, Deviations
from ml.detectors.recorder_checks import UnusableReason
from ml.machines.alarms import AlarmState
from ml.models.labels import ClassLabel
from ml.models.predictor import Predictor
from ml.models.verdict import ClipResult, Verdict

T0 = 1_790_000_000.0  # 2026-09-21
HOP_S = 10.0
RATE_HZ = 8000
HALL = PipeSource(name="hall", machine_id="fan-3", path="/fifo")
OTHER = PipeSource(name="other", machine_id="fan-3", path="/fifo-2")
FOLDER = FolderSource(name="files", machine_id="fan-3", path="recordings")
NORMAL, FAULT = ClassLabel("normal", "OK", anomalous=False), ClassLabel("worn", "Bearing worn", anomalous=True)
QUALITY = AudioQuality(10.0, RATE_HZ, 1, -20.0, 0.0, digital_silence=False)
BANDS = tuple(BandDeviation(100.0 * n, 200.0 * n, 6.0, 3.0, 0.25) for n in range(1, 6))
UNUSABLE = UnusableReason("no_signal", "The microphone has no signal.")


def verdict(score: float, *, anomalous: bool = False, unusable: bool = False, version: str = "v-1") -> Verdict:
    """A verdict with the threshold 0.5."""
    worst = ClipResult(0.0, 10.0, score, anomalous, FAULT if anomalous else NORMAL, ())
    return Verdict(
        unusable=UNUSABLE if unusable else None,
        timeline=(worst,),
        worst=worst,
        threshold=0.5,
        false_alarm_rate=None,
        rate_holds_for=None,
        quality=QUALITY,
        classes=(),
        p_value=None,
        machine_known=True,
        explanation=Deviations(BANDS, 1.0, ()) if anomalous else None,
        fault_rule=None,
        version=version,
        labels_revision=1,
        threshold_revision=2,
        note=None,
    )


def judged(
    number: float,
    score: float = 0.2,
    state: AlarmState = "normal",
    source: SourceEntry = HALL,
    *,
    unusable: bool = False,
    version: str = "v-1",
    sound: SoundBetween = no_sound,
    **given: Any,
) -> JudgedClip:
    """The clip of a number: each begins 10 s after the one before. It is anomalous above a score of 0.5."""
    return JudgedClip(
        source=source,
        machine_id=source.machine_id,
        began=T0 + HOP_S * number,
        ended=T0 + HOP_S * (number + 1),
        verdict=verdict(score, anomalous=score > 0.5, unusable=unusable, version=version),
        machine_state=state,
        predictor=cast("Predictor", None),
        sound=sound,
        **given,
    )


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class NoClips(EventClips):
    """Clips of events, as a list of the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def judged(self, event: Event, clip: JudgedClip) -> None:  # noqa: ARG002 - the name is that of the protocol
        self.calls.append(("judged", event.id))

    def ended(self, event: Event) -> None:
        self.calls.append(("ended", event.id))


def no_alerts(event: Event, change: Change) -> Sequence[NewAlert]:
    """Return no alerts."""
    return ()


def tone(began: float, ended: float, channels: int = 1) -> SoundBlock:
    """A sound whose samples depend on their time alone, of 16 bits."""
    frames = np.arange(round((began - T0) * RATE_HZ), round((ended - T0) * RATE_HZ))
    samples = np.rint(8000 * np.sin(frames * 0.1)[:, None] * np.ones(channels)) / 32_768
    return SoundBlock(samples.astype(np.float32), RATE_HZ, began)


def with_predictor(clip: JudgedClip, predictor: Predictor) -> JudgedClip:
    """The same clip, judged by a real model."""
    return dataclasses.replace(clip, predictor=predictor)
