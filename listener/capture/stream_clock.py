"""Time of samples: their count, tied to the clock again and again.

The system gives samples late, by a time that varies, but never early. So ``arrival - count / rate``, the time of the
first sample as each arrival shows it, is the true time plus a delay, and its smallest value has the smallest delay::

    origin = min over the last arrivals of (arrival - count / rate)
    time of sample n = origin + n / rate

A crystal that is slow by 50 millionths moves the origin by 50 microseconds each second: this slope is the drift.

All times here are of a clock that never jumps. The wall clock is read only for the label of a block: after a jump of
the wall clock the labels jump, and the sound still has no gap.
"""

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 5.0
WINDOWS_FOR_DRIFT, MIN_WINDOWS_FOR_DRIFT = 120, 12  # ten minutes, one minute
WRONG_RATE_SHARE, WRONG_RATE_WINDOWS = 0.03, 3


def steady_time() -> float:
    """Return the time of a clock that never jumps and that goes on while the computer sleeps, in seconds."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def wall_offset() -> float:
    """Return the difference of the wall clock from :func:`steady_time` at this moment, in seconds."""
    return time.time() - steady_time()


class StreamClock:
    """Clock of the samples of one connection.

    Args:
        sample_rate_hz: nominal sample rate.
        window_s: time over which the smallest delay is searched, in seconds.
        offset: difference of the wall clock from the steady clock.

    Attributes:
        frames: number of samples of each channel until now.

    Example:
        >>> clock = StreamClock(100, offset=lambda: 1000.0)
        >>> clock.add(100, arrived=1.0), clock.add(100, arrived=2.3)
        (0, 100)
        >>> round(clock.lateness_s, 3), clock.label(100)
        (0.3, 1001.0)
    """

    def __init__(
        self, sample_rate_hz: int, window_s: float = WINDOW_S, offset: Callable[[], float] = wall_offset
    ) -> None:
        self.frames = 0
        self._rate, self._window_s, self._offset = sample_rate_hz, window_s, offset
        self._origin: float | None = None
        self._window_began = self._last = 0.0
        self._lowest = self._lowest_since_gap = float("inf")
        self._windows: deque[tuple[float, float]] = deque(maxlen=WINDOWS_FOR_DRIFT)
        self._previous: tuple[float, float] | None = None
        self._slopes: deque[float] = deque(maxlen=WRONG_RATE_WINDOWS)

    def add(self, frames: int, arrived: float) -> int:
        """Note the arrival of samples.

        Args:
            frames: number of samples of each channel.
            arrived: steady time.

        Returns:
            Number of samples before them.
        """
        before = self.frames
        self.frames += frames
        self._last = arrived - self.frames / self._rate
        if self._origin is None:
            self._origin, self._window_began = self._last, arrived
        self._origin = min(self._origin, self._last)
        self._lowest = min(self._lowest, self._last)
        self._lowest_since_gap = min(self._lowest_since_gap, self._last)
        if arrived - self._window_began >= self._window_s:
            self._end_window(arrived)
        return before

    def time_of(self, frame: int) -> float:
        """Return the steady time of a sample."""
        return (self._origin or 0.0) + frame / self._rate

    def label(self, frame: int) -> float:
        """Return the wall time of a sample, in seconds since 1970, by the wall clock as it is now."""
        return self.time_of(frame) + self._offset()

    @property
    def lateness_s(self) -> float:
        """How much later the last sample came than its count shows, in seconds: a delay, or missing samples."""
        return 0.0 if self._origin is None else self._last - self._origin

    def accept(self, late_s: float) -> None:
        """Move the time of the samples by a lateness: this much sound is missing."""
        if self._origin is not None:
            self._origin += late_s
        self._lowest_since_gap = self._last
        self._windows.clear()

    @property
    def drift_ppm(self) -> float | None:
        """Drift of the source's clock from this computer's, in millionths; None during the first minute.

        The slope of a least-squares line through the smallest delay of each window. Positive: the source is fast.
        """
        if len(self._windows) < MIN_WINDOWS_FOR_DRIFT:
            return None
        times, values = zip(*self._windows, strict=True)
        mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
        product: float = sum((t - mean_time) * (v - mean_value) for t, v in self._windows)
        spread: float = sum((t - mean_time) * (t - mean_time) for t in times)
        return -1e6 * product / spread

    @property
    def measured_rate_hz(self) -> float | None:
        """Rate at which samples arrive, if it is clearly not the nominal one in three windows; else None."""
        if len(self._slopes) < WRONG_RATE_WINDOWS:
            return None
        lowest, highest = min(self._slopes), max(self._slopes)
        if lowest > WRONG_RATE_SHARE or highest < -WRONG_RATE_SHARE:
            return self._rate * (1 - sum(self._slopes) / len(self._slopes))
        return None

    def _end_window(self, now: float) -> None:
        """Tie the count to the clock: the smallest delay of a window becomes the time of the samples."""
        if self._previous is not None:
            before, value = self._previous
            self._slopes.append((self._lowest - value) / (now - before))
        self._previous = (now, self._lowest)
        self._origin = self._lowest_since_gap
        self._windows.append((now, self._lowest_since_gap))
        self._window_began = now
        self._lowest = self._lowest_since_gap = float("inf")
