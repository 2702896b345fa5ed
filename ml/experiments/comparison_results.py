"""Results of a comparison of detectors: trials, and figures with intervals."""

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

# False-alarm rates that thresholds are set for.
FALSE_ALARM_RATES = (0.05, 0.01)
RowKind = Literal["all", "kind", "id"]
What = Label | Literal["no machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Score of one recording by a detector that has not learned from it.

    Attributes:
        entry: the recording.
        subset: name of the subset of the recording.
        score: 0 to 1, higher is more anomalous.
        thresholds: thresholds of the detector, one for each of :data:`FALSE_ALARM_RATES`.
        calibrated_on: number of normal recordings that the thresholds come from.
    """

    entry: Entry
    subset: str
    score: float
    thresholds: tuple[float, ...]
    calibrated_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """Figures of one contender on a part of the recordings.

    Attributes:
        contender: engines of the contender.
        name: name of the part: ``all``, ``fan at 0 dB``, ``fan/id_00 at 0 dB``.
        kind: all recordings, those of one machine kind at one SNR, or those of one machine at one SNR.
        normal, abnormal: number of recordings. An abnormal one is tested in several folds and counted once.
        normal_sessions, abnormal_sessions: number of sessions.
        auc, pauc: figures of the scores of all folds together; see :class:`ml.evaluation.results.Slice`.
        auc_difference: AUC minus the baseline's, both from the same draws; undefined for the baseline itself.
        detected: share of abnormal recordings above the threshold, for each of :data:`FALSE_ALARM_RATES`.
        false_alarms: share of normal recordings above the threshold; it should be close to the rate.
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
        """Detection rate and false-alarm rate at each of :data:`FALSE_ALARM_RATES`."""
        return tuple(zip(self.detected, self.false_alarms, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfDomainRejection:
    """Share of out-of-domain sounds that a contender does not take for a healthy machine.

    Attributes:
        contender: engines of the contender.
        subset: subset that its detectors were trained on.
        n: number of sounds. Each is tested in every fold and counted once.
        alarmed: share above the threshold, for each of :data:`FALSE_ALARM_RATES`, without a machine name.
        rejected: share that is above the threshold or not judged.
    """

    contender: str
    subset: str
    n: int
    alarmed: tuple[Estimate, ...]
    rejected: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableShare:
    """Share of recordings that a detector rejects as out of domain. It does not depend on the engines.

    Attributes:
        subset: subset that the detectors were trained on.
        what: label of the tested recordings, or ``no machine`` for out-of-domain sounds.
        n: number of recordings. A recording that is tested in several folds is counted once.
        refused: share of rejected recordings.
    """

    subset: str
    what: What
    n: int
    refused: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSpectrum:
    """Mean spectrum of a machine without level, for each label that occurs.

    Attributes:
        name: machine and SNR.
        centres_hz: centres of the mel bands, ``(bands,)``.
        mean_db, deviation_db: mean and standard deviation of the clips, ``(bands,)``, by label.
        n: number of recordings, by label.
    """

    name: str
    centres_hz: NDArray[np.float64]
    mean_db: Mapping[str, NDArray[np.float64]]
    deviation_db: Mapping[str, NDArray[np.float64]]
    n: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorComparison:
    """Result of a comparison of detectors.

    Attributes:
        dataset, fingerprint: name and fingerprint of the dataset.
        gain_db: largest random gain of a tested recording, up or down.
        seed: seed of gains and intervals.
        contenders: names of the contenders; the first is the default.
        baseline: name of the baseline among them.
        rows: one row for each part of the recordings and each contender.
        rejections: results for out-of-domain sounds, if there were some.
        refusals: shares of recordings that are not judged.
        spectra: mean spectrum of each machine.
        trials: all scores, by contender.
        notes: limits of the figures, in sentences.
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
        """Rows, grouped by part of the recordings."""
        names = dict.fromkeys(row.name for row in self.rows)
        return tuple(tuple(row for row in self.rows if row.name == name) for name in names)

    def to_dict(self) -> dict[str, Any]:
        """Return facts and figures as plain values, without single scores and spectra."""
        facts = {name: getattr(self, name) for name in ("dataset", "fingerprint", "gain_db", "seed")}
        lists = {name: list(getattr(self, name)) for name in ("contenders", "notes")}
        tables = {name: [_row_dict(row) for row in getattr(self, name)] for name in ("rows", "rejections", "refusals")}
        return facts | {"bar": self.baseline} | lists | {"stated": list(FALSE_ALARM_RATES)} | tables


def _row_dict(row: ComparisonRow | OutOfDomainRejection | UnusableShare) -> dict[str, Any]:
    """Return plain values. The subset has the name ``bench`` in files."""
    values = asdict(row)
    if "subset" in values:
        values["bench"] = values.pop("subset")
    return values


def comparison_rows(trials: Mapping[str, Sequence[Trial]], baseline: str, seed: int) -> Iterator[ComparisonRow]:
    """Compute the figures of each contender on each part of the recordings.

    Args:
        trials: trials by contender, for the same recordings in the same order.
        baseline: contender that the others are compared with.
        seed: seed of the bootstrap.
    """
    for name, kind, which in _slices(trials[baseline]):
        baseline_trials = [trials[baseline][i] for i in which]
        for contender, every in trials.items():
            yield _comparison_row(contender, name, kind, [every[i] for i in which], baseline_trials, seed)


def _slices(trials: Sequence[Trial]) -> Iterator[tuple[str, RowKind, list[int]]]:
    """Yield all trials (if there are several subsets), each subset, and each of several machines in it."""
    every = list(range(len(trials)))
    subsets = list(dict.fromkeys(each.subset for each in trials))
    if len(subsets) > 1:
        yield "all", "all", every
    for subset in subsets:
        of_subset = [i for i in every if trials[i].subset == subset]
        yield subset, "kind", of_subset
        machines = sorted({trials[i].entry.machine_name for i in of_subset})
        for machine in machines if len(machines) > 1 else ():
            of_machine = [i for i in of_subset if trials[i].entry.machine_name == machine]
            yield machine_at(trials[of_machine[0]].entry), "id", of_machine


def machine_at(entry: Entry) -> str:
    """Return machine and SNR as text: ``fan/id_00 at 0 dB``."""
    return (entry.machine_name or "recordings") + (
        "" if entry.annotation.snr_db is None else f" at {entry.annotation.snr_db:g} dB"
    )


def _comparison_row(
    contender: str, name: str, kind: RowKind, trials: Sequence[Trial], baseline: Sequence[Trial], seed: int
) -> ComparisonRow:
    abnormal = np.array([each.entry.label == ABNORMAL for each in trials])
    plan = BootstrapPlan.of(abnormal.astype(np.int64), bootstrap_units(trials), seed)
    rankings = [Ranking(np.array([each.score for each in some]), abnormal) for some in (trials, baseline)]
    alarms = np.array([[each.score > threshold for threshold in each.thresholds] for each in trials])

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
        (UNDEFINED,) if trials == baseline else bootstrap_estimates(difference, plan, [both], wilson_difference)
    )
    return ComparisonRow(
        contender=contender,
        name=name,
        kind=kind,
        normal=_distinct(trials, NORMAL, "audio_hash"),
        abnormal=_distinct(trials, ABNORMAL, "audio_hash"),
        normal_sessions=_distinct(trials, NORMAL, "session"),
        abnormal_sessions=_distinct(trials, ABNORMAL, "session"),
        auc=auc,
        pauc=pauc,
        auc_difference=auc_difference,
        detected=tuple(rates[:count]),
        false_alarms=tuple(rates[count:]),
    )


def bootstrap_units(trials: Sequence[Trial]) -> NDArray[np.int64]:
    """Return the bootstrap unit of each trial: its session, or itself if its class has too few sessions."""
    few = [label for label in (NORMAL, ABNORMAL) if _distinct(trials, label, "session") < MIN_SESSIONS]
    names = [each.entry.audio_hash if each.entry.label in few else each.entry.session for each in trials]
    return np.unique(names, return_inverse=True)[1]


def _distinct(trials: Sequence[Trial], label: str, attribute: str) -> int:
    return len({getattr(each.entry, attribute) for each in trials if each.entry.label == label})


def estimate_shares(flags: Floats, seed: int) -> tuple[Estimate, ...]:
    """Compute the mean of each column, with intervals from draws of recordings.

    Args:
        flags: ``(recordings, columns)``, each 0 to 1: share of the folds in which the recording is flagged.
        seed: seed of the bootstrap.
    """
    plan = BootstrapPlan.of(np.zeros(len(flags), np.int64), np.arange(len(flags)), seed)

    def mean(weights: Floats) -> Floats:
        return metrics.divide_or_nan(weights @ flags, weights.sum(axis=1)[:, None])

    return bootstrap_estimates(mean, plan, [len(flags)] * flags.shape[1])
