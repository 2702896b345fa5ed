"""Alarm rules on sequences of recordings: ``python -m benchmarks.detectors.alarm_rules RECORDINGS``.

Each session of normal recordings is held out in turn, of simulated fans one of each fan; MIMII by halves. A default
detector learns from the others, and scores the held-out recordings and all abnormal ones in their order. Three tables:

1. Rules beside each other, in sequences of ten recordings: k of n verdicts, and the mean of the last k scores, of their
   logarithms of relative distances, and of the distances. The statistic of a rule is the lowest threshold without an
   alarm in the sequence. Its AUC needs no threshold. The detection is at the lowest threshold without an alarm in the
   calibration of the detector: equal false alarms for all rules, as far as the calibration shows.
2. The whole chain with the rule of the service: verdicts and alarms at stated false-alarm rates.
3. Stated and counted false alarms of a limit.

False alarms are normal sequences with an alarm: one that lasts counts again after ten recordings. MIMII has three or
four recordings of a machine in each half; its sequences are drawn with replacement, as if recordings were independent.
95 % intervals are from draws of sessions. A minute on two idle cores.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.sequences import LENGTH, Measured, ScoredSequence, Scores, measure_all
from cli.progress import show_progress
from ml.detectors.alarm_rule import DEFAULT_RULE
from ml.detectors.calibration import Calibration
from ml.detectors.false_alarms import alarm_states, threshold_for_alarms
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold, percent
from ml.system.atomic import write_atomic

RESULTS = Path(__file__).parents[1] / "results" / "alarm_rules.json"
DRAWS = 1000
RATES = sorted({*SENSITIVITIES.values(), 0.02, 0.03})
LIMITS = (1 / 20, 1 / 50, 1 / 100, 1 / 1000)
JUDGED = ("normal_anomalous", "worst_session", "abnormal_anomalous", "false_alarms_per_1000", "sequences_detected")
Statistic = Callable[[Scores], Scores]


def k_of_n(k: int, n: int) -> Statistic:
    """The k-th largest of the last n scores, after each recording."""

    def statistic(scores: Scores) -> Scores:
        windows = sliding_window_view(np.concatenate([np.zeros(n - 1), scores]), n)
        return np.asarray(np.sort(windows, axis=1)[:, n - k])

    return statistic


def mean_of(k: int, transform: Callable[[Scores], Scores]) -> Statistic:
    """The mean of the last k transformed scores, after each recording from the k-th on."""
    return lambda scores: sliding_window_view(transform(scores), min(k, len(scores))).mean(axis=1)


def _distance(scores: Scores) -> Scores:
    return np.asarray(scores / (1 - scores))


RULES: Mapping[str, Statistic] = {
    "1 of 1": k_of_n(1, 1),
    "2 of 3": k_of_n(2, 3),
    "3 of 5": k_of_n(3, 5),
    "4 of 5": k_of_n(4, 5),
    "mean of 3 scores": mean_of(3, lambda scores: scores),
    "mean of 5 scores": mean_of(5, lambda scores: scores),
    "mean of 5 distances": mean_of(5, _distance),
    "mean of 5 log distances": mean_of(5, lambda scores: np.log(_distance(np.clip(scores, 1e-6, 1 - 1e-6)))),
}


def main() -> None:
    """Measure, print the tables, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.alarm_rules", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        for name, measured in measure_all(given.recordings, Path(folder), report):
            found[name] = {
                "rules": compare_rules(measured),
                "chain": {percent(rate): chain(measured, rate) for rate in RATES},
                "limits": {f"{limit:g}": count_at_limit(measured, limit) for limit in LIMITS},
            }
    print_tables(found)
    write_atomic(given.output, (json.dumps(found, indent=1) + "\n").encode())


# Table 1: rules


def compare_rules(measured: Measured) -> dict[str, dict[str, object]]:
    """Compare the rules: figures with their 95 % intervals."""
    aucs = {name: draw_auc(measured, statistic) for name, statistic in RULES.items()}
    return {
        name: {
            "auc": _figures(aucs[name]),
            "auc_difference": _figures(aucs[name] - aucs[str(DEFAULT_RULE)]),
            **at_lowest_without_alarm(measured, statistic),
        }
        for name, statistic in RULES.items()
    }


def draw_auc(measured: Measured, statistic: Statistic) -> Scores:
    """AUC of sequences, of all data and then of draws of sessions. Each rule has the same draws."""
    normal, of_normal = _peaks(measured.normal, statistic)
    abnormal, of_abnormal = _peaks(measured.abnormal, statistic)
    right = (abnormal[None] > normal[:, None]) + (abnormal[None] == normal[:, None]) / 2
    n_normal, n_abnormal = np.eye(1 + of_normal.max())[of_normal], np.eye(1 + of_abnormal.max())[of_abnormal]
    pairs = n_normal.T @ right @ n_abnormal
    rng = np.random.Generator(np.random.PCG64(SEED))
    normal_weights, abnormal_weights = (_draw(rng, units.shape[1]) for units in (n_normal, n_abnormal))
    total = (normal_weights @ n_normal.sum(axis=0)) * (abnormal_weights @ n_abnormal.sum(axis=0))
    return np.asarray(np.einsum("dn,na,da->d", normal_weights, pairs, abnormal_weights) / total)


