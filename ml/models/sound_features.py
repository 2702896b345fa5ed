"""What a model computes of a recording, small enough for a picture: its mel spectrogram and the waveform."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import Recording
from ml.models.predictor import Predictor

MOST_COLUMNS = 1000
# Chosen here: levels go from the quietest hundredth, at most 70 dB below the loudest point, to this point.
QUIETEST_PERCENT, MOST_DB, LEAST_DB = 1, 70.0, 1.0
HIGHEST_LEVEL, FULL_SCALE = 255, 127


class SoundFeatures(NamedTuple):
    """Spectrogram and waveform of a recording.

    Attributes:
        duration_s: length of the recording, in seconds.
        levels: uint8 ``(bands, columns)``, the lowest band first: 0 is ``low_db`` and 255 is ``high_db``. Each is the
            highest level of the frames of its column.
        low_db, high_db: the levels in dB relative to a power of 1, as recorded.
        band_edges_hz: float64 ``(bands + 2,)``: band ``b`` rises from edge ``b`` to ``b + 1`` and falls to ``b + 2``.
        waveform: int8 ``(columns, 2)``: lowest and highest sample of each column; 127 is full scale.
    """

    duration_s: float
    levels: NDArray[np.uint8]
    low_db: float
    high_db: float
    band_edges_hz: NDArray[np.float64]
    waveform: NDArray[np.int8]


def compute_sound_features(
    predictor: Predictor, recording: Recording, most_columns: int = MOST_COLUMNS
) -> SoundFeatures:
    """Compute the features of a recording that the model judges by.

    Args:
        predictor: model, whose detector's features are used, or those of its classifier without a detector.
        recording: recording, decoded for this model.
        most_columns: largest number of columns, at least 1.
    """
    extractor = predictor.extractor if predictor.detector is None else predictor.detector.extractor
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    log_mel = _highest_of_columns(extractor.log_mel_and_power(samples)[0], most_columns)
    low = max(float(log_mel.max()) - MOST_DB, float(np.percentile(log_mel, QUIETEST_PERCENT)))
    high = max(float(log_mel.max()), low + LEAST_DB)
    share = np.clip((log_mel - low) / (high - low), 0, 1)
    return SoundFeatures(
        duration_s=recording.quality.duration_s,
        levels=np.ascontiguousarray(np.rint(share * HIGHEST_LEVEL).astype(np.uint8).T),
        low_db=low,
        high_db=high,
        band_edges_hz=extractor.band_edges_hz,
        waveform=waveform_of(samples, most_columns),
    )


def waveform_of(samples: NDArray[np.float32], most_columns: int) -> NDArray[np.int8]:
    """Return the lowest and the highest sample of each column.

    Args:
        samples: float32 ``(frames,)``, at least one; full scale is -1 to 1.
        most_columns: largest number of columns, at least 1.

    Returns:
        int8 ``(columns, 2)``; 127 is full scale.

    Example:
        >>> waveform_of(np.array([0, 0.5, -1, 1, 0.25], np.float32), 2).tolist()
        [[-127, 64], [32, 127]]
    """
    starts = _starts(len(samples), most_columns)
    extremes = [np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)]
    scaled: NDArray[np.float32] = np.clip(np.stack(extremes, axis=1), -1, 1) * FULL_SCALE
    return np.rint(scaled).astype(np.int8)


def _highest_of_columns(log_mel: NDArray[np.float32], most_columns: int) -> NDArray[np.float32]:
    """Return the highest level of each column, ``(columns, bands)``."""
    return np.asarray(np.maximum.reduceat(log_mel, _starts(len(log_mel), most_columns), axis=0), np.float32)


def _starts(length: int, most_columns: int) -> NDArray[np.int64]:
    return np.arange(0, length, -(-length // most_columns))
