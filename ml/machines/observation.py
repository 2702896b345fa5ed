"""Recorded verdict on a machine, and the names of a machine."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

from ml.machines.recording_time import RecordingTime, TimeSource
from ml.models.verdict import Verdict, VerdictValue
from ml.system.clock import timestamp

MAX_MACHINE_ID = 64
# A name, or machine kind and id as in datasets (``fan/id_00``); the pattern is also valid in JSON Schema.
MACHINE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"


def is_machine_id(name: str) -> bool:
    """Check that a machine can be recorded under this name."""
    return len(name) <= MAX_MACHINE_ID and re.fullmatch(MACHINE_ID_PATTERN, name) is not None


class MachineNames(NamedTuple):
    """Names of a machine.

    Attributes:
        machine_id: name of its record.
        other_name: another name of this machine alone, under which an older record can exist; None without one.
    """

    machine_id: str
    other_name: str | None

    @classmethod
    def resolve(cls, name: str, detector_name: Callable[[str], str | None]) -> Self:
        """Find the names of a machine from any of them.

        A detector's name that is not valid as a machine id is not used: datasets allow more names than URLs.

        Args:
            name: the name that the client gave.
            detector_name: returns the detector's name of a machine; None for a machine that the detector does not know.
        """
        known = detector_name(name)
        if known is None or not is_machine_id(known):
            return cls(name, None)
        short = known.rpartition("/")[2]
        return cls(known, short if short != known and detector_name(short) == known else None)


class KeyedRequest(NamedTuple):
    """Request with an Idempotency-Key.

    Attributes:
        key: the key.
        digest: digest of the whole request.
    """

    key: str
    digest: str


class RecordEntry(NamedTuple):
    """Place of a recording in the record of its machine, as known when it is answered.

    Attributes:
        machine_id: name of the record.
        recorded_at: time of the recording, ISO 8601, UTC.
        time_from: where this time comes from.
        counted: whether the recording counts; None if the record cannot be read.
        first_at: time of the answer that counts; None unless ``counted`` is false.
    """

    machine_id: str
    recorded_at: str
    time_from: TimeSource
    counted: bool | None
    first_at: str | None


@dataclass(frozen=True, slots=True)
class Observation:
    """Verdict on one recording of a machine.

    Attributes:
        machine_id: name of the machine's record, see :class:`MachineNames`.
        at: time of the answer, ISO 8601, UTC; the recording can be older.
        version: model version of the answer.
        threshold_revision: revision of the model's threshold.
        score: 0 to 1, higher is more anomalous; without meaning for an unusable recording.
        threshold: score above which a recording was anomalous at this time.
        verdict: ``normal``, ``anomalous`` or ``unusable``.
        label: name of the class; without meaning for an unusable recording.
        recorded_at: time of the recording, ISO 8601, UTC; by default, the time of the answer.
        time_from: where this time comes from.
        digest: digest of the uploaded bytes; None if it is not known.
        repeats: number of later uploads of the same bytes, which did not count.
        other_name: another name of the machine; not stored.
        made_by: API key of the upload, which cannot displace machines of others; None without this limit. It is stored
            with a new machine.
        request: request with an Idempotency-Key; stored for a day, and not here.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    verdict: VerdictValue
    label: str
    recorded_at: str = ""
    time_from: TimeSource = "arrival"
    digest: str | None = None
    repeats: int = 0
    other_name: str | None = None
    made_by: str | None = None
    request: KeyedRequest | None = None

    def __post_init__(self) -> None:
        if not self.recorded_at:
            object.__setattr__(self, "recorded_at", self.at)

    @property
    def anomalous(self) -> bool:
        """Whether the verdict is ``anomalous`` and counts for an alarm."""
        return self.verdict == "anomalous"

    @property
    def stated_at(self) -> str | None:
        """Time of the recording if it is known from the request or the file; otherwise None."""
        return None if self.time_from == "arrival" else self.recorded_at

    @property
    def judged(self) -> bool:
        """Whether the recording could be judged."""
        return self.verdict != "unusable"

    @classmethod
    def of(
        cls,
        names: MachineNames,
        verdict: Verdict,
        time: RecordingTime | None = None,
        digest: str | None = None,
        request: KeyedRequest | None = None,
        made_by: str | None = None,
    ) -> Self:
        """Make the observation of a verdict that was given now."""
        worst = verdict.worst
        return cls(
            machine_id=names.machine_id,
            at=timestamp(),
            version=verdict.version,
            threshold_revision=verdict.threshold_revision,
            score=worst.score,
            threshold=verdict.threshold,
            verdict=verdict.value,
            label=worst.label.name,
            recorded_at="" if time is None else time.at,
            time_from="arrival" if time is None else time.source,
            digest=digest,
            other_name=names.other_name,
            made_by=made_by,
            request=request,
        )
