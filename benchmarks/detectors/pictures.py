"""Pictures of the documentation: ``python -m benchmarks.detectors.pictures RECORDINGS``.

Both show the scores of each session of pc_fan by a default detector. ``docs/images/detector-sessions.svg`` has the
served threshold. ``docs/images/threshold-sessions.svg`` has a threshold for each normal session, which comes from the
other sessions. Half a minute on two idle cores.
"""

import argparse
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.detectors.rates import fit_context
from cli.progress import show_progress
from ml.dataset.annotations import ABNORMAL, NORMAL
from ml.dataset.indexing.build import index
from ml.detectors.detector import Detector
from ml.detectors.thresholds import SENSITIVITIES, calibrated_threshold
from ml.reports.drawing import INK, STYLE, WIDTH_IN
from ml.reports.expectations import SessionScores
from ml.reports.session_plots import draw_sessions
from ml.system.atomic import write_atomic
from ml.training.detector_stage import learn_detector, measure_abnormal, normal_with_sound
from ml.training.served_result import held_out_thresholds

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TEXT = "#808890"  # readable on white and on black
HEIGHT_IN = 2.9
RATE = SENSITIVITIES["medium"]


def main() -> None:
    """Fit a detector to all normal recordings, and draw."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.pictures", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    dataset = index(parser.parse_args().recordings / "pc_fan")
    with show_progress(Console(stderr=True)) as report:
        context = fit_context(dataset, report)
        detector = learn_detector(context, dataset.entries)
        faults = [
            (entry.session, novelty.score) for entry, novelty in measure_abnormal(context, detector, dataset.entries)
        ]
    names = list(dict.fromkeys(entry.session for entry in normal_with_sound(dataset.entries)))
    shown = [*_normal_sessions(detector, names), *_abnormal_sessions(faults)]
    served = calibrated_threshold(detector.calibration, RATE)
    each = held_out_thresholds(detector.calibration, served, RATE)
    own = {name: float(each[detector.calibration.session == number][0]) for number, name in enumerate(names)}
    _write("detector-sessions", shown, served, {})
    _write("threshold-sessions", shown, served, own)


def _normal_sessions(detector: Detector, names: list[str]) -> list[SessionScores]:
    calibration = detector.calibration
    scores = [tuple(calibration.named[calibration.session == number].tolist()) for number in range(len(names))]
    return sorted((SessionScores(n, NORMAL, s, 0) for n, s in zip(names, scores, strict=True)), key=_session)


def _abnormal_sessions(faults: list[tuple[str, float]]) -> list[SessionScores]:
    names = sorted({session for session, _ in faults})
    return [SessionScores(name, ABNORMAL, tuple(s for session, s in faults if session == name), 0) for name in names]


def _session(scores: SessionScores) -> str:
    return scores.session


def _write(name: str, shown: list[SessionScores], threshold: float, own: Mapping[str, float]) -> None:
    content = io.BytesIO()
    style: Any = {key: TEXT if value == INK else value for key, value in STYLE.items()}
    with rc_context(style):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        draw_sessions(figure, shown, threshold, own, ink=TEXT)
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    # One decimal of a point is enough, and makes the file smaller.
    write_atomic(IMAGES / f"{name}.svg", re.sub(rb"(\d\.\d)\d+", rb"\1", content.getvalue()))


if __name__ == "__main__":
    main()
