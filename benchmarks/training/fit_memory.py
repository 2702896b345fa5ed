"""Memory of a whole fit, TensorFlow included: ``python -m benchmarks.training.fit_memory --clips 20000``.

Recordings of 1 s; features of 40 x 433, as a 10 s recording's are. Extracted in processes, then fitted to from disk.
Beside it, ``--way original``: the features as lists of Python lists, made one array, given to ``model.fit``.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training import clips
from benchmarks.training.store_memory import MemoryWatch
from ml.classifier.recipe import Recipe
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore
from ml.training.clips import make_clips

CLASSES = 4
SHAPE = (40, 433)


def signalml(count: int, epochs: int, folder: Path) -> MemoryWatch:
    """Extract in two processes, fit, validate on one window in twenty."""
    dataset = clips.write_recordings(folder / "clips", count, seconds=1.0, channels=1)
    with MemoryWatch() as watched:
        from ml.classifier.fitting import fit_network

        features = FeatureStore(folder / "features").extract(
            dataset, dataset.entries, FeatureSpec.original(), processes=2
        )
        classes = {entry.path: number % CLASSES for number, entry in enumerate(dataset.entries)}
        held_out = count // 20
        train, validation = (
            make_clips(entries, classes, features, augmented=False)
            for entries in (dataset.entries[held_out:], dataset.entries[:held_out])
        )
        fit_network(Recipe.original().with_epochs(epochs), train, validation, CLASSES, folder / "checkpoint")
    return watched


def original(count: int, epochs: int, _: Path) -> MemoryWatch:
    """Lists of lists, then an array of them, as the original's ``tolist()`` and ``np.array`` do."""
    with MemoryWatch() as watched:
        import keras

        from ml.classifier import network

        generator = np.random.Generator(np.random.PCG64(0))
        lists = [generator.standard_normal(SHAPE, dtype=np.float32).tolist() for _ in range(count)]
        features = np.array(lists)[..., None]
        labels = keras.utils.to_categorical(np.arange(count) % CLASSES, CLASSES)
        model = network.build(Recipe.original().network, SHAPE, CLASSES)
        model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
        model.fit(features, labels, batch_size=256, epochs=epochs, verbose=0)
    return watched


WAYS = {"signalml": signalml, "original": original}


def measure(way: str, count: int, epochs: int) -> dict[str, Any]:
    """Peak resident memory in MB, of this process and of it with all it started."""
    with tempfile.TemporaryDirectory(prefix="signalml-memory-") as folder:
        watched = WAYS[way](count, epochs, Path(folder))
    together_mb = round(watched.together_mb)
    parent_mb = round(watched.parent_mb)
    return {"way": way, "clips": count, "epochs": epochs, "parent_mb": parent_mb, "together_mb": together_mb}


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.fit_memory", description=__doc__)
    parser.add_argument("--way", choices=list(WAYS), default="signalml")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.way, options.clips, options.epochs)))


if __name__ == "__main__":
    main()
