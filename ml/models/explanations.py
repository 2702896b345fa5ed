"""Explanation of a classifier's score: the frequency bands that it depends on.

The explanation of a detector is its deviations from normal recordings, see :mod:`ml.detectors.reference`.
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
    """Frequency band, and the drop of the score without it.

    Attributes:
        low_hz, high_hz: limits of the band.
        score_drop: drop of the score, up to 1; negative if the band lowers the score.
    """

    low_hz: float
    high_hz: float
    score_drop: float


def occlusion_bands(
    predictor: Predictor, recording: Recording, result: ClipResult, count: int = 8
) -> tuple[OcclusionBand, ...]:
    """Return the frequency bands that a clip's score depends on, by occlusion.

    The method is from Zeiler and Fergus, ECCV 2014. The mel range is divided into ``count`` equal parts. Each part is
    smoothed in turn: in every frame, a straight line between its neighbouring bands replaces its levels. This removes
    the details of the part, but keeps its loudness. The result is the drop of the score. Mel filters overlap, so
    neighbouring bands overlap too. A saturated score may depend on no single band. The cost is ``count`` runs of the
    network.

    Args:
        predictor: the model.
        recording: recording, decoded for this model.
        result: result of one clip of the recording.
        count: number of parts of the mel range.

    Returns:
        The bands, largest drop first; none with a detector, whose deviations show more in a tenth of the time.
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
        # The part has no mel bands, or only bands above the recording's highest frequency.
        if low == high or edges_hz[low] == edges_hz[high + 1]:
            continue
        occluded = log_mel.copy()
        occluded[:, low:high] = _bridge(log_mel, int(low), int(high))
        drop = result.classifier_score - predictor.classifier_score(predictor.probabilities(occluded))
        bands.append(OcclusionBand(float(edges_hz[low]), float(edges_hz[high + 1]), drop))
    return tuple(sorted(bands, key=lambda band: -band.score_drop))


def _bridge(log_mel: NDArray[np.float32], low: int, high: int) -> NDArray[np.float32]:
    """Return a straight line over mel bands ``low`` to ``high`` of each frame; flat without a neighbour."""
    last = log_mel.shape[1] - 1
    left = log_mel[:, [low - 1 if low > 0 else min(high, last)]]
    right = log_mel[:, [high if high <= last else max(low - 1, 0)]]
    position = np.linspace(0, 1, high - low + 2, dtype=np.float32)[1:-1]
    return np.asarray(left + (right - left) * position, np.float32)
