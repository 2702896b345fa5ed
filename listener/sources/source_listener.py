"""Listener of one source: keeps its sound, cuts it into clips, and gives them to the judge."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from listener.config.source_types import SourceEntry
from listener.judging.judge import FolderRecording, Judge, SourceClip
from listener.judging.models import Models
from listener.options import ListenerOptions
from listener.sound import SoundBlock, SourceState
from listener.sources.level import LevelMeter, level_dbfs
from listener.sources.ring import Ring, split
from listener.sources.schedule import RunningSchedule
from listener.sources.source_state import StateKeeper
from listener.status import SourceStatus
from ml.errors import AudioError
from ml.machines.recording_time import RecordingTime
from ml.models.verdict import Verdict

logger = logging.getLogger("signalml.listener")
JUDGED: tuple[SourceState, ...] = ("listening", "starting", "wrong_rate")  # states in which clips are judged
MODEL_WAIT_S = 0.2


class SourceListener:
    """Receiver of the sound of one source; see :class:`listener.sound.SoundReceiver`.

    Args:
        entry: the source.
        options: options of the listener.
        judge: judges its clips.
        models: models of all sources.
        schedule: when it is judged.
        lost: called with the name of the source and a cause when nothing of it can be judged.
    """

    def __init__(
        self,
        entry: SourceEntry,
        options: ListenerOptions,
        judge: Judge,
        models: Models,
        schedule: RunningSchedule,
        lost: Callable[[str, str], None],
    ) -> None:
        self.entry = entry
        self.state = StateKeeper(entry)
        self.ring = Ring(options.before_s + options.longest_clip_s + entry.clip_s, entry.clip_s)
        self._judge, self._models, self._schedule, self._lost = judge, models, schedule, lost
        self._meter = LevelMeter()
        self._format: tuple[int, int] | None = None
        self._next_clip = 0
        self._problem = ""
        self._refused: tuple[str, str] | None = None
        self._is_stopped = False

    # SoundReceiver

    def receive(self, block: SoundBlock) -> None:
        """Take the next samples."""
        if len(block.samples) == 0:
            return
        self._follow(block)
        for part in split(block):
            self._meter.read(part.samples, part.sample_rate_hz)
            self.ring.append(part)
            self._cut(part.sample_rate_hz, part.ends_at)
        self.state.note_sound(block.ends_at, self._meter.level_dbfs, block.sample_rate_hz)

    def report_gap(self, seconds: float, cause: str) -> None:
        """Begin a new segment: no clip crosses the gap."""
        logger.info("source %s: a gap of %.3f s (%s)", self.entry.name, seconds, cause)
        self.state.note_gap(seconds)
        self._begin_segment()

    def report_state(self, state: SourceState, cause: str = "") -> None:
        """Note the state of the source."""
        self.state.report_reader(state, cause)

    def judge_recording(self, path: Path, content: bytes, time: RecordingTime | None) -> Verdict | None:
        """Judge a whole recording, and wait for its verdict."""
        if not self._wait_for_model():
            return None
        try:
            return self._judge.judge_recording(FolderRecording(self, content, time, self._is_running))
        except AudioError as error:
            logger.warning("source %s: %s cannot be judged: %s", self.entry.name, path.name, error)
            self.state.count_refused()
            raise

    def refuse_recording(self, name: str, cause: str) -> None:
        """Count what the reader cannot use, and log it, unless the one before was refused for the same cause."""
        self.state.count_refused()
        if (name, cause) != self._refused:
            logger.warning("source %s: %s cannot be used: %s", self.entry.name, name, cause)
        self._refused = (name, cause)

    # For the listener

    @property
    def machine_id(self) -> str:
        """Name of the machine in its record, as far as it is known; else that of the entry."""
        return self.state.recorded_machine_id or self.entry.machine_id

    def status(self) -> SourceStatus:
        """Return a copy of its state and counters."""
        return self.state.copy()

    def stop(self) -> None:
        """Let a call of :meth:`judge_recording` return."""
        self._is_stopped = True

    def close(self) -> None:
        """End the schedule, whose broker may take its time."""
        self._schedule.stop()

    def tick(self) -> None:
        """Check its model, and whether its sound is lost; called again and again."""
        self.state.note_model(self._models.get(self.entry.model).problem)
        found = self.state.copy()
        if found.state in JUDGED:
            self._problem = ""
        elif (problem := f"{found.state} ({found.cause})" if found.cause else found.state) != self._problem:
            self._problem = problem
            self._lost(self.entry.name, problem)

    # Clips

    def _follow(self, block: SoundBlock) -> None:
        """Begin a new segment if the format changes. The reader reports gaps; times alone can jump with the clock."""
        found = (block.sample_rate_hz, block.samples.shape[1])
        if self._format is not None and found != self._format:
            self._begin_segment()
        self._format = found

    def _begin_segment(self) -> None:
        self.ring.begin_segment()
        self._meter.restart()
        self._next_clip = self.ring.end

    def _cut(self, sample_rate_hz: int, ends_at: float) -> None:
        """Offer all clips that are whole now."""
        length = round(self.entry.clip_s * sample_rate_hz)
        while self._next_clip + length <= self.ring.end:
            start = self._next_clip
            self._next_clip += max(1, round(self.entry.used_hop_s * sample_rate_hz))
            clip = SourceClip(self, start, start + length)
            if self._is_running(ends_at, self._level(clip), self.entry.clip_s):
                self._judge.offer_clip(clip)

    def _level(self, clip: SourceClip) -> float | None:
        """Return the level of a clip, if the schedule needs it."""
        if self.entry.schedule.min_level_dbfs is None:
            return None
        sound = self.ring.frames(clip.start, clip.stop)
        return None if sound is None else level_dbfs(sound.to_block().samples)

    def _is_running(self, at: float, level: float | None, lasting_s: float) -> bool:
        is_running = self._schedule.is_running(at, level, lasting_s)
        self.state.note_schedule("" if is_running else self._schedule.reason)
        return is_running

    def _wait_for_model(self) -> bool:
        """Wait until there is a model; False if the source is stopped before."""
        live = self._models.get(self.entry.model)
        while live.current is None and not self._is_stopped:
            time.sleep(MODEL_WAIT_S)
        return not self._is_stopped
