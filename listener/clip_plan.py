"""Plan of the clip of one event: which sound it has, and when a version of it is written."""

from dataclasses import dataclass, replace

from listener.clip_files import read_recording
from listener.event_time import to_seconds
from listener.events import Event, EventClip, MissingClip
from listener.judged_clip import JudgedClip
from listener.options import ListenerOptions
from listener.sound import SoundBlock
from ml.errors import AudioError

SAME_S = 0.1  # two versions begin at the same time if they differ by less
LEAST_BEFORE_S = 2.0  # chosen here: sound before the event that a longer version must have


@dataclass(slots=True)
class ClipPlan:
    """Clip of one event.

    Attributes:
        event: the event at its beginning.
        clip: the last judged clip; for a source of recordings, the most anomalous one.
        start, stop: the longest sound that is wanted, in seconds since 1970.
        is_due: whether a version is to be written.
        is_final: whether its sound is complete.
        is_closed: whether the event has ended.
        written: the version that is written; None without one.
        missing: why there is none.
    """

    event: Event
    clip: JudgedClip
    start: float
    stop: float
    is_due: bool = True
    is_final: bool = False
    is_closed: bool = False
    written: EventClip | None = None
    missing: MissingClip = "pending"

    def add(self, clip: JudgedClip) -> None:
        """Take a further clip of the event."""
        if self.is_final:
            return
        if clip.recording is not None:
            if _rank(clip) > _rank(self.clip):
                self.clip, self.is_due = clip, True
            return
        self.clip = clip
        self.is_final = clip.ended >= self.stop
        self.is_due |= self.is_final

    def close(self, ended: float) -> None:
        """Take the end of the event, in seconds since 1970."""
        if not self.is_final and self.clip.recording is None:
            self.stop, self.is_due = min(self.stop, ended), True
        self.is_final = self.is_closed = True

    def sound(self, clip: JudgedClip, options: ListenerOptions) -> SoundBlock | None:
        """Return the sound of the clip after a judged clip; None without any."""
        if clip.recording is None:
            return clip.sound(self.start, self.stop if self.is_final else min(clip.ended, self.stop))
        try:
            return _crop(read_recording(clip.recording, clip.began), clip, options)
        except AudioError:
            return None

    def forget(self, clip: JudgedClip) -> None:
        """Forget the content of a recording that is written."""
        if self.clip is clip and clip.recording is not None:
            self.clip = replace(clip, recording=b"")

    def is_better(self, sound: SoundBlock) -> bool:
        """Return whether a sound is better than the version that is written.

        After a gap, or if the ring buffer has lost too much, the earlier version has more of what came before.
        """
        if self.written is None or self.clip.recording is not None:
            return True
        latest = max(to_seconds(self.written.began) + SAME_S, to_seconds(self.event.began) - LEAST_BEFORE_S)
        return sound.at <= latest and len(sound.samples) > self.written.duration_s * sound.sample_rate_hz


def _rank(clip: JudgedClip) -> tuple[bool, float]:
    return clip.is_anomalous, clip.verdict.worst.score


def _crop(block: SoundBlock, clip: JudgedClip, options: ListenerOptions) -> SoundBlock:
    """Return the part of a long recording around its most anomalous clip."""
    most = round(options.longest_clip_s * block.sample_rate_hz)
    if len(block.samples) <= most:
        return block
    wanted = round((clip.verdict.worst.start_s - options.before_s) * block.sample_rate_hz)
    first = min(max(wanted, 0), len(block.samples) - most)
    at = block.at + first / block.sample_rate_hz
    return SoundBlock(block.samples[first : first + most], block.sample_rate_hz, at)
