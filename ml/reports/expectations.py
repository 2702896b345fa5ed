"""Expectations of the model that answers: what it detects, what it misses, and its false alarms.

The figures are of the served threshold. Each score is by a model that has not learned from the recording.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from ml.dataset.annotations import Label
from ml.evaluation.results import Estimate


@dataclass(frozen=True, slots=True)
class SessionScores:
    """Recordings of one session that have the same label.

    Attributes:
        session: name of the session.
        label: the label.
        scores: score of each recording, 0 to 1.
        anomalous: number of recordings whose verdict is ``anomalous``. For the normal recordings of a detector, the
            threshold is the one that the other sessions give.
    """

    session: str
    label: Label
    scores: tuple[float, ...]
    anomalous: int

    @property
    def share(self) -> float:
        """Share of the recordings whose verdict is ``anomalous``."""
        return self.anomalous / len(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityRow:
    """Threshold at a sensitivity.

    Attributes:
        sensitivity: its name.
        stated_rate: false-alarm rate that the threshold is chosen for, 0 to 1.
        threshold: score, 0 to 1.
        expected_rate: share of further normal recordings above the threshold.
        detected: share of the abnormal recordings above the threshold.
    """

    sensitivity: str
    stated_rate: float
    threshold: float
    expected_rate: Estimate
    detected: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What to expect of a model in service.

    Attributes:
        threshold: served threshold, 0 to 1.
        stated_rate: false-alarm rate that the threshold is chosen for, 0 to 1.
        new_session: whether no score is by a model that has learned from the recording's session.
        detected: share of the abnormal recordings that are anomalous.
        false_alarms: share of the normal recordings that are anomalous.
        not_judged: numbers of normal held-out recordings: without a verdict, and all.
        sessions: scores by session, of normal and of abnormal recordings.
        has_detector: whether the score is a detector's.
        by_name: whether a sensitivity can be set by its name.
        learned_faults: of a cross-validated classifier, the numbers of abnormal recordings that are found if the other
            half of their session is learned from, and of all of them; None without cross-validation.
        sensitivities: thresholds at each sensitivity; empty if no session of normal recordings was held out.
    """

    threshold: float
    stated_rate: float
    new_session: bool
    detected: Estimate
    false_alarms: Estimate
    not_judged: tuple[int, int]
    sessions: tuple[SessionScores, ...]
    has_detector: bool
    by_name: bool
    learned_faults: tuple[int, int] | None = None
    sensitivities: tuple[SensitivityRow, ...] = ()

    def of_label(self, label: Label) -> "Group":
        """Return the sessions with recordings of a label."""
        return Group(tuple(each for each in self.sessions if each.label == label))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the values of :meth:`to_dict`, also from JSON."""
        sessions = [SessionScores(**s | {"scores": tuple(s["scores"])}) for s in values["sessions"]]
        rows = [SensitivityRow(**row | _estimates(row, "expected_rate", "detected")) for row in values["sensitivities"]]
        return cls(
            **dict(values)
            | _estimates(values, "detected", "false_alarms")
            | {"not_judged": tuple(values["not_judged"]), "sessions": tuple(sessions), "sensitivities": tuple(rows)}
            | {"learned_faults": None if values["learned_faults"] is None else tuple(values["learned_faults"])}
        )


class Group(NamedTuple):
    """Sessions with recordings of one label."""

    sessions: tuple[SessionScores, ...]

    @property
    def n(self) -> int:
        """Number of recordings."""
        return sum(len(each.scores) for each in self.sessions)

    @property
    def anomalous(self) -> int:
        """Number of recordings whose verdict is ``anomalous``."""
        return sum(each.anomalous for each in self.sessions)

    def sorted_by_share(self) -> list[SessionScores]:
        """Return the sessions; the one with the smallest share of ``anomalous`` is first."""
        return sorted(self.sessions, key=lambda each: each.share)


def _estimates(values: Mapping[str, Any], *names: str) -> dict[str, Estimate]:
    return {name: Estimate(**values[name]) for name in names}
