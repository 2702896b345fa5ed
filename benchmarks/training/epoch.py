"""One epoch of the original's network: its way, this project's, and the floor under both.

original  ``model.fit`` on one array in memory, batches of 256, as the original's notebook did
signalml  the fit's own step, fed from features on disk
floor     the same step, as often, on batches that lie in memory ready made: what the hardware allows
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.training import clips
from ml.classifier.recipe import Recipe
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore
from ml.training.clips import make_clips

TARGET = 1.5
NEAR_FLOOR = 1.1
CLASSES = 4


def original(dataset: Dataset, folder: Path) -> Callable[[], object]:
    """The original's way. Its features are read beforehand: what they take is measured elsewhere."""
    import keras

    from ml.classifier import network

    windows, recipe = _windows(dataset, folder), Recipe.original()
    features = windows.batch(np.arange(len(windows)), np.zeros(len(windows), np.int64))
    labels = keras.utils.to_categorical(windows.labels, CLASSES)
    model = network.build(recipe.network, features.shape[1:3], CLASSES)
    model.compile(keras.optimizers.Adam(recipe.learning_rate), "categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(features, labels, batch_size=recipe.batch, epochs=1, verbose=0)


def signalml(dataset: Dataset, folder: Path) -> Callable[[], object]:
    """This project's way."""
    from ml.classifier import fitting

    work = fitting._FittingRun(Recipe.original(), _windows(dataset, folder), CLASSES, folder / "none", "benchmark")
    return lambda: work.epoch(lambda: (None, None), 1)


def floor(dataset: Dataset, folder: Path) -> Callable[[], object]:
    """This project's step without anything to read."""
    from ml.classifier import fitting

    work = fitting._FittingRun(Recipe.original(), _windows(dataset, folder), CLASSES, folder / "none", "benchmark")
    work._batches = itertools.cycle(list(itertools.islice(work._batches, work._steps)))
    return lambda: work.epoch(lambda: (None, None), 1)


WAYS = {"original": original, "signalml": signalml, "floor": floor}


def _windows(dataset: Dataset, folder: Path) -> Any:
    features = FeatureStore(folder).extract(dataset, dataset.entries, FeatureSpec.original())
    classes = {entry.path: number % CLASSES for number, entry in enumerate(dataset.entries)}
    return make_clips(dataset.entries, classes, features, augmented=False)


def measure(windows: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All ways in turn, each in a process of its own with all cores.

    Args:
        windows: of 40 x 433.
        rounds: how often each is measured.
        say: told what is being done.
    """
    times_s: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="signalml-epoch-") as folder:
        _windows(
            clips.write_recordings(Path(folder, "clips"), windows, seconds=1.0, channels=1), Path(folder, "features")
        )
        for number in range(rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                say(f"epoch, round {number + 1}: {way}")
                times_s[way].append(_timed(way, Path(folder)))
    ratios, over = (
        _ratios(times_s[one], times_s[other]) for one, other in (("original", "signalml"), ("signalml", "floor"))
    )
    met = ratios["median"] >= TARGET or over["median"] <= NEAR_FLOOR
    return {"windows": windows, "seconds": times_s, "ratio": ratios, "over_floor": over, "target": TARGET, "met": met}


def _ratios(one: list[float], other: list[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _timed(way: str, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.training.epoch", way, str(folder)]
    done = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """In the process that is measured: one epoch to warm up, then print the seconds of the next."""
    way, folder = WAYS[sys.argv[1]], Path(sys.argv[2])
    epoch = way(index(folder / "clips", processes=1), folder / "features")
    epoch()
    started = time.perf_counter()
    epoch()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
