"""What the report of a training has on the reference channel."""

from collections.abc import Iterator

import numpy as np

from ml.audio.batch import AudioFile
from ml.dataset.entries import ABNORMAL, NORMAL
from ml.detectors.detector import Detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.features.mel import mel_edges
from ml.reports.facts import HallExample, ReferenceFacts
from ml.training.context import TrainingContext
from ml.training.served_result import ScoredRecording, ServedResult


def describe_reference(
    context: TrainingContext, detector: Detector | None, outlook: ServedResult
) -> ReferenceFacts | None:
    """Return the facts of the reference channel, with examples of both labels; None without one.

    Args:
        context: the training.
        detector: the served detector.
        outlook: what to expect of the served model, with the recordings.

    Raises:
        AudioError: a recording can no longer be decoded; the message has its path.
    """
    if detector is None or detector.benefit is None or detector.spec.reference_channel is None:
        return None
    return ReferenceFacts(
        sentence=detector.benefit.describe(detector.spec.reference_channel),
        # Band i has the edges i and i + 2.
        centres_hz=np.asarray(mel_edges(detector.spec)[1:-1]),
        examples=() if detector.pair is None else tuple(_examples(context, detector, outlook)),
    )


def _examples(context: TrainingContext, detector: Detector, outlook: ServedResult) -> Iterator[HallExample]:
    """Yield the recordings with the median score of each label whose reference can be used."""
    for label in (NORMAL, ABNORMAL):
        some = sorted((each for each in outlook.recordings if each.label == label), key=lambda each: each.score)
        # The nearest to the median first: the reference of a few recordings is missing, dead or disturbed.
        for each in sorted(some, key=lambda one: abs(some.index(one) - len(some) // 2))[:3]:
            example = _example(context, detector, each)
            if example is not None:
                yield example
                break


def _example(context: TrainingContext, detector: Detector, scored: ScoredRecording) -> HallExample | None:
    entry, pair = scored.entry, detector.pair
    file = AudioFile(context.dataset.file(entry), None, entry.path)
    (clips,) = parallel_spectra(detector.spec, [file], cut_by=context.spec, with_frames=False, processes=1)
    clip = max(clips, key=lambda each: detector.measure(each, entry.machine_name).relative_distance)
    known = detector.resolve_machine(entry.machine_name)
    if pair is None or known is None or clip.reference is None or detector.is_disturbed(clip, known):
        return None
    machine = detector.machines.index(known)
    main_db = np.asarray(clip.mel_spectrum - detector.reference.centres[machine], np.float64)
    caption = f"{entry.path}{f', {entry.annotation.fault}' if entry.annotation.fault else ''}: score {scored.score:.3f}"
    hall_db = pair.regression.explained(clip, machine, "mel_spectrum")
    return HallExample(scored.label, caption, main_db, main_db - hall_db)
