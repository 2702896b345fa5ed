"""Judging: clips and recordings of all sources become verdicts, records of machines and events.

A clip of a source has exactly the verdict of a WAV file of the same samples: both are mixed and measured by
:mod:`ml.audio.mixing`, and judged by the same :class:`~ml.models.predictor.Predictor`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

from listener.config.source_types import SourceEntry
from listener.judging.fair_queue import FairQueue, Work
from listener.judging.judged_clip import JudgedClip
from listener.judging.machine_record import MachineRecord
from listener.judging.models import Models
from listener.options import ListenerOptions
from listener.sources.ring import Ring
from listener.sources.source_state import StateKeeper, iso_time
from ml.audio.mixing import mix_samples
from ml.errors import AudioError
from ml.machines.observation import MachineNames, Observation
from ml.machines.recording_time import RecordingTime
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict
from ml.system.idempotency import digest_of

logger = logging.getLogger("signalml.listener")
NICENESS = 5  # an upload to the API is judged before the clips of sources
STOP_WITHIN_S = 5.0


class ClipSource(Protocol):
    """Source of a clip, as the judge sees it."""

    entry: SourceEntry
    state: StateKeeper
    ring: Ring


class SourceClip(NamedTuple):
    """Clip of a source.

    Attributes:
        source: the source.
        start: number of its first frame in the ring buffer.
        stop: number of the frame after its last one.
    """

    source: ClipSource
    start: int
    stop: int


class FolderRecording(NamedTuple):
    """Whole recording of a source.

    Attributes:
        source: the source.
        content: the file.
        time: time of the recording; None if it is not known.
        is_running: whether the machine runs at a time, with a level, and for how many seconds it must have been
            running. A recording of a machine that does not run gets its verdict, but does not count.
    """

    source: ClipSource
    content: bytes
    time: RecordingTime | None
    is_running: Callable[[float, float | None, float], bool]


class Judge:
    """Threads that judge. Call :meth:`start` once, and :meth:`stop` at the end.

    Args:
        options: options of the listener.
        models: models of all sources.
        record: record of machines.
        judged: gets each clip that counts, in order for each machine.
    """

    def __init__(
        self,
        options: ListenerOptions,
        models: Models,
        record: MachineRecord,
        judged: Callable[[JudgedClip], None],
    ) -> None:
        self._options, self._models, self._record, self._judged = options, models, record, judged
        self._queue = FairQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"judge-{number}", daemon=True)
            for number in range(options.judge_threads)
        ]

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is being judged."""
        return self._queue.is_idle

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Drop what waits, and wait for what is being judged."""
        self._queue.close()
        for thread in self._threads:
            thread.join(STOP_WITHIN_S)

    def remove(self, source: str) -> None:
        """Drop what waits of a source."""
        self._queue.remove(source)

    def offer_clip(self, clip: SourceClip) -> None:
        """Let a clip wait for a thread, in place of the one of its source that waits. Returns at once."""
        entry = clip.source.entry
        run = partial(self._judge_clip, clip)
        self._queue.put_clip(Work(entry.name, entry.machine_id, run, clip.source.state.count_skipped))

    def judge_recording(self, recording: FolderRecording) -> Verdict | None:
        """Judge a recording and wait for its verdict.

        Returns:
            The verdict; None if the judge or the source stops before it.

        Raises:
            AudioError: the recording cannot be read.
        """
        verdict: Future[Verdict] = Future()
        entry = recording.source.entry
        run = partial(self._judge_recording, recording, verdict)
        self._queue.put_recording(Work(entry.name, entry.machine_id, run, partial(_cancel, verdict)))
        try:
            return verdict.result()
        except CancelledError:
            return None

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # a sandbox can forbid it; on Linux it is of this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (work := self._queue.take()) is not None:
            try:
                work.run()
            except Exception:  # a bug loses this clip, but must not end the thread
                logger.exception("unexpected error while a clip of %s was judged", work.source)
            finally:
                self._queue.done(work)

    def _judge_clip(self, clip: SourceClip) -> None:
        source, start, stop = clip
        predictor = self._models.get(source.entry.model).current
        if predictor is None:
            return
        sound = source.ring.frames(start, stop)
        if sound is None:  # it waited for longer than the ring buffer keeps
            source.state.count_skipped()
            return
        try:
            channel = predictor.extractor.spec.used_channels
            recording = mix_samples(sound.samples, sound.sample_rate_hz, channel=channel)
            # Deviations take a twentieth of the time of a verdict, so that they are always computed.
            verdict = predictor.predict(recording, source.entry.machine_id, explain=True)
        except Exception as error:  # noted for the source; a bug is raised again
            source.state.note_judging_failed(str(error) or type(error).__name__)
            if not isinstance(error, AudioError):
                raise
            return
        # The clock of this computer can be set back, so that the order of arrival counts, not the time.
        judged_at = RecordingTime(iso_time(sound.at), "arrival")
        self._conclude(source, predictor, verdict, judged_at, sound.at, sound.ends_at)

    def _judge_recording(self, recording: FolderRecording, answer: "Future[Verdict]") -> None:
        source, content, at, is_running = recording
        try:
            predictor = self._models.get(source.entry.model).current
            if predictor is None:  # released meanwhile, because its source is being replaced
                answer.cancel()
                return
            verdict = predictor.predict(predictor.decode(content), source.entry.machine_id, explain=True)
            duration_s = verdict.quality.duration_s
            began = time.time() - duration_s if at is None or at.source == "arrival" else _seconds(at.at)
            if is_running(began + duration_s, verdict.quality.level_dbfs, duration_s):
                self._conclude(source, predictor, verdict, at, began, began + duration_s, content)
        except BaseException as error:  # the reader waits for the answer, whatever happens
            answer.set_exception(error)
            if not isinstance(error, AudioError):
                raise
        else:
            answer.set_result(verdict)

    def _conclude(
        self,
        source: ClipSource,
        predictor: Predictor,
        verdict: Verdict,
        at: RecordingTime | None,
        began: float,
        ended: float,
        content: bytes | None = None,
    ) -> None:
        """Record a verdict, and give the clip to the events if it counts."""
        names = MachineNames.resolve(source.entry.machine_id, predictor.resolve_machine)
        digest = None if content is None else digest_of(content)
        machine_state = self._record.add(Observation.of(names, verdict, at, digest))
        source.state.recorded_machine_id = names.machine_id
        source.state.note_verdict(verdict, machine_state)
        if machine_state is None:
            return
        self._judged(
            JudgedClip(
                source=source.entry,
                machine_id=names.machine_id,
                began=began,
                ended=ended,
                verdict=verdict,
                machine_state=machine_state,
                predictor=predictor,
                rule=self._options.alarm_rule,
                sound=source.ring.between,
                recording=content,
            )
        )


def _cancel(answer: "Future[Verdict]") -> None:
    answer.cancel()


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
