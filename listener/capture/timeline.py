"""Sound of one connection with its times and its gaps.

Sound that comes late is kept back for a moment. If the rest follows quickly, it was only delayed. If it stays late,
samples are missing, and the gap is reported before the late sound. Sound with one value only is kept back too, and left
out if it lasts: the source is silent.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from listener.capture.sound_buffer import Gap
from listener.capture.stream_clock import WINDOW_S, StreamClock, wall_offset
from listener.sound import SoundBlock

LARGEST_SAMPLE = 2.0**31


class Tolerance(NamedTuple):
    """Bounds of what is normal for a kind of source, in seconds.

    Attributes:
        late_s: lateness of sound that is normal.
        hold_s: time for which late sound can still become punctual.
        window_s: time over which the clock searches the smallest delay.
        silent_s: time after which sound with one value only is silence.
    """

    late_s: float = 0.5
    hold_s: float = 1.5
    window_s: float = WINDOW_S
    silent_s: float = 5.0


NORMAL = Tolerance()


class Timeline:
    """Times and gaps of the sound of one connection.

    Args:
        sample_rate_hz: nominal sample rate.
        tolerance: what is normal.
        offset: difference of the wall clock from the steady clock.

    Attributes:
        sample_rate_hz: nominal sample rate.
        clock: the clock of the samples.
        silent_value: the one value of all samples while the source is silent; else None.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        tolerance: Tolerance = NORMAL,
        offset: Callable[[], float] = wall_offset,
    ) -> None:
        self.clock = StreamClock(sample_rate_hz, tolerance.window_s, offset)
        self.silent_value: float | None = None
        self.sample_rate_hz = sample_rate_hz
        self._rate, self._tolerance = sample_rate_hz, tolerance
        self._held: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._late_since: float | None = None
        self._least_late = 0.0
        self._constant: NDArray[np.float32] | None = None
        self._constant_frames = self._silent_frames = 0

    def add(self, samples: NDArray[np.float32], arrived: float) -> list[Gap | SoundBlock]:
        """Take the next samples; return the sound and the gaps that are certain now.

        Args:
            samples: float32 ``(frames, channels)``, at least one frame.
            arrived: steady time.
        """
        self._held.append((self.clock.add(len(samples), arrived), samples))
        self._note_constant(samples)
        if self._constant_frames > self._tolerance.silent_s * self._rate:
            self._leave_out(float(samples[-1, 0]))
            return []
        if self._constant_frames and self.silent_value is None:
            return []
        return self._end_silence() + self._settle(arrived)

    def flush(self) -> list[Gap | SoundBlock]:
        """Return what is still kept back, at the end of the connection."""
        if self.silent_value is not None:
            return []
        return [SoundBlock(samples, self._rate, self.clock.label(first)) for first, samples in self._take_held()]

    @property
    def ended(self) -> float:
        """Steady time after the last sample that was returned or is kept back."""
        return self.clock.time_of(self.clock.frames - self._silent_frames)

    def _settle(self, arrived: float) -> list[Gap | SoundBlock]:
        """Return the sound if it is punctual or certainly late."""
        late = self.clock.lateness_s
        if self.clock.measured_rate_hz is not None:
            self._late_since = None
            self.clock.accept(late)
            return self.flush()
        if late <= self._tolerance.late_s:
            self._late_since = None
            return self.flush()
        if self._late_since is None:
            self._late_since, self._least_late = arrived, late
        self._least_late = min(self._least_late, late)
        if arrived - self._late_since < self._tolerance.hold_s:
            return []
        self._late_since = None
        self.clock.accept(self._least_late)
        return [Gap(self._least_late, "samples are missing: the sound that followed came later"), *self.flush()]

    def _note_constant(self, samples: NDArray[np.float32]) -> None:
        """Count the samples since the last change of any channel."""
        if self._constant is None or self._constant_frames == 0:
            self._constant = samples[0]
        if (samples == self._constant).all():
            self._constant_frames += len(samples)
        else:
            self._constant, self._constant_frames = None, 0

    def _leave_out(self, value: float) -> None:
        self.silent_value = value
        self._silent_frames += sum(len(samples) for _, samples in self._take_held())

    def _end_silence(self) -> list[Gap | SoundBlock]:
        if self.silent_value is None:
            return []
        gap = Gap(self._silent_frames / self._rate, silence_cause(self.silent_value))
        self.silent_value, self._silent_frames = None, 0
        return [gap]

    def _take_held(self) -> list[tuple[int, NDArray[np.float32]]]:
        held = list(self._held)
        self._held.clear()
        return held


def silence_cause(value: float) -> str:
    """Return the cause of the state ``silent``."""
    return f"every sample has the value {value:.6g}"


def is_usable(samples: NDArray[np.float32]) -> bool:
    """Return whether all samples are finite numbers of a usable size."""
    return bool(np.abs(samples).max(initial=0) <= LARGEST_SAMPLE)
