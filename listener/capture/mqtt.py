"""Sound that small devices send in chunks to an MQTT broker.

A message states no time, so that the time of its arrival counts, smoothed by the count of samples. Sound that comes
late and then catches up was only delayed; otherwise there is a gap.
"""

import logging
import threading
import time
from collections import deque
from statistics import median

from listener.capture.mqtt_chunks import Arrival, Arrivals, Chunk, ChunkDecoder, reason_of
from listener.capture.sound_buffer import Gap, deliver
from listener.capture.stream_clock import steady_time
from listener.capture.timeline import Timeline, Tolerance, silence_cause
from listener.config.source_types import MqttSource
from listener.mqtt_client import MqttConnection, MqttMessage, make_client_id
from listener.sound import SoundReceiver, SourceState
from ml.errors import AudioError

logger = logging.getLogger("signalml.listener")
TICK_S = 0.2
START_S = 5.0  # after it, a topic without chunks is named
PAUSE_S = 5.0  # after a longer one, the next chunk begins anew
LONGEST_RHYTHM_S = 600.0
PAUSES_KEPT, PAUSE_FACTOR = 20, 3.0
TOLERANCE = Tolerance(late_s=0.25, window_s=15.0)
AWAY = "the connection to the broker failed: {}"
TOO_SLOW = "this computer was too slow: chunks were dropped"


