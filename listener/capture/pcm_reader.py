"""Reader of one source of samples that never gives up.

One thread captures: it opens the input, watches its samples, closes it and opens it again. The reader's thread gives
what was captured to the receiver. A receiver that is slow costs the oldest sound, and never holds up the capture.
"""

import logging
import threading
from collections.abc import Callable

from listener.capture.backoff import Backoff
from listener.capture.connection import Connection, Limits, Report
from listener.capture.input import Input, InputLost
from listener.capture.pcm import PcmDecoder, PcmFormat
from listener.capture.sound_buffer import Gap, SoundBuffer, StateChange, deliver
from listener.sound import SoundBlock, SoundReceiver, SourceState
from ml.errors import SignalMLError

logger = logging.getLogger("signalml.capture")

GET_S = 0.5
COLLECT_S = 0.08  # between two reads: about ten blocks a second
STOP_S = 1.8
SILENCE_S, LONGEST_SILENCE_S = 60.0, 600.0
STEADY_S = 10.0  # of sound, after which a failure is a new one
LONGEST_WAIT_S, HANGING_WAIT_S = 0.2, 5.0
HANGING = "the program does not end after SIGKILL: a driver of the system hangs"


class PcmReader:
    """Reader of a device, a stream or a pipe. Use it once.

    Args:
        name: name of the source, for logs.
        open_input: opens the input; called again after each failure.
        format: format of the samples; None if the input begins with a header.
        channel: the one channel to keep; None for all.
        limits: bounds.

    Attributes:
        starts: number of times that the input was opened.
        sample_rate_hz: sample rate of the sound; None before any.
    """

    def __init__(
        self,
        name: str,
        open_input: Callable[[], Input],
        format: PcmFormat | None,
        channel: int | None,
        limits: Limits,
    ) -> None:
        self.starts = 0
        self.sample_rate_hz: int | None = None
        self._name, self._open = name, open_input
        self._format, self._channel, self._limits = format, channel, limits
        self._buffer = SoundBuffer()
        self._stopped = threading.Event()
        self._backoff = Backoff()
        self._state: tuple[SourceState, str] = ("starting", "")
        self._silence_s = SILENCE_S
        self._connection: Connection | None = None
        self._ended: float | None = None  # steady time after the last sound
        self._gap_cause: str | None = None  # of the gap that the next block ends

    def run(self, receiver: SoundReceiver) -> None:
        """Read until :meth:`stop` is called."""
        receiver.report_state("starting", "")
        capture = threading.Thread(target=self._capture, name=f"capture-{self._name}", daemon=True)
        capture.start()
        try:
            while not self._stopped.is_set():
                item = self._buffer.get(GET_S)
                if item is not None:
                    deliver(item, receiver)
        finally:
            self.stop()
            capture.join(STOP_S)

    def stop(self) -> None:
        """Make :meth:`run` return within two seconds. Safe from any thread."""
        self._stopped.set()
        self._buffer.close()

    @property
    def dropped_seconds(self) -> float:
        """Sound that was dropped because the receiver was too slow, in seconds."""
        return self._buffer.dropped_seconds

    @property
    def drift_ppm(self) -> float | None:
        """Drift of the source's clock from this computer's, in millionths; None if it is not known."""
        timeline = None if self._connection is None else self._connection.timeline
        return None if timeline is None else timeline.clock.drift_ppm

    def _capture(self) -> None:
        """Open the input again and again, until the end."""
        while not self._stopped.is_set():
            try:
                self._follow_input()
            except InputLost as lost:
                self._set_state(lost.state, lost.cause)
            except (SignalMLError, OSError) as error:
                self._set_state("failed", str(error))
            except Exception as error:  # a bug must not end the reading
                logger.exception("source %s: unexpected error", self._name)
                self._set_state("failed", f"unexpected error: {error!r}")
            self._stopped.wait(self._backoff.next_s())

    def _follow_input(self) -> None:
        """Open the input once, and read it until it is lost."""
        source = self._open()
        self.starts += 1
        self._gap_cause = None if self._ended is None else self._state[1] or "the source was opened again"
        decoder = PcmDecoder(self._format, self._channel)
        connection = Connection(source, decoder, self._limits, Report(self._put, self._set_state), self._silence_s)
        self._connection = connection
        try:
            while not self._stopped.is_set():
                if (ahead_s := connection.ahead_s()) > 0:
                    self._stopped.wait(min(ahead_s, LONGEST_WAIT_S))
                elif not connection.step():
                    self._stopped.wait(COLLECT_S)
        except InputLost as lost:
            if lost.state == "silent":
                self._silence_s = min(2 * self._silence_s, LONGEST_SILENCE_S)
            raise
        finally:
            self._close(source, connection)

    def _close(self, source: Input, connection: Connection) -> None:
        while not source.close() and not self._stopped.is_set():  # never two programs of one source
            self._set_state("failed", HANGING)
            self._stopped.wait(HANGING_WAIT_S)
        connection.end()
        if connection.timeline is not None and connection.sound_s:
            self._ended = connection.timeline.ended
        if connection.sound_s > STEADY_S:
            self._backoff.reset()

    def _put(self, item: SoundBlock | Gap) -> None:
        """Give sound to the buffer, after the gap since the connection before."""
        if isinstance(item, SoundBlock):
            self.sample_rate_hz = item.sample_rate_hz
            self._silence_s = SILENCE_S
            if self._gap_cause is not None:
                self._buffer.put(Gap(self._time_lost(), self._gap_cause))
                self._gap_cause = None
        self._buffer.put(item)

    def _time_lost(self) -> float:
        """Return the time between the last sound and the first of this connection, in seconds."""
        timeline = None if self._connection is None else self._connection.timeline
        if timeline is None or self._ended is None:
            return 0.0
        return max(0.0, timeline.clock.time_of(0) - self._ended)

    def _set_state(self, state: SourceState, cause: str) -> None:
        before, cause_before = self._state
        if state == before and (state in ("silent", "wrong_rate", "listening") or cause == cause_before):
            return
        self._state = (state, cause)
        self._buffer.put(StateChange(state, cause))
