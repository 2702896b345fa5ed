"""Clip of a source with its verdict, as judging hands it to the events."""

from collections.abc import Callable
from dataclasses import dataclass

from listener.config.source_types import SourceEntry
from listener.sound import SoundBlock
from ml.detectors.alarm_rule import DEFAULT_RULE, KOfNRule
from ml.machines.alarms import AlarmState
from ml.models.predictor import Predictor
from ml.models.verdict import Verdict

SoundBetween = Callable[[float, float], SoundBlock | None]
"""Sound of a source between two times, in seconds since 1970: the longest part at the end of this span that is still
kept and has no gap; None without any."""


def no_sound(*_: float) -> SoundBlock | None:
    """Return None: a source without a ring buffer keeps no sound."""
    return None


@dataclass(frozen=True, slots=True)
class JudgedClip:
    """Clip that was judged.

    Attributes:
        source: the source, as it is configured now.
        machine_id: the machine, as its record names it.
        began, ended: times of its first sample and after its last one, in seconds since 1970.
        verdict: its verdict, with the explanation if it is anomalous.
        machine_state: state of the machine's alarm after this verdict.
        predictor: what judged it.
        rule: rule of the machine's alarm.
        sound: all channels of the source's ring buffer between two times.
        recording: content of the file that was judged whole, of a source of recordings; None for any other source.
    """

    source: SourceEntry
    machine_id: str
    began: float
    ended: float
    verdict: Verdict
    machine_state: AlarmState
    predictor: Predictor
    rule: KOfNRule = DEFAULT_RULE
    sound: SoundBetween = no_sound
    recording: bytes | None = None

    @property
    def is_anomalous(self) -> bool:
        """Whether its verdict is anomalous."""
        return self.verdict.value == "anomalous"

    @property
    def in_alarm(self) -> bool:
        """Whether its machine is in alarm after this verdict, acknowledged or not."""
        return self.machine_state in ("alarm", "acknowledged")
