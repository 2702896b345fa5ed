"""Plan of a simulation: number of fans, sessions and recordings, duration and noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self, get_args

from ml.errors import InvalidParameter

Fault = Literal["imbalance", "clogging", "voltage_change"]
FAULTS: tuple[Fault, ...] = ("imbalance", "clogging", "voltage_change")
# Sessions of a healthy fan for each session of one fault, as machines are usually healthy.
NORMAL_SESSIONS_PER_FAULT = 3
SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
HEADER_BYTES = 44
# Outside this range, either the machine or the noise is inaudible.
SNR_RANGE_DB = (-40.0, 60.0)
BLEED_RANGE_DB = (-60.0, 0.0)
BLEED_DB = -20.0
# Names of the changes of a finished pair of channels; ml/dataset/simulate/disturbances.py has their functions.
Disturbance = Literal[
    "gain_1_db",
    "gain_3_db",
    "bleed_-20_db",
    "bleed_-10_db",
    "bleed_0_db",
    "clock",
    "moved",
    "reference_noise",
    "independent_noise",
    "missing",
    "dead",
    "disconnected",
    "swapped",
    "duplicated",
]
DISTURBANCES: tuple[Disturbance, ...] = get_args(Disturbance)


@dataclass(frozen=True, slots=True)
class CleanRecording:
    """One recording of the machine without noise; all its SNR versions come from it.

    Attributes:
        machine: number of the fan.
        session: number of the session; unique within the fan, across its classes.
        index: number of the recording within its session.
        fault: fault of the fan in this session; None for a healthy fan.
        number: number of the recording within its folder (``normal`` or ``abnormal``), in recording order.
    """

    machine: int
    session: int
    index: int
    fault: Fault | None
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPlan:
    """Plan of a simulated dataset.

    Attributes:
        machines: number of fans, each with its own blades, motor, bearing and room; 1 to 99.
        sessions: sessions of each fault of each fan, 1 to 1000. The healthy fan has three times as many, so half of all
            recordings are normal.
        recordings: recordings in a session, 1 to 10 000.
        snr_db: signal-to-noise ratios in dB; each recording is written once at each, with different noise.
        channels: number of microphones, 1 to 8.
        duration_s: duration of a recording, 1 to 60 s.
        severity: range of the fault's severity, where 1 is the most severe; drawn for each session.
        reference: one more channel, the last one: a reference microphone elsewhere in the hall. The noise then comes
            from several independent sources, and ``snr_db`` is the ratio at the other microphones.
        bleed_db: level of the machine at the reference, relative to its level at the other microphones; -60 to 0 dB.
        reference_moves: whether the reference is at another place in each session.
        disturbance: a fault of the pair in every recording; one of :data:`DISTURBANCES`.

    Raises:
        InvalidParameter: a value is outside its range.
    """

    machines: int = 4
    sessions: int = 4
    recordings: int = 6
    snr_db: tuple[float, ...] = (6.0, 0.0, -6.0)
    channels: int = 1
    duration_s: float = 10.0
    severity: tuple[float, float] = (0.3, 1.0)
    reference: bool = False
    bleed_db: float = BLEED_DB
    reference_moves: bool = False
    disturbance: Disturbance | None = None

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
        yield from self._reference_rules()

    def _reference_rules(self) -> Iterator[tuple[bool, str]]:
        yield _within("bleed_db", self.bleed_db, *BLEED_RANGE_DB)
        yield (
            self.disturbance in (None, *DISTURBANCES),
            f"disturbance is {self.disturbance!r}; one of {', '.join(DISTURBANCES)} was expected",
        )
        for name, default in {"bleed_db": BLEED_DB, "reference_moves": False, "disturbance": None}.items():
            value = getattr(self, name)
            yield (
                self.reference or value == default,
                f"{name} is {value!r} without a reference; a plan with a reference was expected",
            )

    @classmethod
    def demo(cls) -> Self:
        """Return a plan with few, short recordings at +6 dB, for a demonstration model that is made quickly."""
        return cls(machines=2, sessions=4, recordings=4, snr_db=(6.0,), duration_s=4.0, severity=(0.6, 1.0))

    @property
    def samples(self) -> int:
        """Samples per channel of a recording."""
        return round(self.duration_s * SAMPLE_RATE_HZ)

    @property
    def microphones(self) -> int:
        """Channels of a recording: those at the machine, then the reference."""
        return self.channels + self.reference

    @property
    def files(self) -> int:
        """Number of WAV files."""
        sessions = self.sessions * (NORMAL_SESSIONS_PER_FAULT + len(FAULTS))
        return self.machines * sessions * self.recordings * len(self.snr_db)

    @property
    def bytes(self) -> int:
        """Total size of all files; less if the reference is missing from them."""
        return self.files * (HEADER_BYTES + self.samples * self.microphones * BYTES_PER_SAMPLE)

    def clean_recordings(self) -> Iterator[CleanRecording]:
        """Yield every recording, machine by machine, in recording order."""
        normal: list[Fault | None] = [None] * (NORMAL_SESSIONS_PER_FAULT * self.sessions)
        # Faults alternate, so that neighbouring sessions of one folder differ, as in practice.
        sessions = [*normal, *(list(FAULTS) * self.sessions)]
        for machine in range(self.machines):
            numbers = {"normal": 0, "abnormal": 0}
            for session, fault in enumerate(sessions):
                for index in range(self.recordings):
                    folder = label_of(fault)
                    yield CleanRecording(machine, session, index, fault, numbers[folder])
                    numbers[folder] += 1


def label_of(fault: Fault | None) -> Literal["normal", "abnormal"]:
    """Return MIMII's name of the class, which is also the name of the folder."""
    return "normal" if fault is None else "abnormal"


def _within(name: str, value: float, low: float, high: float) -> tuple[bool, str]:
    shown = f"{name} is {value!r}; {low:g} to {high:g} was expected"
    return low <= value <= high, shown
