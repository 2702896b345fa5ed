"""Recorded verdict on a machine, and the names of a machine."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

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
        other_name: another name of the machine; not stored.
        made_by: API key of the upload, which cannot displace machines of others; None without this limit. It is stored
            with a new machine.
    """

    machine_id: str
    at: str
    version: str
    threshold_revision: int
    score: float
    threshold: float
    verdict: VerdictValue
    label: str
    other_name: str | None = None
    made_by: str | None = None

    @property
    def anomalous(self) -> bool:
        """Whether the verdict is ``anomalous`` and counts for an alarm."""
        return self.verdict == "anomalous"

    @property
    def judged(self) -> bool:
        """Whether the recording could be judged."""
        return self.verdict != "unusable"

    @classmethod
    def of(cls, names: MachineNames, verdict: Verdict, made_by: str | None = None) -> Self:
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
            other_name=names.other_name,
            made_by=made_by,
        )
