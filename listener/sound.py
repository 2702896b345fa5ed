"""Sound between a source and what judges it.

A :class:`SourceReader` runs in a thread of its own and gives a :class:`SoundReceiver` blocks of samples, gaps, whole
recordings and its state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.machines.recording_time import RecordingTime
from ml.models.verdict import Verdict

SourceState = Literal[
    "starting", "listening", "no_data", "stalled", "silent", "wrong_rate", "waiting", "failed", "no_model", "disabled"
]
"""State of a source.

``starting``: it has begun and has sent nothing yet; ``listening``: sound arrives; ``no_data``: no bytes since its
start; ``stalled``: bytes arrived and then stopped; ``silent``: every sample has the same value; ``wrong_rate``: bytes
arrive faster or slower than the sample rate; ``waiting``: by its schedule, the machine does not run; ``failed``:
it ended, or cannot start; ``no_model``: there is no model to judge it; ``disabled``: it is switched off.
"""
PROBLEM_STATES: tuple[SourceState, ...] = ("no_data", "stalled", "silent", "wrong_rate", "failed", "no_model")


@dataclass(frozen=True, slots=True)
class SoundBlock:
    """Samples that follow one another without a gap.

    Attributes:
        samples: float32 ``(frames, channels)``; full scale is -1 to 1.
        sample_rate_hz: nominal sample rate.
        at: time of the first sample, in seconds since 1970: the count of samples, tied to the clock.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    at: float

    @property
    def ends_at(self) -> float:
        """Time after the last sample, in seconds since 1970."""
        return self.at + len(self.samples) / self.sample_rate_hz


class SoundReceiver(Protocol):
    """Receiver of the sound of one source. All methods are called by the reader's thread."""

    def receive(self, block: SoundBlock) -> None:
        """Take the next samples. Returns at once: what cannot be kept is dropped and counted."""

    def report_gap(self, seconds: float, cause: str) -> None:
        """Note that the next block does not follow the last one.

        Args:
            seconds: length of the gap; 0 if it is not known.
            cause: what happened, as the tool reported it.
        """

    def judge_recording(self, path: Path, content: bytes, time: RecordingTime | None) -> Verdict | None:
        """Judge a whole recording, and wait for its verdict.

        Returns:
            The verdict; None if the listener stops before it.

        Raises:
            AudioError: the recording cannot be read.
        """

    def refuse_recording(self, name: str, cause: str) -> None:
        """Count a recording, or a piece of one, that the reader itself cannot use, and log its name and the cause."""

    def report_state(self, state: SourceState, cause: str = "") -> None:
        """Note the state of the source, with the cause as the tool reported it."""


class SourceReader(Protocol):
    """Reader of one source."""

    def run(self, receiver: SoundReceiver) -> None:
        """Read until :meth:`stop` is called. It never gives up: after an error it tries again later."""

    def stop(self) -> None:
        """Make :meth:`run` return within two seconds, without child processes left. Safe from any thread."""
