"""Machines and sounds that a detector has not learned: ``python -m benchmarks.detectors.new_machines RECORDINGS``.

**New machines.** A default detector learns the normal recordings of all machines but one, and judges those of this
one, with no machine named and with a name that it does not know. Each machine in turn: MIMII at -6 dB, with all
machines and with those of one type; MIMII at 0 dB, fans; simulated fans. **Strangers.** Default detectors of pc_fan and
of the twelve machines of MIMII at -6 dB judge ESC-50, noise, rain and speech made by this module, and recordings of
other machines, each repeated up to 10 s. All at the default threshold; recordings of new machines with a random gain.
Four minutes on two idle cores.
"""

import argparse
import io
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import signal

from benchmarks.detectors.__main__ import SEED
from benchmarks.detectors.rates import fit_context
from benchmarks.detectors.verdicts import (
    Answer,
    answer,
    answers,
    files_in,
    predictor_at,
    share_by_session,
    wav,
)
from cli.progress import show_progress
from ml.dataset.entries import ABNORMAL, NORMAL, Dataset
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.evaluation.results import Estimate
from ml.models.predictor import Predictor
from ml.system.atomic import write_atomic
from ml.system.progress import ProgressCallback
from ml.training.detector_stage import learn_detector

RESULTS = Path(__file__).parents[1] / "results" / "new_machines.json"
FANS = SimulationPlan(machines=4, sessions=2, recordings=5, snr_db=(6.0,), duration_s=4.0)
RATE = 0.01
LABELS = (NORMAL, ABNORMAL)
UNKNOWN = "machine/id_99"  # no dataset has this machine
RATE_HZ, SECONDS, SOUNDS, RMS = 16_000, 10, 20, 0.05
LENGTH_S, MOST = 10, 40  # length of a strange sound, and most recordings of a kind
Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """Shares of each verdict.

    Attributes:
        n: number of recordings.
        normal: share of ``normal``; its interval comes from draws of machines, or of recordings of fewer than three.
        anomalous, unusable: shares of these verdicts.
        why: number of recordings that are not judged, for each reason.
    """

    n: int
    normal: Estimate
    anomalous: float
    unusable: float
    why: dict[str, int]

    @classmethod
    def of(cls, found: Sequence[Answer], machines: Sequence[str]) -> "Shares":
        """Count answers; ``machines`` are those of the recordings."""
        share = {value: sum(each.value == value for each in found) / len(found) for value in ("anomalous", "unusable")}
        normal = share_by_session([each.value == "normal" for each in found], machines)
        return cls(len(found), normal, **share, why=dict(Counter(each.why for each in found if each.why)))

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table."""
        why = ", ".join(f"{why} {count}" for why, count in self.why.items())
        normal = f"{self.normal.value:.2f} [{self.normal.low:.2f}, {self.normal.high:.2f}]"
        return str(self.n), normal, f"{self.anomalous:.2f}", f"{self.unusable:.2f}{f' ({why})' if why else ''}"


def main() -> None:
    """Measure, print two tables, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.new_machines", description=__doc__)
    parser.add_argument("recordings", type=Path, metavar="RECORDINGS")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only-strangers", action="store_true", help="no new machines")
    given = parser.parse_args()
    machines: dict[str, Shares] = {}
    strangers: dict[str, Shares] = {}
    with tempfile.TemporaryDirectory() as folder, show_progress(Console(stderr=True)) as report:
        fans = simulate(Path(folder) / "fans", plan=FANS, seed=SEED, report=report)
        for name, dataset in () if given.only_strangers else halls(given.recordings, fans):
            machines |= {f"{name}, {what}": shares for what, shares in judge_each_machine(dataset, report)}
        for name, snr_db in (("pc_fan", None), ("mimii", -6.0)):
            predictor = default_predictor(index(given.recordings / name, snr_db=snr_db), report)
            for what, shares in judge_strangers(predictor, given.recordings, fans, but=name):
                strangers[f"{name}: {what}"] = shares
    for title, found in (("new machines", machines), ("strangers", strangers)):
        table = Table(title, "n", "normal", "anomalous", "not judged")
        for name, shares in found.items():
            table.add_row(name, *shares.cells())
        Console(width=200).print(table)
    plain = {
        title: {name: asdict(shares) for name, shares in found.items()}
        for title, found in (("new machines", machines), ("strangers", strangers))
    }
    write_atomic(given.output, (json.dumps(plain, indent=1) + "\n").encode())


