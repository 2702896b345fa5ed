"""What detectors were tried on, and what came of it: figures with intervals, each beside the bar's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import ABNORMAL, NORMAL, Entry, Label
from ml.evaluation import metrics
from ml.evaluation.intervals import MIN_SESSIONS, BootstrapPlan, bootstrap_estimates, wilson_difference
from ml.evaluation.metrics import Floats, Ranking
from ml.evaluation.results import UNDEFINED, Estimate
from ml.evaluation.table import ABNORMAL_STRATUM, NORMAL_STRATUM

# False-alarm rates that thresholds are stated for.
FALSE_ALARM_RATES = (0.05, 0.01)
RowKind = Literal["all", "kind", "id"]
What = Label | Literal["no machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A recording, and what a detector that has not learned from it says of it.

    Attributes:
        entry: the recording.
        subset: the name of the recordings that it is compared with.
        score: 0 to 1, higher is farther from healthy.
        thresholds: of that detector, one for each of :data:`FALSE_ALARM_RATES`.
        calibrated_on: how many healthy recordings they rest on.
    """

    entry: Entry
    subset: str
    score: float
    thresholds: tuple[float, ...]
    calibrated_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A contender on some of the recordings.

    Attributes:
        contender: its engines.
        name: which recordings, as a reader is shown it: ``all``, ``fan at 0 dB``, ``fan/id_00 at 0 dB``.
        kind: all of them, those of a kind of machine at an SNR, or those of one machine at an SNR.
        normal, abnormal: how many recordings; an abnormal one is tried by each fold's detector and counted once.
        normal_sessions, abnormal_sessions: how many sessions they are of.
        auc, pauc: of the scores, over all folds at once; see :class:`ml.evaluation.Slice`.
        auc_difference: its AUC less that of the bar, both under the same draws; undefined for the bar itself.
        detected: share of abnormal recordings above the threshold, for each of :data:`FALSE_ALARM_RATES`.
        false_alarms: share of normal ones above it: what should be the stated rate.
    """

    contender: str
    name: str
    kind: RowKind
    normal: int
    abnormal: int
    normal_sessions: int
    abnormal_sessions: int
    auc: Estimate
    pauc: Estimate
    auc_difference: Estimate
    detected: tuple[Estimate, ...]
    false_alarms: tuple[Estimate, ...]

    @property
    def rates(self) -> tuple[tuple[Estimate, Estimate], ...]:
        """Detection and false alarms at each stated rate."""
        return tuple(zip(self.detected, self.false_alarms, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfDomainRejection:
    """What a contender says of sounds that are no machine.

    Attributes:
        contender: its engines.
        subset: what its detectors had learned to know.
        n: how many sounds; each is tried by each fold's detector and counted once.
        alarmed: share of them above the threshold, for each of :data:`FALSE_ALARM_RATES`, no machine being named.
        rejected: share of them that is above it or not judged: all but what passes for a healthy machine.
    """

    contender: str
    subset: str
    n: int
    alarmed: tuple[Estimate, ...]
    rejected: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableShare:
    """How many recordings a detector does not judge, since it takes them for no machine's; whatever its engines.

    Attributes:
        subset: what the detectors had learned to know.
        what: recordings that they had not learned from, or other sounds.
        n: how many; what several folds' detectors heard is counted once.
        refused: the share.
    """

    subset: str
    what: What
    n: int
    refused: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSpectrum:
    """The mean spectrum of a machine without its level, healthy and not.

    Attributes:
        name: the machine, and its SNR.
        centres_hz: of the mel bands, ``(bands,)``.
        mean_db, deviation_db: over the recordings, ``(bands,)``, by label; a label without recordings is not there.
        n: how many recordings, by label.
    """

    name: str
    centres_hz: NDArray[np.float64]
    mean_db: Mapping[str, NDArray[np.float64]]
    deviation_db: Mapping[str, NDArray[np.float64]]
    n: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorComparison:
    """Contenders side by side.

    Attributes:
        dataset, fingerprint: on what.
        gain_db: each recording that was tried was made louder or softer by up to so much.
        seed: of gains and intervals.
        contenders: names, as the rows have them; the first is the default.
        baseline: which of them is the bar.
        rows: for each slice of the recordings a row for each contender.
        rejections: for sounds that are no machine, where there were some.
        refusals: what is not judged at all.
        spectra: of each machine.
        trials: every score, by contender.
        notes: what a reader must know beside the figures, in sentences.
    """

    dataset: str
    fingerprint: str
    gain_db: float
    seed: int
    contenders: tuple[str, ...]
    baseline: str
    rows: tuple[ComparisonRow, ...]
    rejections: tuple[OutOfDomainRejection, ...]
    refusals: tuple[UnusableShare, ...]
    spectra: tuple[MeanSpectrum, ...]
    trials: Mapping[str, tuple[Trial, ...]]
    notes: tuple[str, ...]

    @property
    def slices(self) -> tuple[tuple[ComparisonRow, ...], ...]:
        """The rows, those of the same recordings together."""
        names = dict.fromkeys(row.name for row in self.rows)
        return tuple(tuple(row for row in self.rows if row.name == name) for name in names)

    def to_dict(self) -> dict[str, Any]:
        """Facts and figures as plain values; neither single scores nor spectra."""
        facts = {name: getattr(self, name) for name in ("dataset", "fingerprint", "gain_db", "seed")}
        lists = {name: list(getattr(self, name)) for name in ("contenders", "notes")}
        tables = {name: [_row_dict(row) for row in getattr(self, name)] for name in ("rows", "rejections", "refusals")}
        return facts | {"bar": self.baseline} | lists | {"stated": list(FALSE_ALARM_RATES)} | tables


def _row_dict(row: ComparisonRow | OutOfDomainRejection | UnusableShare) -> dict[str, Any]:
    """Plain values; ``bench`` is the name that the subset has in files."""
    values = asdict(row)
    if "subset" in values:
        values["bench"] = values.pop("subset")
    return values


def comparison_rows(trials: Mapping[str, Sequence[Trial]], baseline: str, seed: int) -> Iterator[ComparisonRow]:
    """The figures of each slice of the recordings, contender by contender.

    Args:
        trials: by contender, each of the same recordings in the same order.
        baseline: the contender that the others are held against.
        seed: of the bootstrap.
    """
    for name, kind, which in _slices(trials[baseline]):
        of_bar = [trials[baseline][i] for i in which]
        for contender, every in trials.items():
            yield _comparison_row(contender, name, kind, [every[i] for i in which], of_bar, seed)


def _slices(tried: Sequence[Trial]) -> Iterator[tuple[str, RowKind, list[int]]]:
    """All, where there are several kinds; each kind; each machine, where a kind has several."""
    every = list(range(len(tried)))
    benches = list(dict.fromkeys(each.subset for each in tried))
    if len(benches) > 1:
        yield "all", "all", every
    for bench in benches:
        mine = [i for i in every if tried[i].subset == bench]
        yield bench, "kind", mine
        machines = sorted({tried[i].entry.machine_name for i in mine})
        for machine in machines if len(machines) > 1 else ():
            of_machine = [i for i in mine if tried[i].entry.machine_name == machine]
            yield machine_at(tried[of_machine[0]].entry), "id", of_machine


def machine_at(entry: Entry) -> str:
    """The machine and its SNR, as a reader is shown them."""
    return (entry.machine_name or "recordings") + (
        "" if entry.annotation.snr_db is None else f" at {entry.annotation.snr_db:g} dB"
    )


def _comparison_row(
    contender: str, name: str, kind: RowKind, mine: Sequence[Trial], bar: Sequence[Trial], seed: int
) -> ComparisonRow:
    abnormal = np.array([each.entry.label == ABNORMAL for each in mine])
    plan = BootstrapPlan.of(abnormal.astype(np.int64), _units(mine), seed)
    rankings = [Ranking(np.array([each.score for each in some]), abnormal) for some in (mine, bar)]
    alarms = np.array([[each.score > threshold for threshold in each.thresholds] for each in mine])

    def figures(weights: Floats) -> Floats:
        curve = rankings[0].roc(weights)
        rates = [metrics.weighted_share(alarm, among, weights) for among in (abnormal, ~abnormal) for alarm in alarms.T]
        return np.stack([metrics.auc(*curve), metrics.partial_auc(*curve), *rates], axis=1)

    def difference(weights: Floats) -> Floats:
        own, other = (metrics.auc(*ranking.roc(weights)) for ranking in rankings)
        return (own - other)[:, None]

    both, count = plan.units(NORMAL_STRATUM, ABNORMAL_STRATUM), len(FALSE_ALARM_RATES)
    of_classes = [plan.units(ABNORMAL_STRATUM)] * count + [plan.units(NORMAL_STRATUM)] * count
    auc, pauc, *rates = bootstrap_estimates(figures, plan, [both, both, *of_classes])
    (auc_difference,) = (
        (UNDEFINED,) if mine == bar else bootstrap_estimates(difference, plan, [both], wilson_difference)
    )
    return ComparisonRow(
        contender=contender,
        name=name,
        kind=kind,
        normal=_distinct(mine, NORMAL, "audio_hash"),
        abnormal=_distinct(mine, ABNORMAL, "audio_hash"),
        normal_sessions=_distinct(mine, NORMAL, "session"),
        abnormal_sessions=_distinct(mine, ABNORMAL, "session"),
        auc=auc,
        pauc=pauc,
        auc_difference=auc_difference,
        detected=tuple(rates[:count]),
        false_alarms=tuple(rates[count:]),
    )


def _units(tried: Sequence[Trial]) -> NDArray[np.int64]:
    """What is drawn within each class: sessions, or recordings where the class is of too few of them."""
    few = [label for label in (NORMAL, ABNORMAL) if _distinct(tried, label, "session") < MIN_SESSIONS]
    names = [each.entry.audio_hash if each.entry.label in few else each.entry.session for each in tried]
    return np.unique(names, return_inverse=True)[1]


def _distinct(tried: Sequence[Trial], label: str, what: str) -> int:
    return len({getattr(each.entry, what) for each in tried if each.entry.label == label})


def estimate_shares(flags: Floats, seed: int) -> tuple[Estimate, ...]:
    """The share of recordings that each column flags, with intervals that draw recordings.

    Args:
        flags: ``(recordings, columns)``, each 0 to 1: which part of the detectors says so.
        seed: of the bootstrap.
    """
    plan = BootstrapPlan.of(np.zeros(len(flags), np.int64), np.arange(len(flags)), seed)

    def mean(weights: Floats) -> Floats:
        return metrics.divide_or_nan(weights @ flags, weights.sum(axis=1)[:, None])

    return bootstrap_estimates(mean, plan, [len(flags)] * flags.shape[1])
