"""Judged recordings as columns, and their slices."""

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

# The strata of JudgedTable.bootstrap_plan.
NORMAL_STRATUM, ABNORMAL_STRATUM = 0, 1


@dataclass(frozen=True, slots=True)
class JudgedTable:
    """Judged recordings as columns of shape ``(recordings,)``.

    Attributes:
        score: float64, 0 to 1.
        gain_score: float64, 0 to 1: score with a random gain; None if not measured.
        level_dbfs: float64, in dBFS; minus infinity for silence.
        abnormal: bool: whether the recording is labelled abnormal.
        alarm: bool: whether the verdict is an alarm.
        session: int64: number of the session, from 0.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> entries = [Entry(path=n, annotation=Annotation(n, session=n), info=info) for n in ("normal", "abnormal")]
        >>> judged = [JudgedRecording(entry, 0.7, True, (), "fault", None) for entry in entries]
        >>> table = JudgedTable.of(judged)
        >>> table.abnormal, table.alarm, table.session, table.take(np.array([1])).score
        (array([False,  True]), array([ True,  True]), array([1, 0]), array([0.7]))
    """

    score: Floats
    gain_score: Floats | None
    level_dbfs: Floats
    abnormal: NDArray[np.bool_]
    alarm: NDArray[np.bool_]
    session: NDArray[np.int64]

    @classmethod
    def of(cls, judged: Sequence[JudgedRecording], gain_judged: Sequence[JudgedRecording] | None = None) -> Self:
        """Make a table.

        Args:
            judged: the recordings.
            gain_judged: the same recordings in the same order, each with a random gain; None if not measured.
        """
        levels = [j.entry.info.level_dbfs for j in judged]
        return cls(
            score=np.array([j.score for j in judged]),
            gain_score=None if gain_judged is None else np.array([j.score for j in gain_judged]),
            level_dbfs=np.array([-np.inf if level is None else level for level in levels]),
            abnormal=np.array([j.entry.label == ABNORMAL for j in judged]),
            alarm=np.array([j.anomaly for j in judged]),
            session=np.unique([j.entry.session for j in judged], return_inverse=True)[1],
        )

    def take(self, which: NDArray[np.int64]) -> "JudgedTable":
        """Return the recordings with these indices, int64 ``(n,)``."""
        return JudgedTable(
            score=self.score[which],
            gain_score=None if self.gain_score is None else self.gain_score[which],
            level_dbfs=self.level_dbfs[which],
            abnormal=self.abnormal[which],
            alarm=self.alarm[which],
            session=self.session[which],
        )

    def bootstrap_plan(self, seed: int) -> BootstrapPlan:
        """Return a plan that draws sessions within the normal and within the abnormal recordings."""
        return BootstrapPlan.of(self.abnormal.astype(np.int64), self.session, seed)


@dataclass(frozen=True, slots=True)
class SliceMembers:
    """Recordings of a slice.

    Attributes:
        kind: the common property.
        machine, machine_id, snr_db: its values; None if the slice is not by this value. SNR in dB.
        which: int64 ``(n,)``: indices of the recordings.

    Example:
        >>> SliceMembers("id x snr", "fan", "id_00", 6.0, np.array([0, 2])).name
        'fan id_00 at 6 dB'
    """

    kind: SliceKind
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    which: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Name of the slice for people."""
        snr = None if self.snr_db is None else f"{self.snr_db:g} dB"
        machine = " ".join(part for part in (self.machine, self.machine_id) if part)
        return " at ".join(part for part in (machine, snr) if part) or "pooled"


def all_slices(judged: Sequence[JudgedRecording]) -> Iterator[SliceMembers]:
    """Yield the slice of all recordings, then those by machine, id, SNR and id x SNR, if several.

    Args:
        judged: the recordings.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> annotations = [Annotation("normal", "fan", "id_00", snr) for snr in (0.0, 0.0, 6.0)]
        >>> entries = [Entry(path="x.wav", annotation=annotation, info=info) for annotation in annotations]
        >>> judged = [JudgedRecording(entry, 0.1, False, (), "normal", "normal") for entry in entries]
        >>> [(each.name, each.which.tolist()) for each in all_slices(judged)]
        [('pooled', [0, 1, 2]), ('0 dB', [0, 1]), ('6 dB', [2])]
    """
    yield SliceMembers("pooled", None, None, None, np.arange(len(judged)))
    found = {kind: slices_by(judged, kind) for kind in ("machine", "id", "snr", "id x snr")}
    for kind in ("machine", "id", "snr"):
        yield from found[kind] if len(found[kind]) > 1 else ()
    # If each id has one SNR only, or each SNR one id only, these slices would repeat those above.
    if len(found["id x snr"]) > max(len(found["id"]), len(found["snr"])):
        yield from found["id x snr"]


def slices_by(judged: Sequence[JudgedRecording], kind: SliceKind) -> list[SliceMembers]:
    """Split recordings by a property. Recordings without a value of it are in no slice.

    Args:
        judged: the recordings.
        kind: the property: ``machine``, ``id`` (with the machine), ``snr`` or ``id x snr``.

    Returns:
        The slices, sorted by machine, id and SNR.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> from ml.dataset.entries import Entry
        >>> info = AudioInfo("0" * 32, 10.0, 16_000, 1, 16, "pcm", -30.0, -10.0, 0.0, 320_044)
        >>> annotations = [Annotation("normal", machine) for machine in ("pump", "fan", None)]
        >>> entries = [Entry(path="x.wav", annotation=annotation, info=info) for annotation in annotations]
        >>> judged = [JudgedRecording(entry, 0.1, False, (), "normal", "normal") for entry in entries]
        >>> [(each.name, each.which.tolist()) for each in slices_by(judged, "machine")]
        [('fan', [1]), ('pump', [0])]
    """
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
