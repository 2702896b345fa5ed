"""Alarm rules on sequences of recordings: ``python -m benchmarks.detectors.alarm_rules RECORDINGS``.

Each session of normal recordings is held out in turn, of simulated fans one of each fan; MIMII by halves. A default
detector learns from the others, and scores the held-out recordings and all abnormal ones in their order. Three tables:

1. Rules beside each other, in sequences of ten recordings: k of n verdicts, and the mean of the last k scores, of their
   logarithms of relative distances, and of the distances. The statistic of a rule is the lowest threshold without an
   alarm in the sequence. Its AUC needs no threshold. The detection is at the lowest threshold without an alarm in the
   calibration of the detector: equal false alarms for all rules, as far as the calibration shows.
2. The whole chain with the rule of the service: verdicts and alarms at each sensitivity.
3. Stated and counted false alarms of a limit.

False alarms are normal sequences with an alarm: one that lasts counts again after ten recordings. MIMII has three or
four recordings of a machine in each half; its sequences are drawn with replacement, as if recordings were independent.
95 % intervals are from draws of sessions. A minute on two idle cores.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.rates import fit_context
from cli.progress import show_progress
from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.alarm_rule import DEFAULT_RULE
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.false_alarms import alarm_states, threshold_for_alarms
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold
from ml.features.feature_specs import detector_spec
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.detector_stage import in_recording_order

RESULTS = Path(__file__).parents[1] / "results" / "alarm_rules.json"
FANS = SimulationPlan(machines=2, sessions=4, recordings=20, snr_db=(6.0,), duration_s=4.0)
LENGTH = 10
DRAWN_SEQUENCES = 30
DRAWS = 1000
LIMITS = (1 / 20, 1 / 50, 1 / 100, 1 / 1000)
Scores = NDArray[np.float64]
Statistic = Callable[[Scores], Scores]


class ScoredSequence(NamedTuple):
    """Scores of one machine in their order, up to ten, by the detector of a fold; ``unit`` is drawn for intervals."""

    fold: int
    unit: str
    scores: Scores


@dataclass
class Measured:
    """Scores of one dataset.

    Attributes:
        calibrations: calibration of the detector of each fold.
        normal, abnormal: sequences of held-out normal recordings, and of abnormal ones.
    """

    calibrations: list[Calibration]
    normal: list[ScoredSequence]
    abnormal: list[ScoredSequence]


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
                "chain": {each: chain(measured, rate) for each, rate in SENSITIVITIES.items()},
                "limits": {f"{limit:g}": count_at_limit(measured, limit) for limit in LIMITS},
            }
    print_tables(found)
    write_atomic(given.output, (json.dumps(found, indent=1) + "\n").encode())


def measure_all(recordings: Path, folder: Path, report: ProgressCallback) -> Iterator[tuple[str, Measured]]:
    """Yield each dataset by name."""
    pc_fan = index(recordings / "pc_fan", report=report)
    yield "pc_fan", measure(pc_fan, number_of({entry.path: entry.session for entry in normal_of(pc_fan)}), report)
    for snr_db in (6.0, 0.0):
        plan = replace(FANS, snr_db=(snr_db,))
        fans = index(simulate(folder / f"fans{snr_db:g}", plan=plan, seed=SEED, report=report), report=report)
        yield f"simulated fans, {snr_db:g} dB", measure(fans, session_numbers(fans), report)
    mimii = index(recordings / "mimii", snr_db=-6.0, report=report)
    yield "MIMII, -6 dB", drawn(measure(mimii, halves(mimii), report))


def normal_of(dataset: Dataset) -> list[Entry]:
    """Normal recordings in their order."""
    return in_recording_order(entry for entry in dataset.entries if entry.label == NORMAL)


def number_of(names: Mapping[str, str]) -> dict[str, int]:
    """Number the names, from 0."""
    order = list(dict.fromkeys(names.values()))
    return {path: order.index(name) for path, name in names.items()}


def session_numbers(dataset: Dataset) -> dict[str, int]:
    """Number the sessions of each machine, from 0."""
    sessions: defaultdict[str, list[str]] = defaultdict(list)
    for entry in normal_of(dataset):
        if entry.session not in sessions[entry.machine_name]:
            sessions[entry.machine_name].append(entry.session)
    return {entry.path: sessions[entry.machine_name].index(entry.session) for entry in normal_of(dataset)}


def halves(dataset: Dataset) -> dict[str, int]:
    """0 for the first half of the normal recordings of each machine, 1 for the second."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for entry in normal_of(dataset):
        paths[entry.machine_name].append(entry.path)
    return {path: place * 2 // len(some) for some in paths.values() for place, path in enumerate(some)}


def measure(dataset: Dataset, fold: Mapping[str, int], report: ProgressCallback) -> Measured:
    """Score each fold, and all abnormal recordings, by a detector that has not learned from the fold."""
    normal, abnormal = normal_of(dataset), in_recording_order(e for e in dataset.entries if e.label == ABNORMAL)
    context = fit_context(replace(dataset, entries=tuple(normal)), report)
    spec, engines = detector_spec(context.spec), [engine_by_name(name) for name in context.options.engine_names]
    entries = [*normal, *abnormal]
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in entries]
    recordings = {
        entry.path: NormalRecording(clips, entry.machine_name, entry.session, entry.path)
        for entry, clips in zip(entries, parallel_spectra(spec, files, cut_by=context.spec, report=report), strict=True)
    }
    measured = Measured([], [], [])
    for number in sorted(set(fold.values())):
        detector = fit_detector(spec, engines, [recordings[e.path] for e in normal if fold[e.path] != number])
        measured.calibrations.append(detector.calibration)
        held_out = [recordings[entry.path] for entry in normal if fold[entry.path] == number]
        measured.normal += sequences(detector, held_out, number)
        measured.abnormal += sequences(detector, [recordings[entry.path] for entry in abnormal], number)
    return measured


