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
from ml.models.sound_features import HIGHEST_LEVEL, compute_sound_features

# Every eighth of viridis (S. van der Walt and N. Smith, 2015, CC0).
COLOURS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
LEVELS = HIGHEST_LEVEL + 1


def draw(predictor: Predictor, recording: Recording) -> bytes:
    """Return the spectrogram of a recording as PNG.

    Args:
        predictor: model, whose detector's features are used, or those of its classifier without a detector.
        recording: recording, decoded for this model.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    found = compute_sound_features(predictor, recording)
    return _png(
        np.ascontiguousarray(found.levels[::-1]),
        {
            "Seconds": f"0 {found.duration_s:.3f}",
            "Hertz": f"{found.band_edges_hz[0]:.0f} {found.band_edges_hz[-1]:.0f}",
            "Scale": "mel",
            "Decibels": f"{found.low_db:.1f} {found.high_db:.1f}",
        },
    )


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
