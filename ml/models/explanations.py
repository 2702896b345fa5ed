"""Why a classifier gave its score: which frequencies the score depends on.

A detector explains itself by its deviations from normal sound, see :mod:`ml.detectors.reference`.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import Recording
from ml.models.predictor import Predictor
from ml.models.verdict import ClipResult


@dataclass(frozen=True, slots=True)
class OcclusionBand:
    """A band of frequencies and what the score loses without it.

    Attributes:
        low_hz, high_hz: the band.
        score_drop: up to 1; negative where the band lowers the score.
    """

    low_hz: float
    high_hz: float
    score_drop: float


def occlusion_bands(
    predictor: Predictor, recording: Recording, result: ClipResult, count: int = 8
) -> tuple[OcclusionBand, ...]:
    """Which frequencies the score of a clip depends on, found by occlusion (Zeiler and Fergus, ECCV 2014).

    The mel range is divided into ``count`` equal parts. In each in turn, and in every frame, the levels are replaced by
    a straight line between the bands on either side: the details of the part are removed, its loudness is kept. The
    band's share is what the score then loses. Mel filters overlap, so neighbours share their edges; a saturated score
    may depend on no single band.

    Args:
        predictor: the model.
        recording: decoded for this model.
        result: of one of the recording's clips.
        count: parts of the mel range.

    Returns:
        The bands, the one with the largest drop first; none where there is a detector, whose deviations show more in a
        tenth of the time. Costs as much as ``count`` runs of the network.
    """
    if predictor.detector is not None or result.classifier_score is None:
        return ()
    extractor = predictor.extractor
    rate_hz = extractor.spec.sample_rate_hz
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    log_mel = extractor.log_mel(samples[round(result.start_s * rate_hz) : round(result.end_s * rate_hz)])
    edges_hz = np.minimum(extractor.band_edges_hz, recording.sample_rate_hz / 2)
    borders = np.linspace(0, log_mel.shape[1], count + 1).astype(int)
    bands = []
    for low, high in pairwise(borders):
        # No mel bands, or none below the end of the recording's spectrum.
        if low == high or edges_hz[low] == edges_hz[high + 1]:
            continue
        occluded = log_mel.copy()
        occluded[:, low:high] = _bridge(log_mel, int(low), int(high))
        drop = result.classifier_score - predictor.classifier_score(predictor.probabilities(occluded))
        bands.append(OcclusionBand(float(edges_hz[low]), float(edges_hz[high + 1]), drop))
    return tuple(sorted(bands, key=lambda band: -band.score_drop))


def _bridge(log_mel: NDArray[np.float32], low: int, high: int) -> NDArray[np.float32]:
    """A straight line over mel bands ``low`` to ``high`` in each frame, level where one side has no neighbour."""
    last = log_mel.shape[1] - 1
    left = log_mel[:, [low - 1 if low > 0 else min(high, last)]]
    right = log_mel[:, [high if high <= last else max(low - 1, 0)]]
    position = np.linspace(0, 1, high - low + 2, dtype=np.float32)[1:-1]
    return np.asarray(left + (right - left) * position, np.float32)
