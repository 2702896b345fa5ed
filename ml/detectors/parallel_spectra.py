"""Spectra of recordings on disk, computed in several processes."""

from collections.abc import Sequence
from functools import partial

from ml.audio.batch import AudioFile, map_recordings
from ml.audio.dropouts import kept_samples
from ml.audio.recording import Recording
from ml.detectors.spectra import Spectra, compute_spectra, is_lost, resample_reference
from ml.features.extractor import cached_extractor
from ml.features.spec import FeatureSpec
from ml.system.progress import ProgressCallback, ignore_progress


def parallel_spectra(
    spec: FeatureSpec,
    files: Sequence[AudioFile[None]],
    *,
    cut_by: FeatureSpec | None = None,
    with_frames: bool = True,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> list[tuple[Spectra, ...]]:
    """Compute the spectra of the clips of each recording.

    Args:
        spec: feature spec that the spectra are computed with.
        files: the recordings.
        cut_by: feature spec that cuts the recordings into clips, with the same sample rate; None for ``spec``.
        with_frames: whether the frames are returned too; see :meth:`ml.detectors.spectra.Spectra.without_frames`.
        processes: number of processes; None chooses it by cores and recordings.
        report: called after each recording.

    Returns:
        For each recording the spectra of its clips, in time order.

    Raises:
        AudioError: a recording cannot be read; the message names it.
        OSError: a file is missing.

    Example:
        >>> import io, tempfile, wave
        >>> from pathlib import Path
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with wave.open(f"{folder}/silence.wav", "wb") as file:
        ...         file.setparams((1, 2, 16_000, 0, "NONE", ""))
        ...         file.writeframes(bytes(2 * 16_000))
        ...     [[clip]] = parallel_spectra(spec, [AudioFile(Path(folder, "silence.wav"), None)], processes=1)
        >>> clip.log_mel.shape, clip.power.shape
        ((32, 128), (1025,))
    """
    function = partial(_clip_spectra, spec, cut_by or spec, with_frames)
    return list(
        map_recordings(function, files, channel=spec.used_channels, step="spectra", processes=processes, report=report)
    )


def _clip_spectra(
    spec: FeatureSpec, cut_by: FeatureSpec, with_frames: bool, recording: Recording, _: None
) -> tuple[Spectra, ...]:
    extractor = cached_extractor(spec)
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    kept = kept_samples(recording, len(samples), spec.sample_rate_hz)
    reference = resample_reference(extractor, recording)
    clips = [
        (
            samples[start:stop],
            None if kept is None else kept[start:stop],
            None if reference is None else reference[start:stop],
        )
        for start, stop in cut_by.clip_spans(len(samples))
    ]
    # As in the service: a clip of which too much is missing does not count, unless no clip remains.
    whole = [clip for clip in clips if not is_lost(extractor, clip[1])]
    spectra = (compute_spectra(extractor, *clip) for clip in whole or clips)
    return tuple(clip if with_frames else clip.without_frames() for clip in spectra)
