"""State of the listener and its sources and sinks, as the API, the terminal and the metrics show it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from listener.sound import SourceState


@dataclass(slots=True)
class SourceStatus:
    """State and counters of a source since the start of the listener.

    Attributes:
        name: name of the source.
        kind: its kind, such as ``stream``.
        machine_id: machine that it records.
        state: see :data:`listener.sound.SourceState`.
        cause: why it is in this state, as the tool reported it; empty without a cause.
        since: time of the last change of the state, ISO 8601, UTC.
        last_sound_at: time of the last sound, ISO 8601, UTC; None without any.
        level_dbfs: level of the last tenth of a second, in dBFS; None without sound.
        sample_rate_hz: sample rate of the sound; None without any.
        drift_ppm: difference of the source's clock from this computer's, in millionths; None if not known yet.
        gaps: number of gaps.
        gap_seconds: total length of the gaps, in seconds.
        dropped_seconds: sound that was dropped because this computer was too slow, in seconds.
        starts: number of starts of the reader's program.
        clips_judged, clips_skipped: clips that were judged, and that were left out because this computer was too slow.
        recordings_refused: recordings that could not be read.
        score, threshold: of the last verdict; None before the first one.
        verdict: last verdict; None before the first one.
        judged_at: time of the last verdict, ISO 8601, UTC.
        machine_state: state of the machine's alarm; None before the first verdict.
        version: model version of the last verdict.
        event: id of the event of this machine that goes on; None without one.
    """

    name: str
    kind: str
    machine_id: str
    state: SourceState = "starting"
    cause: str = ""
    since: str = ""
    last_sound_at: str | None = None
    level_dbfs: float | None = None
    sample_rate_hz: int | None = None
    drift_ppm: float | None = None
    gaps: int = 0
    gap_seconds: float = 0.0
    dropped_seconds: float = 0.0
    starts: int = 0
    clips_judged: int = 0
    clips_skipped: int = 0
    recordings_refused: int = 0
    score: float | None = None
    threshold: float | None = None
    verdict: str | None = None
    judged_at: str | None = None
    machine_state: str | None = None
    version: str | None = None
    event: str | None = None


@dataclass(slots=True)
class SinkStatus:
    """State and counters of a sink.

    Attributes:
        name: name of the sink.
        kind: its kind, such as ``webhook``.
        waiting: alerts that are not delivered yet.
        dead: alerts that were given up and can be sent again.
        delivered: alerts that were delivered since the start of the listener.
        last_delivered_at: time of the last delivery, ISO 8601, UTC; None without one.
        last_error: why the last attempt failed, without secrets; None after a delivery.
    """

    name: str
    kind: str
    waiting: int = 0
    dead: int = 0
    delivered: int = 0
    last_delivered_at: str | None = None
    last_error: str | None = None


@dataclass(slots=True)
class ListenerStatus:
    """State of the whole listener.

    Attributes:
        started_at: time of its start, ISO 8601, UTC.
        pid: number of its process.
        sources: state of each source, in the order of names.
        sinks: state of each sink, in the order of names.
        clip_bytes: size of all clips of events, in bytes.
        clips_dropped: clips of events that could not be written, such as on a full disk.
        problems: sentences about entries of the configuration that are not used.
        verdicts_waiting: verdicts that are recorded later, because the record of machines cannot be written now.
        verdicts_lost: verdicts that were never recorded, because too many waited.
        events_waiting: changes of events that are saved later, because they cannot be written now.
        events_lost: changes of events that were given up, because too many waited.
    """

    started_at: str
    pid: int
    sources: list[SourceStatus] = field(default_factory=list)
    sinks: list[SinkStatus] = field(default_factory=list)
    clip_bytes: int = 0
    clips_dropped: int = 0
    problems: list[str] = field(default_factory=list)
    verdicts_waiting: int = 0
    verdicts_lost: int = 0
    events_waiting: int = 0
    events_lost: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make the state of the values of :meth:`to_dict`."""
        sources = [SourceStatus(**each) for each in values.pop("sources")]
        sinks = [SinkStatus(**each) for each in values.pop("sinks")]
        return cls(sources=sources, sinks=sinks, **values)
