"""Recordings on disk -> what a detector hears of them, in as many processes as are worth it."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ml.audio.decode import decode
from ml.detectors.spectra import Heard, hear
from ml.errors import AudioError
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.system.parallel import ordered_map
from ml.system.progress import Report, silent


class Source(NamedTuple):
    """A recording: its file, how an error names it, and the gain to hear it with, in dB."""

    file: Path
    name: str
    gain_db: float = 0.0


def listen(
    spec: FeatureSpec,
    sources: Sequence[Source],
    *,
    cut_by: FeatureSpec | None = None,
    processes: int | None = None,
    report: Report = silent,
) -> list[tuple[Heard, ...]]:
    """The windows of each recording.

    Args:
        spec: how they are heard.
        sources: the recordings.
        cut_by: what cuts them into windows, of the same sample rate; None for ``spec`` itself.
        processes: how many; None decides by cores and recordings.
        report: told after each recording.

    Raises:
        AudioError: a recording cannot be read, with its name.
        OSError: a file is not there any more.
    """
    windows = partial(_windows, spec, cut_by or spec)
    # BLAS sums in another order with more threads: the same bits, whatever the number of processes.
    with threadpool_limits(1):
        return list(ordered_map(windows, sources, step="listening", processes=processes, report=report))


def _windows(spec: FeatureSpec, cut_by: FeatureSpec, source: Source) -> tuple[Heard, ...]:
    try:
        recording = decode(source.file, channel=spec.channel)
    except AudioError as error:
        raise type(error)(f"{source.name}: {error}") from error
    extractor = _extractor(spec)
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    samples = samples * np.float32(10 ** (source.gain_db / 20))
    return tuple(hear(extractor, samples[start:stop]) for start, stop in cut_by.windows(len(samples)))


@lru_cache(maxsize=2)
def _extractor(spec: FeatureSpec) -> FeatureExtractor:
    return FeatureExtractor(spec)
