"""Choice of a reference channel before a training: how much each channel of a dataset would bring.

Each channel is taken as reference once, with the mean of the others as main channel. A default detector learns from
some normal recordings, and decides as in a training whether the reference helps: on recordings that nothing has learned
from, and without abnormal ones.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml.audio.batch import AudioFile
from ml.dataset.entries import Dataset, Entry
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector, has_enough_recordings
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.detectors.reference_benefit import ReferenceBenefit
from ml.detectors.reference_channel import reference_of
from ml.features.feature_specs import detector_spec, spec_for
from ml.system.parallel import one_blas_thread
from ml.system.progress import ProgressCallback, ignore_progress
from ml.training.detector_stage import normal_with_sound

# All chosen here. With 8 channels, 24 recordings of 10 s take about 5 s on two busy cores.
MOST_CHANNELS = 8
FEWEST_RECORDINGS = 12
MOST_RECORDINGS, FEWEST_OF_MANY_CHANNELS = 48, 24
MOST_CHANNEL_RECORDINGS = 96
NOT_MEASURED = "too few recordings have a sound on it and a different one on another channel"


@dataclass(frozen=True, slots=True)
class ReferenceChoice:
    """A channel as reference, and the mean of the others as main channel.

    Attributes:
        channel: index of the reference channel, from 0.
        benefit: how much it helps; None if too few recordings have a sound on it and a different one on
            another channel.
        level_db: level of the reference channel minus that of the main channel in dB, the median of the recordings;
            None if they were not measured.
    """

    channel: int
    benefit: ReferenceBenefit | None = None
    level_db: float | None = None

    @property
    def why_not(self) -> str | None:
        """Why it is no reference, as a clause after "because"; None if it helps."""
        return NOT_MEASURED if self.benefit is None else self.benefit.why_not

    @property
    def rank(self) -> tuple[bool, float]:
        """The larger, the better: it helps, and the residual tells the machines apart, or else explains much."""
        if self.benefit is None:
            return False, -np.inf
        contrast = self.benefit.pair_contrast
        return self.benefit.helps, self.benefit.explained if contrast is None else contrast


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """How much each channel of a dataset would bring as reference.

    Attributes:
        channels: number of channels of the recordings.
        recordings: number of normal recordings that were measured.
        choices: the channels, the best reference first; empty if they were not measured.
        refused: why they were not measured, a sentence; None if they were.
    """

    channels: int
    recordings: int
    choices: tuple[ReferenceChoice, ...] = ()
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with what follows from the benefit."""
        choices = [asdict(each) | {"helps": each.why_not is None, "why_not": each.why_not} for each in self.choices]
        return asdict(self) | {"choices": choices}


def compare_reference_channels(
    dataset: Dataset, *, processes: int | None = None, report: ProgressCallback = ignore_progress
) -> ReferenceComparison | None:
    """Measure how much each channel would bring as reference.

    Args:
        dataset: the dataset.
        processes: number of processes; None chooses it by cores and recordings.
        report: called after each recording of each choice.

    Returns:
        None if no normal recording has two channels.

    Raises:
        AudioError: a recording can no longer be decoded; the message has its path.
        OSError: a file is missing.
    """
    normal = [entry for entry in normal_with_sound(dataset.entries) if entry.info.channels > 1]
    if not normal:
        return None
    channels = statistics.mode(entry.info.channels for entry in normal)
    normal = [entry for entry in normal if entry.info.channels == channels]
    if refused := _why_not_measured(channels, normal):
        return ReferenceComparison(channels, len(normal), refused=refused)
    most = min(MOST_RECORDINGS, max(FEWEST_OF_MANY_CHANNELS, MOST_CHANNEL_RECORDINGS // channels))
    taken = _evenly_taken(normal, most)
    with one_blas_thread():
        choices = [_measure(dataset, taken, channel, processes, report) for channel in range(channels)]
    choices.sort(key=lambda choice: choice.rank, reverse=True)
    return ReferenceComparison(channels, len(taken), tuple(choices))


def _why_not_measured(channels: int, normal: Sequence[Entry]) -> str | None:
    if channels > MOST_CHANNELS:
        return f"The recordings have {channels} channels; at most {MOST_CHANNELS} are compared."
    if len(normal) < FEWEST_RECORDINGS or not has_enough_recordings([entry.machine_name for entry in normal]):
        return (
            f"{len(normal)} normal recordings with {channels} channels; at least {FEWEST_RECORDINGS}, two of them of "
            "one machine, are needed to compare the channels."
        )
    return None


def _evenly_taken(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return about ``most`` recordings, of each machine as many, from its first to its last; at least two of each."""
    by_machine: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_machine[entry.machine_name].append(entry)
    each = max(2, most // len(by_machine))
    return [
        some[round(place)]
        for some in by_machine.values()
        for place in np.linspace(0, len(some) - 1, min(each, len(some)))
    ]


def _measure(
    dataset: Dataset, entries: Sequence[Entry], channel: int, processes: int | None, report: ProgressCallback
) -> ReferenceChoice:
    spec = detector_spec(spec_for(entries, "spectrum", reference_channel=channel))
    files = [AudioFile(dataset.file(entry), None, entry.path) for entry in entries]
    spectra = parallel_spectra(spec, files, with_frames=False, processes=processes, report=report)
    recordings = [
        NormalRecording(clips, entry.machine_name, entry.session, entry.path)
        for entry, clips in zip(entries, spectra, strict=True)
        if all(clip.reference is not None and clip.power.any() for clip in clips)
    ]
    if len(recordings) < len(entries) / 2 or not has_enough_recordings([each.machine for each in recordings]):
        return ReferenceChoice(channel)
    detector = fit_detector(spec, [engine_by_name(name) for name in DEFAULT_ENGINES], recordings)
    levels_db = [_level_db(recording) for recording in recordings]
    return ReferenceChoice(channel, detector.benefit, statistics.median(levels_db))


def _level_db(recording: NormalRecording) -> float:
    """Return the level of the reference channel minus that of the main channel, in dB."""
    main = sum(float(clip.power.sum()) for clip in recording.clips)
    reference = sum(float(reference_of(clip).power.sum()) for clip in recording.clips)
    return 10 * float(np.log10(reference / main))
