"""Verdicts on sessions that were never recorded: ``python -m benchmarks.detectors.new_sessions RECORDINGS``.

Each session of normal recordings is held out in turn (of two fans, one session each). A detector learns from the other
sessions. It judges the held-out session, all abnormal recordings and the sounds of ESC-50, at stated rates of 1 % (the
default) and 5 %, each recording with a random gain. The verdicts come from the same predictor as in the service. Two
detectors are compared: the default now, and at 1 % the one before decision 16, as far as this code can make it: the
engines ``spectrum-gaussian`` and ``distance``, and the threshold from blocks of the sessions that were learned from.
(Its scales come from these blocks too, and the checks of the recorder are those of now.) The propellers have two
flights, so one is learned from, and rates hold for the same session only. Simulated fans have 12 sessions each. Five
minutes on two idle cores.

A false alarm of a machine comes after 3 of 5 recordings. It is counted in the row of the held-out recordings, session
after session, in the order in which they were made; a recording that is not judged counts as ``normal``.
"""

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.rates import fit_context
from benchmarks.detectors.verdicts import Answer, answer, answers, files_in, predictor_at, share_by_session
from cli.progress import show_progress
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.alarm_rule import DEFAULT_RULE
from ml.detectors.calibration import Calibration
from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.false_alarms import count_false_alarms
from ml.evaluation.results import Estimate
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.context import TrainingContext
from ml.training.detector_stage import in_recording_order, learn_detector

RESULTS = Path(__file__).parents[1] / "results" / "new_sessions.json"
FANS = SimulationPlan(machines=2, sessions=4, recordings=5, snr_db=(6.0,), duration_s=4.0)
BEFORE, NOW = "before", "now"
RATES = {BEFORE: (0.01,), NOW: (0.01, 0.05)}
ENGINES: Mapping[str, Sequence[str]] = {BEFORE: ("spectrum-gaussian", "distance"), NOW: DEFAULT_ENGINES}


@dataclass(frozen=True)
class Counts:
    """Verdicts on one group of recordings, pooled over the held-out sessions.

    Attributes:
        n: number of verdicts.
        anomalous: share of ``anomalous``; its interval comes from draws of sessions.
        by_session: share of ``anomalous`` in each session or, for named faults, of each fault.
        unusable: number of verdicts for each reason of ``unusable``.
    """

    n: int
    anomalous: Estimate
    by_session: Mapping[str, float]
    unusable: Mapping[str, int]

    @classmethod
    def of(cls, groups: Mapping[str, Sequence[Answer]]) -> "Counts":
        """Count the answers of each group."""
        every = [each for some in groups.values() for each in some]
        return cls(
            len(every),
            share_by_session([each.is_anomalous for each in every], [each.session for each in every]),
            {name: sum(each.is_anomalous for each in some) / len(some) for name, some in groups.items()},
            dict(Counter(each.why for each in every if each.why)),
        )

    def not_judged(self) -> str:
        """Return the share that is not judged, with the reasons."""
        reasons = ", ".join(f"{why} {count}" for why, count in self.unusable.items())
        return f"{sum(self.unusable.values()) / self.n:.3f}{f' ({reasons})' if reasons else ''}"