def halls(recordings: Path, fans: Path) -> Iterator[tuple[str, Dataset]]:
    """Yield datasets of several machines."""
    noisy = index(recordings / "mimii", snr_db=-6.0)
    yield "MIMII -6 dB, 12 machines", noisy
    for kind in sorted({entry.annotation.machine or "" for entry in noisy.entries}):
        yield f"MIMII -6 dB, 3 of type {kind}", _of_type(noisy, kind)
    yield "MIMII 0 dB, 3 of type fan", _of_type(index(recordings / "mimii", snr_db=0.0), "fan")
    yield "simulated fans, 6 dB, 4 machines", index(fans)


def judge_each_machine(dataset: Dataset, report: ProgressCallback) -> Iterator[tuple[str, Shares]]:
    """Judge each machine by a detector of the others."""
    cases: list[tuple[str, str | None]] = [(label, named) for named in (None, UNKNOWN) for label in LABELS]
    found: dict[tuple[str, str | None], list[tuple[Answer, str]]] = {case: [] for case in cases}
    for machine in sorted({entry.machine_name for entry in dataset.entries}):
        others = tuple(entry for entry in dataset.entries if entry.machine_name != machine)
        predictor = default_predictor(replace(dataset, entries=others), report)
        for label, named in found:
            mine = [entry for entry in dataset.entries if entry.machine_name == machine and entry.label == label]
            judged = answers(predictor, dataset, mine, machine=named, report=report)
            found[label, named] += [(each, machine) for each in judged]
    for (label, named), rows in found.items():
        what = "no machine named" if named is None else "unknown machine named"
        yield f"{label}, {what}", Shares.of(*map(list, zip(*rows, strict=True)))


def default_predictor(dataset: Dataset, report: ProgressCallback) -> Predictor:
    """Return a default detector of the normal recordings of a dataset, at the default threshold."""
    normal = [entry for entry in dataset.entries if entry.label == NORMAL]
    context = replace(fit_context(replace(dataset, entries=tuple(normal)), report), processes=1)
    return predictor_at(context, learn_detector(context, normal), RATE)


def judge_strangers(predictor: Predictor, recordings: Path, fans: Path, but: str) -> Iterator[tuple[str, Shares]]:
    """Judge sounds that come from no machine, and recordings of other machines than the detector's."""
    sounds = {"ESC-50": files_in(recordings / "esc50")}
    for number, (name, make) in enumerate(MADE.items()):
        rng = np.random.default_rng([SEED, number])
        sounds[name] = [wav(_at_level(make(rng)), RATE_HZ) for _ in range(SOUNDS)]
    for name, dataset in other_machines(recordings, fans, but):
        for label in LABELS:
            some = [entry for entry in dataset.entries if entry.label == label]
            some = some[:: math.ceil(len(some) / MOST)]
            sounds[f"{name}, {label}"] = [dataset.file(entry).read_bytes() for entry in some]
    for name, files in sounds.items():
        found = [answer(predictor, lengthened(file)) for file in files]
        yield name, Shares.of(found, [str(number) for number in range(len(found))])


def lengthened(sound: bytes) -> bytes:
    """Return a sound that is repeated up to 10 s: otherwise a detector of longer recordings answers ``too_short``."""
    samples, rate_hz = soundfile.read(io.BytesIO(sound), dtype="float64")
    wanted = LENGTH_S * rate_hz
    return wav(np.tile(samples, math.ceil(wanted / len(samples)))[:wanted], rate_hz)


