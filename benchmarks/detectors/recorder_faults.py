"""Recordings with faults of the recorder: ``python -m benchmarks.detectors.recorder_faults RECORDINGS``.

A default detector of each dataset judges its healthy and its faulty recordings after an offset, gaps, a low sample
rate, a filter, clipping, hum, a fade, or a fault of one of two channels. No healthy recording must be ``anomalous``. A
second table has the AUC with slight faults, by a detector of every other healthy recording; the rest is judged. Ten
minutes on two idle cores; ``--only`` and ``--faults`` do a part and leave the other results as they are.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ml.evaluation.metrics import Ranking, auc
from ml.models.bundle import Bundle, BundleContent, GoldenClip
from ml.models.golden import make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.served import ServedModel
from ml.models.thresholds import decision_at
from ml.models.verdict import Verdict
from ml.system.atomic import write_atomic
from ml.training.detector_stage import learn_detector

RESULTS = Path(__file__).parents[1] / "results" / "recorder_faults.json"
SETS: tuple[tuple[str, float | None], ...] = (
    ("pc_fan", None),
    ("mimii", -6.0),
    ("mimii", 0.0),
    ("uav_propeller", None),
)
ABOUT = 20
CODECS = (("MP3", 0.0), ("MP3", 0.5), ("MP3", 0.9), ("OGG", 0.0), ("OGG", 0.5), ("OGG", 1.0))
FILTERS_HZ = (3000, 4000, 5000, 6000, 6500, 7000, 7500, 7800)
RESAMPLED_FROM_HZ = (8000, 11_025, 12_000, 14_000, 15_000)
HUM_LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1)
Samples = NDArray[np.float64]
Fault = Callable[[Samples, int], tuple[Samples, int]]


def main() -> None:
    """Measure, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.recorder_faults", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=sorted({name for name, _ in SETS}), help="one dataset")
    parser.add_argument(
        "--faults", nargs="+", default=[""], metavar="TEXT", help="faults with one of these in the name"
    )
    given = parser.parse_args()
    table, slight_table = Table("recordings", "fault", "healthy", "faulty"), Table("recordings", "slight fault", "AUC")
    found: dict[str, object] = json.loads(given.output.read_text()) if given.output.exists() else {}
    for name, snr_db in SETS:
        if given.only not in (None, name):
            continue
        dataset = index(given.recordings / name, snr_db=snr_db)
        name = name if snr_db is None else f"{name}, {snr_db:g} dB"
        predictor = fit_predictor(dataset, healthy(dataset))
        for title, fault in _named(faults(), given.faults):
            verdicts = {
                label: dict(Counter(map(_outcome, judge_with(predictor, dataset, chosen(dataset, label), fault))))
                for label in ("normal", "abnormal")
            }
            found[f"{name}, {title}"] = verdicts
            table.add_row(name, title, *map(_shown, verdicts.values()))
        half = fit_predictor(dataset, healthy(dataset)[::2])
        for title, fault in _named(slight_faults(), given.faults):
            figure = round(auc_with(half, dataset, fault), 3)
            found[f"{name}, AUC, {title}"] = figure
            slight_table.add_row(name, title, f"{figure:.3f}")
    Console().print(table)
    Console().print(slight_table)
    write_atomic(given.output, (json.dumps(found, indent=2) + "\n").encode())


def healthy(dataset: Dataset) -> Sequence[Entry]:
    """Return all healthy recordings."""
    return [entry for entry in dataset.entries if entry.label == NORMAL]


def fit_predictor(dataset: Dataset, normal: Sequence[Entry]) -> Predictor:
    """Return a model with a default detector of these normal recordings, at the default threshold."""
    with show_progress(Console(stderr=True)) as report:
        context = fit_context(replace(dataset, entries=tuple(normal)), report)
        context = replace(context, spec=replace(context.spec, channel="intact", offset="removed"))
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


def judge_with(predictor: Predictor, dataset: Dataset, entries: Sequence[Entry], fault: Fault) -> Iterator[Verdict]:
    """Yield verdicts on recordings with a fault."""
    for entry in entries:
        samples, rate_hz = soundfile.read(dataset.file(entry), always_2d=True)
        changed, changed_hz = fault(samples[:, 0], rate_hz)
        file = io.BytesIO()
        soundfile.write(file, np.clip(changed, -1, 1), changed_hz, format="WAV", subtype="PCM_16")
        yield predictor.predict(predictor.decode(file.getvalue()), entry.machine_name)


def auc_with(predictor: Predictor, dataset: Dataset, fault: Fault) -> float:
    """Return the AUC over recordings with a fault: faulty ones, and healthy ones that were not learned from."""
    faulty = [entry for entry in dataset.entries if entry.label != NORMAL]
    scores = [
        [verdict.worst.score for verdict in judge_with(predictor, dataset, entries, fault)]
        for entries in (healthy(dataset)[1::2], faulty)
    ]
    ranking = Ranking(np.concatenate(scores), np.repeat([False, True], list(map(len, scores))))
    return float(auc(*ranking.roc(np.ones((1, len(scores[0]) + len(scores[1])))))[0])


