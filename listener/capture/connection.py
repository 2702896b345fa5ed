"""Watching of the samples of one connection: what counts is sound that arrives, not whether a program still runs."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from listener.capture.input import Input, InputLost
from listener.capture.pcm import PcmDecoder
from listener.capture.sound_buffer import Gap
from listener.capture.stream_clock import steady_time
from listener.capture.timeline import NORMAL, Timeline, Tolerance, is_usable, silence_cause
from listener.sound import SoundBlock, SourceState

READ_S = 0.2
MAX_AHEAD_S, PACE = 30.0, 1.1
NOT_USABLE = "samples that are no finite numbers, or larger than 2**31, were left out: check the format of a sample"
# Share of a limit after which a program that ends has met its own limit, and not another problem.
OWN_LIMIT_SHARE = 0.9


class Limits(NamedTuple):
    """Bounds of one kind of source, in seconds.

    Attributes:
        start_s: time to the first sample.
        stall_s: time without samples.
        restarts: whether a connection without usable sound is closed and opened again.
        paced: whether sound that comes faster than real time, such as from a file, waits in the program.
        tolerance: what is normal.
    """

    start_s: float
    stall_s: float
    restarts: bool = True
    paced: bool = True
    tolerance: Tolerance = NORMAL


class Report(NamedTuple):
    """What a connection reports.

    Attributes:
        sound: takes a block or a gap.
        state: takes a state and its cause.
    """

    sound: Callable[[SoundBlock | Gap], None]
    state: Callable[[SourceState, str], None]


class Connection:
    """One connection to a source: reads, places and watches its samples.

    Args:
        source: the opened input.
        decoder: decoder of its bytes.
        limits: bounds.
        report: what takes sound and states.
        silence_s: length of a silence after which the connection is opened again, in seconds.

    Attributes:
        timeline: times of the samples; None before the first one.
        sound_s: not silent sound that was reported, in seconds.
    """

    def __init__(self, source: Input, decoder: PcmDecoder, limits: Limits, report: Report, silence_s: float) -> None:
        self.timeline: Timeline | None = None
        self.sound_s = 0.0
        self._source, self._decoder, self._limits = source, decoder, limits
        self._report, self._silence_s = report, silence_s
        self._began = self._last = self._last_sound = steady_time()
        self._ahead_s = 0.0

    def step(self) -> bool:
        """Read once, for at most 0.2 s.

        Returns:
            Whether more bytes wait.

        Raises:
            InputLost: no usable sound comes any more.
            MalformedAudio: the sound cannot be used at all.
        """
        waited_s = steady_time() - self._last
        try:
            data = self._source.read(READ_S)
        except InputLost as lost:
            raise self._explain(lost, waited_s) from None
        now = steady_time()
        if data is None:
            self._decoder.align()
        elif data:
            samples = self._decoder.decode(data)
            if len(samples) and self._decoder.format is not None:
                self._take(samples, self._decoder.format.sample_rate_hz, now)
        self._check(now)
        return data is not None and len(data) >= 2**16

    def end(self) -> None:
        """Report what is still kept back."""
        if self.timeline is not None:
            self._pass_on(self.timeline.flush())

    def ahead_s(self) -> float:
        """Return by how much the input is too far before real time, in seconds; 0 if it may be read on.

        Some sound comes at once at the start of many streams. A clock that is slightly fast must not add up over days:
        so the limit is a little more than real time.
        """
        if not self._limits.paced:
            return 0.0
        return max(0.0, self._ahead_s - PACE * (steady_time() - self._last) - MAX_AHEAD_S)

    def _take(self, samples: NDArray[np.float32], rate_hz: int, now: float) -> None:
        duration_s = len(samples) / rate_hz
        self._ahead_s = max(0.0, self._ahead_s + duration_s - PACE * (now - self._last))
        self._last = now
        if self.timeline is None:
            self.timeline = Timeline(rate_hz, self._limits.tolerance)
        if not is_usable(samples):
            self.timeline.clock.add(len(samples), now)
            self._report.sound(Gap(duration_s, NOT_USABLE))
            self._report.state("failed", NOT_USABLE)
            return
        items = self.timeline.add(samples, now)
        self._report_state(self.timeline, bool(items))
        self._pass_on(items)
        if self.timeline.silent_value is None:
            self._last_sound = now

    def _pass_on(self, items: list[Gap | SoundBlock]) -> None:
        for item in items:
            self._report.sound(item)
            if isinstance(item, SoundBlock):
                self.sound_s += len(item.samples) / item.sample_rate_hz

    def _report_state(self, timeline: Timeline, has_sound: bool) -> None:
        measured = timeline.clock.measured_rate_hz
        if timeline.silent_value is not None:
            self._report.state("silent", silence_cause(timeline.silent_value))
        elif measured is not None:
            expected = timeline.sample_rate_hz
            cause = f"about {round(measured, -2):.0f} samples arrive each second; {expected} were expected"
            self._report.state("wrong_rate", cause)
        elif has_sound:
            self._report.state("listening", "")

    def _check(self, now: float) -> None:
        """Check that sound still arrives."""
        if self.timeline is None:
            if now - self._began > self._limits.start_s:
                self._lose("no_data", f"no sound in the first {self._limits.start_s:g} s")
        elif now - self._last > self._limits.stall_s:
            self._lose("stalled", f"no sound for {self._limits.stall_s:g} s")
        elif self._limits.restarts and now - self._last_sound > self._silence_s:
            raise InputLost("silent", silence_cause(self.timeline.silent_value or 0.0))

    def _lose(self, state: SourceState, cause: str) -> None:
        messages = self._source.messages()
        whole = f"{cause}: {messages}" if messages else cause
        if self._limits.restarts:
            raise InputLost(state, whole)
        self._report.state(state, whole)

    def _explain(self, lost: InputLost, waited_s: float) -> InputLost:
        """Return why the input ended: programs with a limit of their own also end when nothing arrives."""
        if lost.state != "failed" or waited_s < OWN_LIMIT_SHARE * self._limits.stall_s:
            return lost
        state: SourceState = "no_data" if self.timeline is None else "stalled"
        return InputLost(state, f"no sound for {waited_s:.0f} s; {lost.cause}")
