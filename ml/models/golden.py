"""The golden clip: every model must answer it as it did when it was written, wherever it runs.

The answer does not depend on thresholds, which may be moved: it is the probabilities of the clip with the highest
classifier score, and the highest score of the detector.
"""

import io
import math
import wave
from typing import NamedTuple

import numpy as np

from ml.errors import AudioError, GoldenClipFailed
from ml.models.predictor import Predictor
from ml.models.served import ServedModel

# LiteRT agrees with Keras to 1e-6 on one machine; this leaves room for another processor's arithmetic.
GOLDEN_TOLERANCE = 1e-3

SAMPLE_RATE_HZ, DURATION_S = 16_000, 3
# A fan with 7 blades at 1500 rpm, as far as five harmonics in noise make one.
BLADE_PASS_HZ, HARMONICS = 175.0, 5


def make_golden_clip() -> bytes:
    """Three seconds of a fan-like hum in noise, 16 bit, as a WAV file; the same bytes every time.

    Shorter than any clip of the original's, so that the rule that fits a clip to the network is exercised too.
    """
    time_s = np.arange(SAMPLE_RATE_HZ * DURATION_S) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * BLADE_PASS_HZ * k * time_s) / k for k in range(1, HARMONICS + 1))
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal(len(time_s))
    samples = np.round(2000 * (hum + 0.5 * noise)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


class GoldenAnswer(NamedTuple):
    """What a model answers its golden clip with.

    Attributes:
        clip: number of the clip with the highest classifier score, from 0.
        probabilities: of that clip; none without a classifier.
        novelty_score: the highest of all clips; None without a detector.
    """

    clip: int
    probabilities: tuple[float, ...]
    novelty_score: float | None

    @property
    def values(self) -> tuple[float, ...]:
        """All numbers in one row, as they are compared."""
        return self.probabilities if self.novelty_score is None else (*self.probabilities, self.novelty_score)


def golden_answer(predictor: Predictor, wav: bytes) -> GoldenAnswer:
    """Let a model answer a golden clip.

    Raises:
        AudioError: the clip is no recording.
    """
    results = predictor.clip_results(predictor.decode(wav))
    clip = max(range(len(results)), key=lambda i: results[i].classifier_score or 0.0)
    scores = [result.novelty.score for result in results if result.novelty is not None]
    return GoldenAnswer(clip, results[clip].probabilities, max(scores, default=None))


def load_verified(model: ServedModel) -> Predictor:
    """Build a predictor that has answered its golden clip.

    Raises:
        BundleDamaged: network, detector, spec and labels do not fit each other.
        GoldenClipFailed: the answer is not the one that the model was written with.
    """
    predictor, golden = Predictor(model), model.bundle.content.golden_clip
    expected = GoldenAnswer(0, golden.probabilities, golden.novelty_score).values
    try:
        answer = golden_answer(predictor, golden.wav).values
    except AudioError as error:
        raise GoldenClipFailed(f"Bundle {model.version} has no recording for a golden clip: {error}") from error
    # Written so that a NaN fails too.
    close = len(answer) == len(expected) and all(
        abs(found - written) <= GOLDEN_TOLERANCE for found, written in zip(answer, expected, strict=True)
    )
    if not close:
        raise GoldenClipFailed(
            f"Bundle {model.version} answers its golden clip with {_rounded(answer)}; "
            f"it was written with {_rounded(expected)}."
        )
    return predictor


def _rounded(values: tuple[float, ...]) -> list[float | None]:
    return [round(value, 4) if math.isfinite(value) else None for value in values]
