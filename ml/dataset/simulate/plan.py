"""How many fans are listened to, how often, for how long and under how much noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from ml.errors import InvalidParameter

Fault = Literal["imbalance", "clogging", "voltage_change"]
FAULTS: tuple[Fault, ...] = ("imbalance", "clogging", "voltage_change")
# A machine runs well more often than not: sessions of a healthy fan for each session of one fault.
NORMAL_SESSIONS_PER_FAULT = 3
SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
HEADER_BYTES = 44
# Beyond these one of the two cannot be heard any more.
SNR_RANGE_DB = (-40.0, 60.0)


@dataclass(frozen=True, slots=True)
class CleanRecording:
    """One recording of the machine, before any noise: all its SNR versions come from it.

    Attributes:
        machine: number of the fan.
        session: number of the session; unique within the fan, across its classes.
        index: number of the recording within its session.
        fault: what is wrong with the fan in this session, None for nothing.
        number: number of the recording within its folder (``normal`` or ``abnormal``), in the order of recording.
    """

    machine: int
    session: int
    index: int
    fault: Fault | None
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPlan:
    """What is to be recorded.

    Attributes:
        machines: fans, each with its own blades, motor, bearing and room; 1 to 99.
        sessions: recording sessions of each fault of each fan; there are three times as many of the healthy fan, so
            that half of all recordings are normal; 1 to 1000.
        recordings: recordings in a session; 1 to 10 000.
        snr_db: signal-to-noise ratios, dB; each recording is written once at each, under other noise.
        channels: microphones, 1 to 8.
        duration_s: of a recording, 1 to 60 s.
        severity: range of how grave a fault is, a share of the gravest; drawn anew for each session.

    Raises:
        InvalidParameter: a value lies outside its range.
    """

    machines: int = 4
    sessions: int = 4
    recordings: int = 6
    snr_db: tuple[float, ...] = (6.0, 0.0, -6.0)
    channels: int = 1
    duration_s: float = 10.0
    severity: tuple[float, float] = (0.3, 1.0)

    def __post_init__(self) -> None:
        for holds, sentence in self._rules():
            if not holds:
                raise InvalidParameter(f"Simulation: {sentence}.")

    def _rules(self) -> Iterator[tuple[bool, str]]:
        yield from (
            _within("machines", self.machines, 1, 99),
            _within("sessions", self.sessions, 1, 1000),
            _within("recordings", self.recordings, 1, 10_000),
            _within("channels", self.channels, 1, 8),
            _within("duration_s", self.duration_s, 1, 60),
        )
        yield len(self.snr_db) > 0, "snr_db is empty; at least one signal-to-noise ratio was expected"
        yield from (_within("snr_db", value, *SNR_RANGE_DB) for value in self.snr_db)
        yield (
            len({f"{value:g}" for value in self.snr_db}) == len(self.snr_db),
            f"snr_db is {self.snr_db}; each ratio once was expected",
        )
        low, high = self.severity
        yield 0 < low <= high <= 1, f"severity is {self.severity}; a range within 0 to 1 was expected"

    @classmethod
    def demo(cls) -> Self:
        """Few and short recordings at +6 dB, for a demonstration model that is made while somebody waits."""
        return cls(machines=2, sessions=4, recordings=4, snr_db=(6.0,), duration_s=4.0, severity=(0.6, 1.0))

    @property
    def samples(self) -> int:
        """Of each channel of a recording."""
        return round(self.duration_s * SAMPLE_RATE_HZ)

    @property
    def files(self) -> int:
        """How many wav files this makes."""
        sessions = self.sessions * (NORMAL_SESSIONS_PER_FAULT + len(FAULTS))
        return self.machines * sessions * self.recordings * len(self.snr_db)

    @property
    def bytes(self) -> int:
        """Size of all of them together."""
        return self.files * (HEADER_BYTES + self.samples * self.channels * BYTES_PER_SAMPLE)

    def clean_recordings(self) -> Iterator[CleanRecording]:
        """Every recording, machine by machine, in the order in which they are recorded."""
        normal: list[Fault | None] = [None] * (NORMAL_SESSIONS_PER_FAULT * self.sessions)
        # Faults take turns: neighbouring sessions of one folder differ, as they do where faults are not planned.
        sessions = [*normal, *(list(FAULTS) * self.sessions)]
        for machine in range(self.machines):
            numbers = {"normal": 0, "abnormal": 0}
            for session, fault in enumerate(sessions):
                for index in range(self.recordings):
                    folder = label_of(fault)
                    yield CleanRecording(machine, session, index, fault, numbers[folder])
                    numbers[folder] += 1


def label_of(fault: Fault | None) -> Literal["normal", "abnormal"]:
    """What MIMII calls the class, and the folder."""
    return "normal" if fault is None else "abnormal"


def _within(name: str, value: float, low: float, high: float) -> tuple[bool, str]:
    shown = f"{name} is {value!r}; {low:g} to {high:g} was expected"
    return low <= value <= high, shown
