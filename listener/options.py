"""Options of a listener; the command line makes them of the settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.machines.limits import MACHINES_KEPT

if TYPE_CHECKING:  # the settings need the options, and short commands the settings: without the packages of models
    from listener.config.source_types import SourceEntry

LISTENER_FOLDER, CLIPS_FOLDER = "listener", "clips"


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """Options of one listener.

    Attributes:
        home: SIGNALML_HOME.
        device_name: name of this device in events that it sends to another service.
        alarm_rule: rule that raises and clears the alarm of a machine.
        machines_kept: largest number of machines with a record.
        judge_threads: number of clips that are judged at the same time.
        poll_interval_s: seconds between two checks for changed sources, sinks, models and thresholds; at most 2.
        before_s: seconds of sound before the beginning of an event that its clip holds.
        longest_clip_s: longest clip of an event, in seconds.
        longest_event_s: length at which an event ends and another one continues it, in seconds.
        clips_max_bytes: largest size of all clips, in bytes.
        clips_days: days for which clips are kept.
        clips_min_free_bytes: space that stays free on the disk, in bytes.
        events_days: days for which ended events are kept.
        metrics_port: port of Prometheus metrics on 127.0.0.1; None for none.
        sources: sources to listen to; None for those of ``sources.toml``, whose changes are followed.
    """

    home: Path
    device_name: str = ""
    alarm_rule: KOfNRule = DEFAULT_RULE
    machines_kept: int = MACHINES_KEPT
    judge_threads: int = 1
    poll_interval_s: float = 0.5
    before_s: float = 10.0
    longest_clip_s: float = 60.0
    longest_event_s: float = 3600.0
    clips_max_bytes: int = 2 * 2**30
    clips_days: float = 90.0
    clips_min_free_bytes: int = 500 * 2**20
    events_days: float = 400.0
    metrics_port: int | None = None
    sources: "tuple[SourceEntry, ...] | None" = None

    @property
    def folder(self) -> Path:
        """Folder of sources, sinks, events and clips."""
        return self.home / LISTENER_FOLDER

    @property
    def clips_folder(self) -> Path:
        """Folder of the clips of events."""
        return self.folder / CLIPS_FOLDER