def faults() -> dict[str, Fault]:
    """Return the faults, each at several strengths."""
    found: dict[str, Fault] = {"none": lambda samples, rate_hz: (samples, rate_hz)}
    found |= {f"offset {level}": partial(_offset, level=level) for level in (0.001, 0.01, 0.05, 0.2, 0.5)}
    found |= {f"drift {level}": partial(_drift, level=level) for level in (0.003, 0.02, 0.05, 0.1, 0.2)}
    gaps = ((0.02, 1), (0.02, 10), (0.1, 3), (0.5, 2), (2.0, 1))
    found |= {f"{times} gaps of {gap_s:g} s": partial(_gaps, gap_s=gap_s, times=times) for gap_s, times in gaps}
    found |= {f"recorded at {hz} Hz": partial(_resampled, hz=hz) for hz in (8000, 11_025, 12_000)}
    found |= {f"resampled from {hz} Hz": partial(_resampled, hz=hz, back=True) for hz in RESAMPLED_FROM_HZ}
    found |= {f"filtered at {hz} Hz": partial(_filtered, hz=hz) for hz in FILTERS_HZ}
    found |= {f"high-pass at {hz} Hz": partial(_high_pass, hz=hz) for hz in (100, 200, 300, 500, 1000)}
    found |= {f"coded as {form}, level {level}": partial(_coded, form=form, level=level) for form, level in CODECS}
    found |= {f"clipped, gain {gain}": partial(_clipped, gain=gain) for gain in (1.2, 2, 5, 20, 100)}
    found |= {f"fades by {db} dB": partial(_fades, db=db) for db in (3, 6, 12, 20, 40)}
    found |= {f"rises by {db} dB": partial(_fades, db=-db) for db in (3, 6, 12, 20, 40)}
    found |= {f"falls by {db} dB in a third": partial(_fades, db=db, part=3) for db in (6, 12, 20)}
    for hz, multiples in ((50, 3), (50, 20), (60, 1)):
        name = f"hum of {hz} Hz, {multiples} lines"
        found |= {f"{name}, {level}": partial(_hum, level=level, hz=hz, multiples=multiples) for level in HUM_LEVELS}
    return found | {f"second channel {name}": fault for name, fault in channel_faults().items()}


def channel_faults() -> dict[str, Fault]:
    """Return faults of the second of two channels, which otherwise have the same sound."""
    return {
        "dead": partial(_second_channel, gain=0),
        "noise": partial(_second_channel, gain=0, noise=0.00005),
        "inverted": partial(_second_channel, gain=-1),
        "clipped": partial(_second_channel, gain=300),
        "offset 0.1": partial(_second_channel, gain=1, offset=0.1),
        "offset 0.5": partial(_second_channel, gain=1, offset=0.5),
    }


def slight_faults() -> dict[str, Fault]:
    """Return faults with which a faulty machine is still to be found."""
    names = (
        *("none", "offset 0.01", "drift 0.02", "1 gaps of 0.02 s", "10 gaps of 0.02 s", "clipped, gain 1.2"),
        *("fades by 3 dB", "fades by 6 dB", "hum of 50 Hz, 3 lines, 0.001", "hum of 50 Hz, 3 lines, 0.003"),
        *(f"second channel {name}" for name in channel_faults()),
    )
    return {name: faults()[name] for name in names}


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


def _high_pass(samples: Samples, rate_hz: int, *, hz: int) -> tuple[Samples, int]:
    return signal.sosfilt(signal.butter(4, hz, btype="high", fs=rate_hz, output="sos"), samples), rate_hz


def _coded(samples: Samples, rate_hz: int, *, form: str, level: float) -> tuple[Samples, int]:
    """Code with losses; the level is that of the compression, 0 to 1."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, compression_level=level)
    file.seek(0)
    return soundfile.read(file)[0][: len(samples)], rate_hz


def _clipped(samples: Samples, rate_hz: int, *, gain: float) -> tuple[Samples, int]:
    return samples * gain / np.abs(samples).max(), rate_hz


def _fades(samples: Samples, rate_hz: int, *, db: float, part: int = 1) -> tuple[Samples, int]:
    """Fall by ``db`` over the recording or its first part, or rise if it is negative."""
    return samples * 10 ** (-db * np.minimum(1, np.linspace(0, part, len(samples))) / 20), rate_hz


def _hum(samples: Samples, rate_hz: int, *, level: float, hz: int, multiples: int) -> tuple[Samples, int]:
    t = np.arange(len(samples)) / rate_hz
    return samples + level * sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, multiples + 1)), rate_hz


def _second_channel(
    samples: Samples, rate_hz: int, *, gain: float, offset: float = 0.0, noise: float = 0.0
) -> tuple[Samples, int]:
    second = gain * samples + offset + noise * np.random.default_rng(0).normal(size=len(samples))
    return np.stack([samples, second], axis=1), rate_hz


def _named(some: Mapping[str, Fault], texts: Sequence[str]) -> list[tuple[str, Fault]]:
    return [(name, fault) for name, fault in some.items() if any(text in name for text in texts)]


def _outcome(verdict: Verdict) -> str:
    return verdict.value if verdict.unusable is None else verdict.unusable.code


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


if __name__ == "__main__":
    main()
