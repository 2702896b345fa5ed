"""Recordings with faults of the recorder: ``python -m benchmarks.detectors.recorder_faults RECORDINGS``.

A default detector of each dataset judges its healthy and its faulty recordings after an offset, gaps, a low sample
rate, a filter, clipping, hum or a fade. No healthy recording must be ``anomalous``. Two minutes on two idle cores.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import signal

from benchmarks.detectors.rates import fit_context
from cli.progress import show_progress
from ml.dataset.entries import NORMAL, Dataset, Entry
from ml.dataset.indexing.build import index
from ml.detectors.thresholds import operating_point_at_rate
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.system.atomic import write_atomic
from ml.training.detector_stage import learn_detector

RESULTS = Path(__file__).parents[1] / "results" / "recorder_faults.json"
SETS: tuple[tuple[str, float | None], ...] = (("pc_fan", None), ("mimii", -6.0))
ABOUT = 30
Samples = NDArray[np.float64]
Fault = Callable[[Samples, int], tuple[Samples, int]]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.recorder_faults", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    table = Table("recordings", "fault", "healthy", "faulty")
    found = {}
    for name, snr_db in SETS:
        dataset = index(given.recordings / name, snr_db=snr_db)
        predictor = fit_predictor(dataset)
        for title, fault in faults().items():
            verdicts = {
                label: dict(judge_with(predictor, dataset, chosen(dataset, label), fault))
                for label in ("normal", "abnormal")
            }
            found[f"{name}, {title}"] = verdicts
            table.add_row(name, title, *map(_shown, verdicts.values()))
    Console().print(table)
    write_atomic(given.output, (json.dumps(found, indent=2) + "\n").encode())


def fit_predictor(dataset: Dataset) -> Predictor:
    """Return a model with a default detector of all normal recordings, at the default threshold."""
    normal = tuple(entry for entry in dataset.entries if entry.label == NORMAL)
    with show_progress(Console(stderr=True)) as report:
        context = fit_context(replace(dataset, entries=normal), report)
        detector = learn_detector(context, normal)
    decision = decision_at(operating_point_at_rate(detector.calibration, 0.01))
    content = BundleContent(
        context.spec, DETECTOR_LABELS, decision, {}, None, GoldenClip(make_golden_clip(), ()), detector
    )
    return Predictor(ServedModel.as_written(Bundle("recorder", "", content)))


def chosen(dataset: Dataset, label: str) -> Sequence[Entry]:
    """Return about 30 recordings with a label, evenly taken."""
    entries = [entry for entry in dataset.entries if entry.label == label]
    return entries[:: max(1, len(entries) // ABOUT)]


def judge_with(predictor: Predictor, dataset: Dataset, entries: Sequence[Entry], fault: Fault) -> Counter[str]:
    """Count verdicts on recordings with a fault; an unusable one has its reason."""
    counts: Counter[str] = Counter()
    for entry in entries:
        samples, rate_hz = soundfile.read(dataset.file(entry), always_2d=True)
        changed, changed_hz = fault(samples[:, 0], rate_hz)
        file = io.BytesIO()
        soundfile.write(file, np.clip(changed, -1, 1), changed_hz, format="WAV", subtype="PCM_16")
        verdict = predictor.predict(predictor.decode(file.getvalue()), entry.machine_name)
        counts[verdict.value if verdict.unusable is None else verdict.unusable.code] += 1
    return counts


def faults() -> dict[str, Fault]:
    """Return the faults, each at several strengths."""
    found: dict[str, Fault] = {"none": lambda samples, rate_hz: (samples, rate_hz)}
    found |= {f"offset {level}": partial(_offset, level=level) for level in (0.001, 0.01, 0.05, 0.2, 0.5)}
    found |= {f"drift {level}": partial(_drift, level=level) for level in (0.003, 0.02, 0.05, 0.1, 0.2)}
    gaps = ((0.02, 1), (0.02, 10), (0.1, 3), (0.5, 2), (2.0, 1))
    found |= {f"{times} gaps of {gap_s:g} s": partial(_gaps, gap_s=gap_s, times=times) for gap_s, times in gaps}
    found |= {f"recorded at {hz} Hz": partial(_resampled, hz=hz) for hz in (8000, 11_025, 12_000)}
    found |= {f"resampled from {hz} Hz": partial(_resampled, hz=hz, back=True) for hz in (8000, 11_025, 12_000)}
    found |= {f"filtered at {hz} Hz": partial(_filtered, hz=hz) for hz in (3000, 4000, 5000, 6000, 6500)}
    found |= {f"clipped, gain {gain}": partial(_clipped, gain=gain) for gain in (2, 5, 20)}
    found |= {"fades out": lambda samples, rate_hz: (samples * np.linspace(1, 0.01, len(samples)), rate_hz)}
    found |= {f"hum {level}": partial(_hum, level=level) for level in (0.003, 0.03)}
    return found


def _offset(samples: Samples, rate_hz: int, *, level: float) -> tuple[Samples, int]:
    return samples + level, rate_hz


def _drift(samples: Samples, rate_hz: int, *, level: float) -> tuple[Samples, int]:
    return samples + level * np.sin(2 * np.pi * 0.7 * np.arange(len(samples)) / rate_hz), rate_hz


def _gaps(samples: Samples, rate_hz: int, *, gap_s: float, times: int) -> tuple[Samples, int]:
    changed, length = samples.copy(), round(gap_s * rate_hz)
    for start in np.linspace(0, len(samples) - length, times + 2).astype(int)[1:-1]:
        changed[start : start + length] = 0
    return changed, rate_hz


def _resampled(samples: Samples, rate_hz: int, *, hz: int, back: bool = False) -> tuple[Samples, int]:
    lower = signal.resample_poly(samples, hz, rate_hz)
    return (signal.resample_poly(lower, rate_hz, hz)[: len(samples)], rate_hz) if back else (lower, hz)


def _filtered(samples: Samples, rate_hz: int, *, hz: int) -> tuple[Samples, int]:
    return signal.sosfiltfilt(signal.butter(6, hz, fs=rate_hz, output="sos"), samples), rate_hz


def _clipped(samples: Samples, rate_hz: int, *, gain: float) -> tuple[Samples, int]:
    return samples * gain / np.abs(samples).max(), rate_hz


def _hum(samples: Samples, rate_hz: int, *, level: float) -> tuple[Samples, int]:
    t = np.arange(len(samples)) / rate_hz
    return samples + level * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in (1, 2, 3)), rate_hz


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


if __name__ == "__main__":
    main()
