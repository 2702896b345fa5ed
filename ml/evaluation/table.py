"""Judged recordings as columns, and the slices that they are looked at in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import ABNORMAL
from ml.evaluation.intervals import BootstrapPlan
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.metrics import Floats
from ml.evaluation.results import SliceKind

# The strata of Table.plan.
NORMAL_STRATUM, ABNORMAL_STRATUM = 0, 1


@dataclass(frozen=True, slots=True)
class JudgedTable:
    """The judged recordings as columns, each ``(recordings,)``."""

    score: Floats
    gain_score: Floats | None
    level_dbfs: Floats
    abnormal: NDArray[np.bool_]
    alarm: NDArray[np.bool_]
    session: NDArray[np.int64]

    @classmethod
    def of(
        cls, judged: Sequence[JudgedRecording], gain_judged: Sequence[JudgedRecording] | None, threshold: float | None
    ) -> Self:
        """Alarms are above the threshold; None: as the model raised them. Digital silence is softer than any sound."""
        score = np.array([j.score for j in judged])
        levels = [j.entry.info.level_dbfs for j in judged]
        return cls(
            score=score,
            gain_score=None if gain_judged is None else np.array([j.score for j in gain_judged]),
            level_dbfs=np.array([-np.inf if level is None else level for level in levels]),
            abnormal=np.array([j.entry.label == ABNORMAL for j in judged]),
            alarm=np.array([j.anomaly for j in judged]) if threshold is None else score > threshold,
            session=np.unique([j.entry.session for j in judged], return_inverse=True)[1],
        )

    def take(self, which: NDArray[np.int64]) -> "JudgedTable":
        """Some of the recordings."""
        return JudgedTable(
            score=self.score[which],
            gain_score=None if self.gain_score is None else self.gain_score[which],
            level_dbfs=self.level_dbfs[which],
            abnormal=self.abnormal[which],
            alarm=self.alarm[which],
            session=self.session[which],
        )

    def bootstrap_plan(self, seed: int) -> BootstrapPlan:
        """Drawn by group, normal and abnormal apart."""
        return BootstrapPlan.of(self.abnormal.astype(np.int64), self.session, seed)


@dataclass(frozen=True, slots=True)
class SliceMembers:
    """What a slice's recordings have in common, and which they are: indices, ``(n,)``."""

    kind: SliceKind
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    which: NDArray[np.int64]

    @property
    def name(self) -> str:
        """As a reader is shown it."""
        snr = None if self.snr_db is None else f"{self.snr_db:g} dB"
        machine = " ".join(part for part in (self.machine, self.machine_id) if part)
        return " at ".join(part for part in (machine, snr) if part) or "pooled"


def all_slices(judged: Sequence[JudgedRecording]) -> Iterator[SliceMembers]:
    """All; then by machine, id, SNR, and id x SNR, each where there are several of them and they are named."""
    yield SliceMembers("pooled", None, None, None, np.arange(len(judged)))
    found = {kind: slices_by(judged, kind) for kind in ("machine", "id", "snr", "id x snr")}
    for kind in ("machine", "id", "snr"):
        yield from found[kind] if len(found[kind]) > 1 else ()
    # Where every id was recorded at one SNR only, or every SNR of one id, these would be the same slices again.
    if len(found["id x snr"]) > max(len(found["id"]), len(found["snr"])):
        yield from found["id x snr"]


def slices_by(judged: Sequence[JudgedRecording], kind: SliceKind) -> list[SliceMembers]:
    """The recordings by what they have in common; those that do not say so are in none."""
    found: dict[tuple[str, str, float], list[int]] = {}
    for i, each in enumerate(judged):
        entry = each.entry
        machine = entry.annotation.machine if kind != "snr" else None
        machine_id = entry.annotation.machine_id if kind in ("id", "id x snr") else None
        snr_db = entry.annotation.snr_db if kind in ("snr", "id x snr") else None
        if (kind, machine) == ("machine", None) or ("id" in kind and machine_id is None):
            continue
        if "snr" in kind and snr_db is None:
            continue
        found.setdefault((machine or "", machine_id or "", 0.0 if snr_db is None else snr_db), []).append(i)
    return [
        SliceMembers(kind, machine or None, machine_id or None, snr_db if "snr" in kind else None, np.array(which))
        for (machine, machine_id, snr_db), which in sorted(found.items())
    ]