def at_lowest_without_alarm(measured: Measured, statistic: Statistic) -> dict[str, object]:
    """Detection and false alarms at the lowest threshold without an alarm in the calibration."""
    thresholds = [lowest_without_alarm(calibration, statistic) for calibration in measured.calibrations]
    alarms, of = _alarms(measured.normal, statistic, thresholds)
    detected, of_abnormal = _alarms(measured.abnormal, statistic, thresholds)
    first = [
        int(np.argmax(statistic(each.scores) > thresholds[each.fold])) + 1 + LENGTH - len(statistic(each.scores))
        for each, found in zip(measured.abnormal, detected, strict=True)
        if found
    ]
    return {
        "detected": _figures(_draw_means(detected, of_abnormal)),
        "delay": float(np.median(first)) if first else None,
        "false_alarms_per_1000": _figures(1000 / LENGTH * _draw_means(alarms, of)),
    }


def lowest_without_alarm(calibration: Calibration, statistic: Statistic) -> float:
    """The largest value of the statistic in any session of the calibration, without the recordings that stand apart."""
    scores, session = calibration.named[calibration.kept], calibration.session[calibration.kept]
    return float(max(statistic(scores[session == number]).max() for number in np.unique(session)))


# Tables 2 and 3: the rule of the service


def chain(measured: Measured, rate: float) -> dict[str, object]:
    """Verdicts and alarms at a stated false-alarm rate."""
    return judge(measured, [calibrated_threshold(each, rate) for each in measured.calibrations])


def count_at_limit(measured: Measured, limit: float) -> dict[str, object]:
    """Verdicts and alarms at a limit of false alarms per recording."""
    return judge(measured, [threshold_for_alarms(each, limit, DEFAULT_RULE) for each in measured.calibrations])


def judge(measured: Measured, thresholds: Sequence[float]) -> dict[str, object]:
    """Shares of anomalous verdicts and of sequences with an alarm, each with its 95 % interval."""

    def shares(some: Sequence[ScoredSequence]) -> tuple[Scores, Scores]:
        verdicts = [each.scores > thresholds[each.fold] for each in some]
        of = _units(some)
        anomalous = np.array([each.mean() for each in verdicts])
        raised = np.array([float(alarm_states(each, DEFAULT_RULE).any()) for each in verdicts])
        return _draw_means(anomalous, of), _draw_means(raised, of)

    by_unit: defaultdict[str, list[float]] = defaultdict(list)
    for each in measured.normal:
        by_unit[each.unit].append(float((each.scores > thresholds[each.fold]).mean()))
    (false, false_alarms), (found, alarms) = shares(measured.normal), shares(measured.abnormal)
    return {
        "normal_anomalous": _figures(false),
        "worst_session": round(max(float(np.mean(some)) for some in by_unit.values()), 4),
        "abnormal_anomalous": _figures(found),
        "false_alarms_per_1000": _figures(1000 / LENGTH * false_alarms),
        "sequences_detected": _figures(alarms),
    }


def _peaks(some: Sequence[ScoredSequence], statistic: Statistic) -> tuple[Scores, NDArray[np.int64]]:
    return np.array([statistic(each.scores).max() for each in some]), _units(some)


def _alarms(
    some: Sequence[ScoredSequence], statistic: Statistic, thresholds: Sequence[float]
) -> tuple[Scores, NDArray[np.int64]]:
    peaks, of = _peaks(some, statistic)
    return (peaks > np.array([thresholds[each.fold] for each in some])).astype(float), of


def _units(some: Sequence[ScoredSequence]) -> NDArray[np.int64]:
    return np.unique([each.unit for each in some], return_inverse=True)[1]


def _draw(rng: np.random.Generator, units: int) -> Scores:
    """How often each unit is drawn, ``(1 + draws, units)``; the first row is all units once."""
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=DRAWS)
    return np.concatenate([np.ones((1, units)), drawn])


def _draw_means(values: Scores, of: NDArray[np.int64]) -> Scores:
    weights = _draw(np.random.Generator(np.random.PCG64(SEED)), 1 + int(of.max()))[:, of]
    return np.asarray(weights @ values / weights.sum(axis=1))


def _figures(draws: Scores) -> list[float]:
    """The value, which is the first, and the limits of its 95 % interval."""
    return [round(float(each), 4) for each in (draws[0], *np.percentile(draws[1:], [2.5, 97.5]))]


def print_tables(found: Mapping[str, Mapping[str, object]]) -> None:
    """Print the three tables."""
    console = Console()
    columns = {
        "rules": ("auc", "auc_difference", "detected", "delay", "false_alarms_per_1000"),
        "chain": (
            "normal_anomalous",
            "worst_session",
            "abnormal_anomalous",
            "false_alarms_per_1000",
            "sequences_detected",
        ),
        "limits": (
            "normal_anomalous",
            "worst_session",
            "abnormal_anomalous",
            "false_alarms_per_1000",
            "sequences_detected",
        ),
    }
    for title, names in columns.items():
        table = Table("recordings", title, *names)
        for recordings, parts in found.items():
            for row, figures in dict(parts[title]).items():  # type: ignore[call-overload]  # JSON
                table.add_row(recordings, row, *(_shown(figures[name]) for name in names))
        console.print(table)


def _shown(figures: object) -> str:
    return "{:.3f} [{:.2f}, {:.2f}]".format(*figures) if isinstance(figures, list) else str(figures)


if __name__ == "__main__":
    main()
