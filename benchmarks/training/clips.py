"""Recordings to measure with: distinct, made up, in the form that the original's are."""

from pathlib import Path

import numpy as np
import soundfile

from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index


def write_recordings(
    folder: Path, count: int, *, seconds: float = 10.0, channels: int = 8, rate_hz: int = 16_000
) -> Dataset:
    """Write recordings of noise with two tones, 16 bit, and index them. The seed is the recording's number."""
    target = folder / "normal"
    target.mkdir(parents=True)
    time_s = np.arange(int(seconds * rate_hz), dtype=np.float32)[:, None] / rate_hz
    for number in range(count):
        generator = np.random.Generator(np.random.PCG64(number))
        shaft_hz = generator.uniform(20, 60)
        tones = np.sin(2 * np.pi * shaft_hz * time_s) + np.sin(2 * np.pi * 7 * shaft_hz * time_s)
        noise = generator.standard_normal((len(time_s), channels), dtype=np.float32)
        soundfile.write(target / f"{number:08}.wav", 0.02 * tones + 0.02 * noise, rate_hz, "PCM_16")
    return index(folder, processes=1)
