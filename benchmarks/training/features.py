"""Features of recordings and three augmented copies of each: the original's way beside this project's, one core each.

The original's way is written afresh: each variant is loaded anew with librosa, changed, turned into MFCCs, padded, and
kept in a Python list.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.features.augmentation import Augmentation
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore

RATE_HZ = 22_050
FRAMES = 433
TARGET = 6.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def original(dataset: Dataset, _: Path) -> None:
    """The original's way; everything stays in memory."""
    import librosa

    generator = np.random.default_rng(0)
    changes: tuple[Callable[[NDArray[np.float32]], NDArray[Any]], ...] = (
        lambda samples: samples,
        lambda samples: samples + 0.005 * generator.standard_normal(len(samples)),
        lambda samples: np.roll(samples, 1600),
        lambda samples: librosa.effects.time_stretch(samples, rate=1.05),
    )
    features = []
    for change in changes:
        for entry in dataset.entries:
            samples, rate_hz = librosa.load(dataset.file(entry), sr=RATE_HZ, res_type="kaiser_fast")
            mfcc = librosa.feature.mfcc(y=change(samples), sr=rate_hz, n_mfcc=40)
            features.append(_fitted(mfcc).tolist())


def _fitted(mfcc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two frames of zeros, then as many of the last frames again as are missing."""
    with_silence = np.pad(mfcc, ((0, 0), (0, 2)))[:, :FRAMES]
    missing = FRAMES - with_silence.shape[1]
    return np.hstack([with_silence, with_silence[:, with_silence.shape[1] - missing :]])


def signalml(dataset: Dataset, folder: Path) -> None:
    """This project's way, onto a disk."""
    FeatureStore(folder).extract(dataset, dataset.entries, FeatureSpec.original(), Augmentation.original(), processes=1)


WAYS = {"original": original, "signalml": signalml}


def measure(source: Path, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Both ways in turn, each in a process of its own with one thread, started anew each time.

    Args:
        source: a folder of recordings.
        rounds: how often each is measured.
        say: told what is being done.
    """
    times_s: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            say(f"features, round {number + 1}: {way}")
            times_s[way].append(_timed(way, source))
    ratios = [theirs / ours for theirs, ours in zip(times_s["original"], times_s["signalml"], strict=True)]
    return {
        "recordings": len(index(source, processes=1).entries),
        "variants": 4,
        "seconds": times_s,
        "ratio": {"median": median(ratios), "worst": min(ratios), "best": max(ratios)},
        "target": TARGET,
        "met": median(ratios) >= TARGET,
    }


def _timed(way: str, source: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.training.features", way, str(source.resolve())]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """In the process that is measured: warm up on one recording, then print the seconds for all."""
    way, source = WAYS[sys.argv[1]], Path(sys.argv[2])
    dataset = index(source, processes=1)
    folder = source.parent / "features"
    first = Dataset(dataset.name, dataset.root, dataset.layout, dataset.entries[:1], (), explicit_sessions=False)
    way(first, folder / "warm")
    started = time.perf_counter()
    way(dataset, folder / "measured")
    print(time.perf_counter() - started)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