@dataclass(frozen=True)
class Result:
    """Verdicts of the detectors of one dataset at one rate.

    Attributes:
        normal, abnormal: counts of the held-out normal recordings, and of the abnormal ones.
        alarms: number of false alarms of a machine among the normal recordings.
        alarms_per_1000: expected number of them in 1000 recordings.
        sounds, rejected: number of sounds, and for each detector how many of them are not ``normal``.
        rate_holds_for: whether the stated rate is for new sessions.
    """

    normal: Counts
    abnormal: Counts
    alarms: int
    alarms_per_1000: Estimate
    sounds: int
    rejected: Sequence[int]
    rate_holds_for: str

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table."""
        return (
            _shown(self.normal.anomalous),
            f"{max(self.normal.by_session.values()):.2f}",
            self.normal.not_judged(),
            f"{self.alarms}; {_shown(self.alarms_per_1000, 1)}",
            _shown(self.abnormal.anomalous),
            f"{min(self.abnormal.by_session.values()):.2f}",
            self.abnormal.not_judged(),
            f"{min(self.rejected)} to {max(self.rejected)} of {self.sounds}",
        )


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.new_sessions", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        fans = simulate(Path(folder) / "fans", plan=FANS, seed=SEED, report=report)
        sounds = files_in(given.recordings / "esc50")
        for name, root in (
            ("pc_fan", given.recordings / "pc_fan"),
            ("uav_propeller", given.recordings / "uav_propeller"),
            ("simulated fans, 6 dB", fans),
        ):
            for rule in (BEFORE, NOW):
                for rate, result in judge_each_session(index(root), rule, sounds, report).items():
                    found[f"{name} at {rate:g}, {rule}"] = result
                    plain = {title: asdict(each) for title, each in found.items()}
                    write_atomic(given.output, (json.dumps(plain, indent=2) + "\n").encode())
    table = Table(
        *("recordings, stated rate", "false alarms", "worst session", "not judged", "alarms; in 1000 recordings"),
        *("detected", "worst group", "not judged", "ESC-50 not normal"),
    )
    for name, result in found.items():
        table.add_row(name, *result.cells())
    Console(width=220).print(table)


def judge_each_session(
    dataset: Dataset, rule: str, sounds: Sequence[bytes], report: ProgressCallback
) -> dict[float, Result]:
    """Judge with a detector for each held-out session, at each rate."""
    normal = in_recording_order(entry for entry in dataset.entries if entry.label == NORMAL)
    abnormal = [entry for entry in dataset.entries if entry.label != NORMAL]
    context = replace(fit_context(replace(dataset, entries=tuple(normal)), report), processes=1)
    rates = RATES[rule]
    held_out: dict[float, dict[str, list[Answer]]] = {rate: defaultdict(list) for rate in rates}
    faults: dict[float, dict[str, list[Answer]]] = {rate: defaultdict(list) for rate in rates}
    rejected: dict[float, list[int]] = {rate: [] for rate in rates}
    for sessions in sessions_in_turn(normal):
        detector = fit(context, [entry for entry in normal if entry.session not in sessions], rule)
        mine = [entry for entry in normal if entry.session in sessions]
        for rate in rates:
            predictor = predictor_at(context, detector, rate)
            for each in answers(predictor, dataset, mine, report=report):
                held_out[rate][each.session].append(each)
            for entry, each in zip(abnormal, answers(predictor, dataset, abnormal, report=report), strict=True):
                group = entry.annotation.fault or entry.session
                faults[rate][f"{group}, without {' and '.join(sessions)}"].append(each)
            rejected[rate].append(sum(answer(predictor, sound).value != "normal" for sound in sounds))
    holds_for = detector.calibration.rate_holds_for
    return {
        rate: Result(
            Counts.of(held_out[rate]),
            Counts.of(faults[rate]),
            *count_alarms(held_out[rate]),
            len(sounds),
            rejected[rate],
            holds_for,
        )
        for rate in rates
    }


def sessions_in_turn(normal: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    """Yield the sessions that are held out together: the first of each machine, then the second of each, ..."""
    of: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for entry in normal:
        of[entry.machine_name][entry.session] = None
    for some in zip_longest(*of.values()):
        yield tuple(session for session in some if session is not None)


def fit(context: TrainingContext, entries: Sequence[Entry], rule: str) -> Detector:
    """Fit a detector as now, or as before: then all recordings count as one session, and none stands apart."""
    options = context.options.with_changes(engines=list(ENGINES[rule]))
    context = replace(context, options=options)
    if rule == NOW:
        return learn_detector(context, entries)
    one = [replace(entry, annotation=replace(entry.annotation, session="all")) for entry in entries]
    detector = learn_detector(context, one)
    return replace(detector, calibration=replace(detector.calibration, odd=None))


def count_alarms(held_out: Mapping[str, Sequence[Answer]]) -> tuple[int, Estimate]:
    """Count the false alarms of a machine, and those in 1000 recordings."""
    verdicts = np.array([float(each.is_anomalous) for some in held_out.values() for each in some])
    session = np.array([number for number, some in enumerate(held_out.values()) for _ in some])
    found = count_false_alarms(Calibration(verdicts, verdicts, session), 0.5, DEFAULT_RULE)
    per = found.per_recording
    return found.counted, Estimate(*(None if x is None else 1000 * x for x in (per.value, per.low, per.high)))


def _shown(figure: Estimate, digits: int = 2) -> str:
    return f"{figure.value:.{digits + (digits > 1)}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


if __name__ == "__main__":
    main()
