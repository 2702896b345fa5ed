"""Memory of the feature store, whatever the size of the dataset: ``python -m benchmarks.training.store_memory``.

Recordings of 1 s, so that many fit on a disk; their features are 40 x 433 as a 10 s recording's are.
"""

import argparse
import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.training import clips
from ml.dataset.entries import Dataset
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore, StoredFeatures

INTERVAL_S = 0.05


class MemoryWatch:
    """The largest resident memory, in MB, of this process and of each of those it started, while it is entered."""

    def __init__(self) -> None:
        self.parent_mb = self.child_mb = self.together_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            own = process.memory_info().rss / 1e6
            children = [_rss_mb(child) for child in process.children(recursive=True)]
            self.parent_mb = max(self.parent_mb, own)
            self.child_mb = max(self.child_mb, *children, 0.0)
            self.together_mb = max(self.together_mb, own + sum(children))
            if self._ended.wait(INTERVAL_S):
                return


def _rss_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def measure(count: int, processes: int) -> dict[str, Any]:
    """Extract ``count`` recordings, then read all their features in random order, one at a time."""
    with tempfile.TemporaryDirectory(prefix="signalml-memory-") as folder:
        dataset = clips.write_recordings(Path(folder, "clips"), count, seconds=1.0, channels=1)
        with MemoryWatch() as extracting:
            store = FeatureStore(Path(folder, "features"))
            features = store.extract(dataset, dataset.entries, FeatureSpec.original(), processes=processes)
        with MemoryWatch() as reading:
            _read(features, dataset)
    return {
        "clips": count,
        "processes": processes,
        "extracting": _figures(extracting),
        "reading_mb": round(reading.parent_mb),
    }


def _read(features: StoredFeatures, dataset: Dataset) -> None:
    for position in np.random.Generator(np.random.PCG64(0)).permutation(len(dataset.entries)):
        np.array(features.clips(dataset.entries[position]))


def _figures(watched: MemoryWatch) -> dict[str, int]:
    names = ("parent_mb", "child_mb", "together_mb")
    return {name: round(getattr(watched, name)) for name in names}


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.store_memory", description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.clips, options.processes)))


if __name__ == "__main__":
    main()
