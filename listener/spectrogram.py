"""Spectrogram of a clip as a PNG picture, by the features with which the model judges.

Low frequencies are at the bottom. The colours are those of viridis, which people with a colour vision deficiency can
read, also printed in grey. The text of the PNG has the ranges of time, frequency and level.
"""

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import Recording
from ml.errors import MissingExtra
from ml.models.predictor import Predictor

MOST_COLUMNS = 1000
# Chosen here: the colours go from the quietest hundredth, at most 70 dB below the loudest point, to this point.
QUIETEST_PERCENT, MOST_DB, LEAST_DB = 1, 70.0, 1.0
# Every eighth of viridis (S. van der Walt and N. Smith, 2015, CC0).
COLOURS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
LEVELS = 256


def draw(predictor: Predictor, recording: Recording) -> bytes:
    """Return the spectrogram of a recording as PNG.

    Args:
        predictor: model, whose detector's features are used, or those of its classifier without a detector.
        recording: recording, decoded for this model.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    extractor = predictor.extractor if predictor.detector is None else predictor.detector.extractor
    samples = extractor.resample(recording.samples, recording.sample_rate_hz)
    log_mel = _pool(extractor.log_mel_and_power(samples)[0])
    edges_hz = extractor.band_edges_hz
    low = max(float(log_mel.max()) - MOST_DB, float(np.percentile(log_mel, QUIETEST_PERCENT)))
    high = max(float(log_mel.max()), low + LEAST_DB)
    return _png(
        _to_levels(log_mel, low, high),
        {
            "Seconds": f"0 {recording.quality.duration_s:.3f}",
            "Hertz": f"{edges_hz[0]:.0f} {edges_hz[-1]:.0f}",
            "Scale": "mel",
            "Decibels": f"{low:.1f} {high:.1f}",
        },
    )


def _pool(log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest levels of neighbouring frames, at most :data:`MOST_COLUMNS` of them."""
    width = -(-len(log_mel) // MOST_COLUMNS)
    return np.asarray(np.maximum.reduceat(log_mel, np.arange(0, len(log_mel), width), axis=0), np.float32)


def _to_levels(log_mel: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return levels from 0 to 255 ``(bands, frames)``, the highest frequency first."""
    share = np.clip((log_mel - low) / (high - low), 0, 1)
    return np.ascontiguousarray(np.rint(share * (LEVELS - 1)).astype(np.uint8).T[::-1])


@cache
def palette() -> bytes:
    """Return red, green and blue of all levels, the lowest first."""
    known = np.array([tuple(bytes.fromhex(colour)) for colour in COLOURS], np.float64)
    at = np.linspace(0, len(COLOURS) - 1, LEVELS)
    channels = [np.interp(at, np.arange(len(COLOURS)), known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8).tobytes()


def _png(levels: NDArray[np.uint8], facts: dict[str, str]) -> bytes:
    try:
        from PIL import Image, PngImagePlugin
    except ImportError as error:
        raise MissingExtra("Drawing a spectrogram", "live") from error
    image = Image.fromarray(levels)
    image.putpalette(palette())
    texts = PngImagePlugin.PngInfo()
    for name, value in facts.items():
        texts.add_text(name, value)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts, optimize=True)
    return file.getvalue()
