"""Verdicts on sessions that were never recorded: ``python -m benchmarks.detectors.new_sessions RECORDINGS``.

Each session of normal recordings is held out in turn. A default detector learns from the other sessions. It judges the
held-out session, all abnormal recordings and the sounds of ESC-50, at its default threshold and at 5 %, each recording
with a random gain. The verdicts come from the same predictor as in the service. Simulated fans have 12 sessions each.
About two minutes on two idle cores.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.rates import fit_context
from cli.progress import show_progress
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.thresholds import operating_point_at_rate
from ml.evaluation.intervals import wilson
from ml.evaluation.judged import JudgedRecording
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.judging import judge
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.detector_stage import learn_detector
from ml.training.options import GAIN_DB

RESULTS = Path(__file__).parents[1] / "results" / "new_sessions.json"
RATES = (0.01, 0.05)
FANS = SimulationPlan(machines=2, sessions=4, recordings=5, snr_db=(6.0,), duration_s=4.0)


@dataclass
class Counts:
    """Verdicts on one group of recordings, pooled over the held-out sessions.

    Attributes:
        n: number of verdicts.
        anomalous, unusable: number of each verdict.
        worst: share of ``anomalous`` in the session where it is furthest from what is wanted.
    """

    n: int
    anomalous: int
    unusable: int
    worst: float

    @classmethod
    def of(cls, sessions: Sequence[Sequence[JudgedRecording]], *, wanted: float) -> "Counts":
        """Count verdicts; ``wanted`` is the wanted share of anomalous ones, 0 or 1."""
        every = [each for session in sessions for each in session]
        shares = [sum(map(_is_anomalous, session)) / len(session) for session in sessions if session]
        worst = max(shares, key=lambda share: abs(share - wanted))
        return cls(len(every), sum(map(_is_anomalous, every)), sum(each.unusable for each in every), worst)

    def share(self, count: int) -> str:
        """Return a share with its 95 % interval over recordings."""
        low, high = wilson(count / self.n, self.n)
        return f"{count / self.n:.3f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.new_sessions", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    table = Table(
        *(
            "recordings",
            "stated",
            "false alarms",
            "worst session",
            "not judged",
            "detected",
            "worst group",
            "ESC-50 rejected",
        )
    )
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        fans = simulate(Path(folder) / "fans", plan=FANS, seed=SEED, report=report)
        sounds = [file.read_bytes() for file in sorted((given.recordings / "esc50").glob("*.flac"))]
        for name, root in (("pc_fan", given.recordings / "pc_fan"), ("simulated fans, 6 dB", fans)):
            dataset = index(root)
            for rate in RATES:
                normal, abnormal, rejected = judge_each_session(dataset, rate, sounds, report)
                found[f"{name} at {rate:g}"] = {
                    "normal": asdict(normal),
                    "abnormal": asdict(abnormal),
                    "sounds": {"n": len(sounds), "rejected": rejected},
                }
                table.add_row(
                    *(name, f"{rate:.0%}", normal.share(normal.anomalous), f"{normal.worst:.2f}"),
                    *(normal.share(normal.unusable), abnormal.share(abnormal.anomalous), f"{abnormal.worst:.2f}"),
                    f"{min(rejected)} to {max(rejected)} of {len(sounds)}",
                )
    Console().print(table)
    write_atomic(given.output, (json.dumps(found, indent=2) + "\n").encode())


def judge_each_session(
    dataset: Dataset, rate: float, sounds: Sequence[bytes], report: ProgressCallback
) -> tuple[Counts, Counts, list[int]]:
    """Judge with a detector for each held-out session.

    Returns:
        Counts of the held-out normal recordings and of the abnormal ones, the worst of these by fault or session, and
        for each detector the number of sounds that are not ``normal``.
    """
    normal = [entry for entry in dataset.entries if entry.label == NORMAL]
    abnormal = [entry for entry in dataset.entries if entry.label != NORMAL]
    context = fit_context(replace(dataset, entries=tuple(normal)), report)
    held_out, faults, rejected = [], defaultdict(list), []
    for session in sorted({entry.session for entry in normal}):
        detector = learn_detector(context, [entry for entry in normal if entry.session != session])
        decision = decision_at(operating_point_at_rate(detector.calibration, rate))
        content = BundleContent(
            context.spec, DETECTOR_LABELS, decision, {}, None, GoldenClip(make_golden_clip(), ()), detector
        )
        predictor = Predictor(ServedModel.as_written(Bundle("new-sessions", "", content)))

        def judged(entries: list[Entry], predictor: Predictor = predictor) -> list[JudgedRecording]:
            return list(judge(predictor, dataset, entries, gain_db=GAIN_DB, seed=SEED, report=report))

        held_out.append(judged([entry for entry in normal if entry.session == session]))
        for name, each in by_fault(judged(abnormal)):
            faults[session, name].append(each)
        rejected.append(sum(predictor.predict(predictor.decode(sound)).value != "normal" for sound in sounds))
    return Counts.of(held_out, wanted=0.0), Counts.of(list(faults.values()), wanted=1.0), rejected


def by_fault(judged: Sequence[JudgedRecording]) -> Iterator[tuple[str, JudgedRecording]]:
    """Yield each recording with its fault, or with its session if the fault has no name."""
    for each in judged:
        yield each.entry.annotation.fault or each.entry.session, each


def _is_anomalous(judged: JudgedRecording) -> bool:
    return judged.anomaly and not judged.unusable


if __name__ == "__main__":
    main()
