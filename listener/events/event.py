"""Event of a machine: from the alarm that begins it to its end."""

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

EventState = Literal["active", "ended", "interrupted"]
Change = Literal["began", "updated", "worsened", "ended", "interrupted", "clip", "reviewed"]
"""Change of an event. ``worsened``: its highest score rose clearly; ``updated``: any other progress; ``clip``: its clip
was written or deleted; ``reviewed``: a person gave a verdict or a note."""
ReviewVerdict = Literal["healthy", "faulty", "not_the_machine"]
"""Verdict of a person. ``not_the_machine``: another sound, such as a forklift."""
MissingClip = Literal["pending", "disk_full", "no_sound", "deleted", "off"]
"""Why an event has no clip: it is not written yet, the disk was full, there was no sound, it was deleted to make room,
or clips are switched off."""


@dataclass(frozen=True, slots=True)
class Review:
    """Review of an event by a person.

    Attributes:
        verdict: verdict; None without one.
        label: name of the fault; None without one.
        note: text.
        by: name of the person or the API key.
        at: time, ISO 8601, UTC.
    """

    verdict: ReviewVerdict | None
    label: str | None
    note: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class EventClip:
    """Sound of an event, in ``<home>/listener/clips``.

    Attributes:
        file: name of the FLAC file.
        spectrogram: name of the PNG file; None without one.
        began: time of its first sample, ISO 8601, UTC.
        duration_s: length in seconds.
        size_bytes: size of both files.
    """

    file: str
    spectrogram: str | None
    began: str
    duration_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a machine.

    Attributes:
        id: unique; never changes, also in another service.
        machine_id: the machine.
        source: name of the source whose clip began it.
        origin: name of the device that reported it; empty for an event of this one.
        state: ``active``, ``ended`` or ``interrupted``: the listener or the source ended before the alarm cleared.
        began, ended: time of the first anomalous clip of the alarm, and of the end; ISO 8601, UTC. ``ended`` is None
            while it is active.
        updated: end of the last judged clip while it is active, later the time of the last review; ISO 8601, UTC.
        clips, anomalous: number of judged clips, and of anomalous ones, since its beginning.
        score: highest score, 0 to 1.
        threshold: threshold at the highest score.
        label: label at the highest score.
        reasons: frequency bands that deviate most at the highest score, as dictionaries.
        version, labels_revision, threshold_revision: model at the highest score.
        quality: quality of the clip with the highest score, as a dictionary.
        continues: id of the event that this one continues, because that one had the longest length, or was interrupted
            and the alarm has lasted since; None otherwise.
        cause: why it was interrupted or ended without a clear; empty otherwise.
        clip: its sound; None without.
        missing_clip: why there is no clip; None with one.
        review: review of a person; None without.
        recording: collection and id of the recording that was made of its clip, ``collection/id``; None without.
    """

    id: str
    machine_id: str
    source: str
    began: str
    updated: str
    score: float
    threshold: float
    label: str
    version: str
    origin: str = ""
    state: EventState = "active"
    ended: str | None = None
    clips: int = 0
    anomalous: int = 0
    reasons: tuple[dict[str, Any], ...] = ()
    labels_revision: int = 0
    threshold_revision: int = 0
    quality: dict[str, Any] | None = None
    continues: str | None = None
    cause: str = ""
    clip: EventClip | None = None
    missing_clip: MissingClip | None = "pending"
    review: Review | None = None
    recording: str | None = None

    def changed(self, **values: Any) -> "Event":
        """Return the event with other values."""
        return replace(self, **values)


def new_event_id() -> str:
    """Return a new id: 12 hexadecimal digits of the time in milliseconds, then 16 random ones. Ids sort by time."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(8)}"
