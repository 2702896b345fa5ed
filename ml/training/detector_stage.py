"""Stages of a detector: the fit to normal recordings, and the distances of abnormal recordings."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter

import numpy as np

from ml.audio.batch import AudioFile, map_recordings
from ml.audio.recording import Recording
from ml.dataset.entries import ABNORMAL, NORMAL, Entry
from ml.dataset.indexing.listing import natural_key
from ml.detectors.detector import Detector, Novelty
from ml.detectors.engines.engine import Engine
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.lossy_coding import hole_share
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording, robust_minimum
from ml.detectors.spectra import Spectra
from ml.errors import ReferenceChannelMissing
from ml.features.extractor import cached_extractor
from ml.features.feature_specs import detector_spec
from ml.features.spec import FeatureSpec
from ml.system.progress import Progress
from ml.training.context import TrainingContext

FITTING = "detector"
MOST_WITH_HOLES = 10  # normal recordings that are searched for holes; chosen here
# A recording farther from normal than this multiple of the farthest known fault is no known fault (decision 14).
NAMED_DISTANCE_FACTOR = 1.5
RELATIVE_DISTANCE = attrgetter("relative_distance")
MeasuredRecording = tuple[Entry, Novelty]
"""A recording, and the result of the clip that is farthest from normal."""


def learn_detector(context: TrainingContext, entries: Sequence[Entry]) -> Detector:
    """Fit a detector to the normal recordings among ``entries``.

    Raises:
        TooFewRecordings: fewer than three normal recordings with sound, or no two of one machine.
        ReferenceChannelMissing: most of them have no reference channel with sound.
        AudioError: a recording can no longer be decoded; the message has its path.
    """
    spec = detector_spec(context.spec)
    engines = [engine_by_name(name) for name in context.options.engine_names]
    recordings = [
        NormalRecording(
            clips=clips,
            machine=entry.machine_name,
            session=entry.session,
            name=entry.path,
            level_dbfs=entry.info.level_dbfs,
            clipped_share=entry.info.clipped_share,
        )
        for entry, clips in _spectra(context, spec, engines, entries, NORMAL)
    ]
    if spec.reference_channel is not None:
        recordings = _with_reference(recordings, spec.reference_channel)
    detector = fit_detector(spec, engines, recordings, lambda done, fits: context.report(Progress(FITTING, done, fits)))
    return replace(
        detector, reference=replace(detector.reference, hole_share=_usual_hole_share(context, spec, entries))
    )


def _with_reference(recordings: Sequence[NormalRecording], channel: int) -> list[NormalRecording]:
    """Return the recordings whose reference channel has sound; a few without it are left out."""
    found = [each for each in recordings if all(clip.reference is not None for clip in each.clips)]
    if 2 * len(found) >= len(recordings):
        return found
    raise ReferenceChannelMissing(
        f"{len(recordings) - len(found)} of {len(recordings)} normal recordings have no channel {channel} (counted "
        "from 0) with an unclipped sound of its own, which the reference channel was expected to have. Check which "
        "channels the recordings have (signalml inspect), or train without a reference channel."
    )


def _usual_hole_share(context: TrainingContext, spec: FeatureSpec, entries: Sequence[Entry]) -> float:
    """Return the share of holes that nine of ten normal recordings do not exceed, from at most 10 of them."""
    normal = normal_with_sound(entries)
    chosen = normal[:: math.ceil(len(normal) / MOST_WITH_HOLES)]
    files = [AudioFile(context.dataset.file(entry), None, entry.path) for entry in chosen]
    shares = map_recordings(
        partial(_hole_share, spec), files, channel=spec.used_channels, step=FITTING, processes=context.processes
    )
    return float(-robust_minimum(-np.array(list(shares))))


def _hole_share(spec: FeatureSpec, recording: Recording, _: None) -> float:
    samples = cached_extractor(spec).resample(recording.samples, recording.sample_rate_hz)
    # One clip is enough, and an hour would take too much memory.
    return hole_share(samples[: spec.clip_samples], spec)


def measure_abnormal(context: TrainingContext, detector: Detector, entries: Sequence[Entry]) -> list[MeasuredRecording]:
    """Measure the abnormal recordings among ``entries``. The clip farthest from normal counts.

    Raises:
        AudioError: a recording can no longer be decoded; the message has its path.
    """
    return [
        (entry, max((detector.measure(clip, entry.machine_name) for clip in clips), key=RELATIVE_DISTANCE))
        for entry, clips in _spectra(context, detector.spec, detector.engines, entries, ABNORMAL)
    ]


def _spectra(
    context: TrainingContext, spec: FeatureSpec, engines: Sequence[Engine], entries: Sequence[Entry], label: str
) -> Iterator[tuple[Entry, tuple[Spectra, ...]]]:
    """Return the recordings with this label that are not silent, each with its spectra."""
    chosen = _with_sound(entries, label)
    sources = [AudioFile(context.dataset.file(entry), None, entry.path) for entry in chosen]
    clips = parallel_spectra(
        spec,
        sources,
        cut_by=context.spec,
        with_frames=any(engine.needs_frames for engine in engines),
        processes=context.processes,
        report=context.report,
    )
    return zip(chosen, clips, strict=True)


def normal_with_sound(entries: Iterable[Entry]) -> list[Entry]:
    """Return the recordings among ``entries`` that a detector learns from, in the order in which they were made."""
    return _with_sound(entries, NORMAL)


def _with_sound(entries: Iterable[Entry], label: str) -> list[Entry]:
    return in_recording_order([entry for entry in entries if entry.label == label and has_sound(entry)])


def max_named_distance(faults: Iterable[MeasuredRecording]) -> float:
    """Return the score, 0 to 1, at 1.5 times the largest relative distance of ``faults``; 0 for none."""
    found = max((novelty for _, novelty in faults), key=RELATIVE_DISTANCE, default=None)
    return (
        0.0
        if found is None
        else replace(found, relative_distance=NAMED_DISTANCE_FACTOR * found.relative_distance).score
    )


def has_sound(entry: Entry) -> bool:
    """Whether a recording has a level: the mean of its channels is not zero throughout."""
    return entry.info.level_dbfs is not None


def in_recording_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort recordings by time, as their names state it. Neighbours in time are then held out together.

    SNR versions of a machine contain the same recordings. They are placed next to each other, by their position among
    the recordings of their SNR, so that they are held out together. Exceptions: SNRs with different recordings, and the
    at most four recordings of a machine whose versions are on both sides of a border between two time folds.
    """
    in_order = sorted(entries, key=lambda entry: natural_key(entry.path))
    versions: defaultdict[tuple[str, float | None], list[Entry]] = defaultdict(list)
    for entry in in_order:
        versions[entry.machine_name, entry.annotation.snr_db].append(entry)
    if len(versions) == len({machine for machine, _ in versions}):
        return in_order
    position = {entry.path: number / len(some) for some in versions.values() for number, entry in enumerate(some)}
    return sorted(in_order, key=lambda entry: position[entry.path])


def count_by_machine(entries: Iterable[Entry]) -> dict[str, int]:
    """Count the normal recordings of each machine that are not silent, for the card."""
    names = (entry.machine_name or "unnamed" for entry in entries if entry.label == NORMAL and has_sound(entry))
    return dict(Counter(names))
