"""Homes to work in. Broker and workers are those of :mod:`testing.jobs`."""

from pathlib import Path

from benchmarks.training import clips
from ml.dataset.paths import dataset_folder
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr

DATASET = "clips"


def add_recordings(home: Path, count: int, seconds: float = 1.0) -> Path:
    """A home with a dataset of so many recordings of one channel at 16 kHz."""
    clips.write_recordings(dataset_folder(home, DATASET), count, seconds=seconds, channels=1)
    return home


def add_model(home: Path) -> Path:
    """The same home, with a network of the original's form and random weights as its champion."""
    home.mkdir(parents=True, exist_ok=True)
    registry = Registry(home)
    with quiet_native_stderr():
        # Late: whoever needs no model does without TensorFlow.
        from ml.models.import_original import import_original
        from testing import keras2

        registry.promote(import_original(keras2.write(home / "original.hdf5"), registry))
    return home
