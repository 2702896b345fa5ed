"""Recordings on disk -> the spectra that detectors compare, in as many processes as are worth it."""

from collections.abc import Sequence
from functools import partial

from ml.audio.batch import AudioFile, map_recordings
from ml.audio.recording import Recording
from ml.detectors.spectra import Spectra, compute_spectra
from ml.features.extractor import cached_extractor
from ml.features.spec import FeatureSpec
from ml.system.progress import ProgressCallback, ignore_progress


def parallel_spectra(
    spec: FeatureSpec,
    files: Sequence[AudioFile[None]],
    *,
    cut_by: FeatureSpec | None = None,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> list[tuple[Spectra, ...]]:
    """The spectra of the clips of each recording.

    Args:
        spec: how spectra are computed.
        files: the recordings.
        cut_by: the spec that cuts recordings into clips, of the same sample rate; None for ``spec`` itself.
        processes: how many; None decides by cores and recordings.
        report: told after each recording.

    Returns:
        For each recording the spectra of its clips, in time order.

    Raises:
        AudioError: a recording cannot be read, with its name.
        OSError: a file is not there any more.
    """
    function = partial(_clip_spectra, spec, cut_by or spec)
    return list(
        map_recordings(function, files, channel=spec.channel, step="spectra", processes=processes, report=report)
    )


def _clip_spectra(spec: FeatureSpec, cut_by: FeatureSpec, recording: Recording, _: None) -> tuple[Spectra, ...]:
    extractor = cached_extractor(spec)
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    return tuple(compute_spectra(extractor, samples[start:stop]) for start, stop in cut_by.clip_spans(len(samples)))