class MqttReader:
    """Reader of one topic; see :class:`listener.sound.SourceReader`. Use it once.

    Args:
        source: the source.

    Attributes:
        starts: number of connections to the broker.
        dropped_seconds: sound that was dropped because this computer was too slow, in seconds.
    """

    def __init__(self, source: MqttSource) -> None:
        self.starts = 0
        self.dropped_seconds = 0.0
        self._source = source
        self._decoder = ChunkDecoder(source)
        self._arrivals = Arrivals()
        self._stopping = threading.Event()
        self._away = "it is not connected yet"  # why there is no connection; empty with one
        self._last_loss = ""
        self._state: tuple[SourceState, str] | None = None
        self._dropped = False
        self._start_of_timeline = 0
        self._timeline: Timeline | None = None
        self._ended: float | None = None  # steady time after the last sound of the timeline before
        self._last_chunk: float | None = None  # steady time of the last chunk that was sound
        self._last_duration_s = 0.0
        self._refusal, self._refused_at = "", float("-inf")  # of the last chunk that was no sound
        self._pauses: deque[float] = deque(maxlen=PAUSES_KEPT)

    @property
    def sample_rate_hz(self) -> int | None:
        """Sample rate of the sound; None before any."""
        return None if self._timeline is None else self._timeline.sample_rate_hz

    @property
    def drift_ppm(self) -> float | None:
        """Drift of the device's clock from this computer's, in millionths; None if it is not known."""
        return None if self._timeline is None else self._timeline.clock.drift_ppm

    def run(self, receiver: SoundReceiver) -> None:
        """Read until :meth:`stop` is called.

        Raises:
            MissingExtra: paho-mqtt is not installed.
        """
        self._receiver = receiver
        self._report("starting")
        connection = MqttConnection(
            self._source.url,
            make_client_id(str(time.time_ns()), self._source.name),  # it keeps no session: sound of before is too old
            topics=(self._source.topic,),
            on_message=self._take_message,
            on_connected=self._note_connected,
            on_lost=self._note_lost,
        )
        self._began = steady_time()
        connection.start()
        try:
            while not self._stopping.is_set():
                arrival = self._arrivals.get(TICK_S)
                if arrival is not None:
                    self._take(arrival)
                self._tick(steady_time())
        finally:
            connection.stop()

    def stop(self) -> None:
        """Make :meth:`run` return within two seconds. Safe from any thread."""
        self._stopping.set()

    # In the thread of the connection

    def _take_message(self, message: MqttMessage) -> None:
        now = steady_time()
        size = len(message.payload)
        if message.retained:
            arrival = Arrival(None, now, "The chunk was retained by the broker, so that its time is not known")
        elif size > self._decoder.largest_bytes:
            most = self._decoder.largest_bytes
            arrival = Arrival(None, now, f"The chunk has {size} bytes; at most {most} were expected")
        else:
            arrival = Arrival(message.payload, now)
        if not self._arrivals.put(arrival):
            self._dropped = True

    def _note_connected(self) -> None:
        self.starts += 1
        self._away = ""

    def _note_lost(self, cause: str) -> None:
        self._away = self._last_loss = cause

    # In the reader's thread

    def _take(self, arrival: Arrival) -> None:
        """Take a message: sound, or something else, which is counted."""
        try:
            chunk = None if arrival.payload is None else self._decoder.decode(arrival.payload)
            refusal = arrival.refusal
        except AudioError as error:
            chunk, refusal = None, reason_of(error)
        if chunk is None:
            self._refusal, self._refused_at = refusal, arrival.at
            self._receiver.refuse_recording(self._source.topic, refusal)
            return
        if self._last_chunk is not None:
            self._pauses.append(arrival.at - self._last_chunk)
        timeline = self._timeline
        if timeline is None or self._begins_anew(timeline, chunk, arrival.at):
            timeline = self._begin(chunk, arrival.at)
        self._last_chunk, self._last_duration_s = arrival.at, chunk.duration_s
        for item in timeline.add(chunk.samples, arrival.at):
            deliver(item, self._receiver)

    def _begins_anew(self, timeline: Timeline, chunk: Chunk, at: float) -> bool:
        if self._dropped or self._start_of_timeline != self.starts or timeline.sample_rate_hz != chunk.sample_rate_hz:
            return True
        return self._last_chunk is not None and at - self._last_chunk > self._longest_pause(chunk.duration_s)

    def _begin(self, chunk: Chunk, at: float) -> Timeline:
        """Begin a timeline, with the gap since the sound before."""
        self._end()
        self._timeline = timeline = Timeline(chunk.sample_rate_hz, TOLERANCE)
        if self._ended is not None:
            gap_s = max(0.0, at - chunk.duration_s - self._ended)
            cause = self._cause_of_gap()
            self.dropped_seconds += gap_s if self._dropped else 0.0
            deliver(Gap(gap_s, cause), self._receiver)
        self._dropped, self._start_of_timeline = False, self.starts
        return timeline

    def _end(self) -> None:
        """Pass on what the timeline kept back."""
        timeline, self._timeline = self._timeline, None
        if timeline is not None:
            for item in timeline.flush():
                deliver(item, self._receiver)
            self._ended = timeline.ended

    def _cause_of_gap(self) -> str:
        if self._dropped:
            return TOO_SLOW
        if self._start_of_timeline != self.starts:
            return AWAY.format(self._last_loss)
        state, cause = self._state or ("starting", "")
        return cause if state == "stalled" else "no chunk arrived"

    def _longest_pause(self, duration_s: float) -> float:
        """Return the longest time between two chunks that are one sound, in seconds."""
        return max(PAUSE_S, 2 * duration_s + 1)

    def _tick(self, now: float) -> None:
        """Find the state."""
        pause = self._longest_pause(self._last_duration_s)
        if self._timeline is not None and self._last_chunk is not None and now - self._last_chunk > pause:
            self._end()
        if self._away:
            self._report("failed", AWAY.format(self._away))
        elif now - self._refused_at < pause < now - (self._last_chunk or self._began):
            self._report("failed", self._refusal)  # chunks arrive, and none is sound
        elif self._last_chunk is None:
            if now - self._began > START_S:
                self._report("no_data", f"there is no chunk on the topic {self._source.topic!r} yet")
        elif now - self._last_chunk > self._stalls_after(pause):
            self._report("stalled", f"no chunk arrived for {self._stalls_after(pause):.0f} s")
        elif self._timeline is not None:
            self._report(*_state_of(self._timeline))

    def _stalls_after(self, pause: float) -> float:
        """Return the pause after which the device has stalled: some send a chunk once a minute."""
        usual = median(self._pauses) if self._pauses else 0.0
        return max(pause, min(PAUSE_FACTOR * usual, LONGEST_RHYTHM_S))

    def _report(self, state: SourceState, cause: str = "") -> None:
        """Report a state if it is new."""
        if self._state == (state, cause) or (state == "wrong_rate" and self._state and self._state[0] == state):
            return
        self._state = (state, cause)
        self._receiver.report_state(state, cause)


def _state_of(timeline: Timeline) -> tuple[SourceState, str]:
    measured = timeline.clock.measured_rate_hz
    if timeline.silent_value is not None:
        return "silent", silence_cause(timeline.silent_value)
    if measured is not None:
        expected = timeline.sample_rate_hz
        return "wrong_rate", f"about {round(measured, -2):.0f} samples arrive each second; {expected} were expected"
    return "listening", ""