def other_machines(recordings: Path, fans: Path, but: str) -> Iterator[tuple[str, Dataset]]:
    """Yield datasets of other machines than those of ``but``."""
    if but != "pc_fan":
        yield "pc_fan", index(recordings / "pc_fan")
    yield "uav_propeller", index(recordings / "uav_propeller")
    if but != "mimii":
        yield "MIMII -6 dB", index(recordings / "mimii", snr_db=-6.0)
    yield "simulated fans", index(fans)


def white_noise(rng: np.random.Generator) -> Samples:
    """Noise with equal power at all frequencies."""
    return rng.standard_normal(RATE_HZ * SECONDS)


def pink_noise(rng: np.random.Generator) -> Samples:
    """Noise with a power of 1 / f, above 20 Hz."""
    spectrum = np.fft.rfft(white_noise(rng))
    frequency = np.fft.rfftfreq(RATE_HZ * SECONDS, 1 / RATE_HZ)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)))


def rain(rng: np.random.Generator) -> Samples:
    """Noise and drops: 20 to 200 each second, each a tone of 1 to 6 kHz that decays within 2 to 8 ms."""
    samples = 0.3 * white_noise(rng)
    time = np.arange(RATE_HZ // 20) / RATE_HZ
    for _ in range(rng.poisson(rng.uniform(20, 200) * SECONDS)):
        start = int(rng.integers(len(samples) - len(time)))
        tone = np.sin(2 * np.pi * rng.uniform(1000, 6000) * time)
        samples[start : start + len(time)] += rng.lognormal(1.0, 0.7) * tone * np.exp(-time / rng.uniform(0.002, 0.008))
    return samples


def speech(rng: np.random.Generator) -> Samples:
    """Speech-like syllables: pulses of a voice, 80 to 250 Hz, through three formants; noise; and pauses.

    A synthesiser of speech is no part of the tools of this project.
    """
    pitch_hz = rng.uniform(80, 250)
    parts: list[Samples] = []
    while sum(map(len, parts)) < RATE_HZ * SECONDS:
        n = int(RATE_HZ * rng.uniform(0.08, 0.3))
        pitch = pitch_hz * np.linspace(rng.uniform(0.85, 1.2), rng.uniform(0.85, 1.2), n)
        source = np.diff(np.floor(np.cumsum(pitch) / RATE_HZ), prepend=0) + 0.01 * rng.standard_normal(n)
        if rng.random() < 0.25:
            source = 0.1 * signal.lfilter([1, -0.95], [1], rng.standard_normal(n))  # a fricative has no pulses
        for formant, width in zip(rng.uniform((250, 800, 2200), (850, 2300, 3000)), (80, 100, 150), strict=True):
            source = signal.lfilter(*_resonance(formant, width), source)
        parts += [source * np.hanning(n), np.zeros(int(RATE_HZ * rng.choice([0.01, 0.05, 0.3], p=[0.6, 0.3, 0.1])))]
    return np.concatenate(parts)[: RATE_HZ * SECONDS] + 1e-4 * white_noise(rng)


MADE: dict[str, Callable[[np.random.Generator], Samples]] = {
    "white noise": white_noise,
    "pink noise": pink_noise,
    "made rain": rain,
    "made speech": speech,
}


def _resonance(frequency_hz: float, width_hz: float) -> tuple[list[float], list[float]]:
    radius, angle = np.exp(-np.pi * width_hz / RATE_HZ), 2 * np.pi * frequency_hz / RATE_HZ
    return [1 - radius], [1.0, -2 * radius * np.cos(angle), radius**2]


def _at_level(samples: Samples) -> Samples:
    samples = samples / np.sqrt(np.mean(samples**2)) * RMS
    return samples * float(min(1.0, 0.99 / np.abs(samples).max()))


def _of_type(dataset: Dataset, kind: str) -> Dataset:
    return replace(dataset, entries=tuple(e for e in dataset.entries if e.annotation.machine == kind))


if __name__ == "__main__":
    main()