def sequences(detector: Detector, recordings: Sequence[NormalRecording], fold: int) -> Iterator[ScoredSequence]:
    """Score recordings, and cut those of each machine and session into sequences of ten."""
    scores: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in recordings:
        score = max(detector.measure(clip, each.machine).score for clip in each.clips)
        scores[each.machine, each.session].append(score)
    for (machine, session), some in scores.items():
        for start in range(0, max(1, len(some) - LENGTH + 1), LENGTH):
            yield ScoredSequence(fold, f"{machine} {session}", np.array(some[start : start + LENGTH]))


def drawn(measured: Measured) -> Measured:
    """Draw longer sequences, with replacement: MIMII has three or four recordings of a machine in each half."""
    rng = np.random.Generator(np.random.PCG64(SEED))

    def longer(some: Sequence[ScoredSequence]) -> list[ScoredSequence]:
        return [each._replace(scores=rng.choice(each.scores, LENGTH)) for each in some for _ in range(DRAWN_SEQUENCES)]

    return Measured(measured.calibrations, longer(measured.normal), longer(measured.abnormal))


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

    (false, false_alarms), (found, alarms) = shares(measured.normal), shares(measured.abnormal)
    return {
        "normal_anomalous": _figures(false),
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
        "chain": ("normal_anomalous", "abnormal_anomalous", "false_alarms_per_1000", "sequences_detected"),
        "limits": ("normal_anomalous", "abnormal_anomalous", "false_alarms_per_1000", "sequences_detected"),
    }
    for title, names in columns.items():
        table = Table("recordings", title, *names)
        for recordings, parts in found.items():
            for row, figures in dict(parts[title]).items():  # type: ignore[call-overload]
                table.add_row(recordings, row, *(_shown(figures[name]) for name in names))
        console.print(table)


def _shown(figures: object) -> str:
    return "{:.3f} [{:.2f}, {:.2f}]".format(*figures) if isinstance(figures, list) else str(figures)


if __name__ == "__main__":
    main()
