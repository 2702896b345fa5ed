"""Golden clip: on every computer, a model must answer it as it did when the model was written.

The answer does not depend on thresholds, which can be moved. It is the probabilities of the clip with the highest
classifier score, and the highest score of the detector.
"""

import io
import math
import wave
from typing import NamedTuple

import numpy as np

from ml.errors import AudioError, GoldenClipFailed
from ml.features.spec import FeatureSpec
from ml.models.predictor import Predictor
from ml.models.served import ServedModel

# LiteRT and Keras agree to 1e-6 on one computer; other processors may differ by more.
GOLDEN_TOLERANCE = 1e-3

SAMPLE_RATE_HZ, DURATION_S = 16_000, 3
# Blade-pass frequency of a fan with 7 blades at 1500 rpm.
BLADE_PASS_HZ, HARMONICS = 175.0, 5


def make_golden_clip(spec: FeatureSpec | None = None) -> bytes:
    """Return three seconds of fan-like hum in noise as a 16-bit WAV file; the same bytes every time.

    It is shorter than a clip of the original project, so that padding to the network's input is tested too. For a spec
    with a reference channel, that channel has half of the noise, and none of the hum.

    Args:
        spec: feature spec of the model, which decides the number of channels; None for one channel.
    """
    time_s = np.arange(SAMPLE_RATE_HZ * DURATION_S) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * BLADE_PASS_HZ * k * time_s) / k for k in range(1, HARMONICS + 1))
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal(len(time_s))
    main, channels = 2000 * (hum + 0.5 * noise), 1
    reference = None if spec is None else spec.reference_channel
    if spec is not None and reference is not None:
        channels = max(2, 1 + reference, 1 if isinstance(spec.channel, str) else 1 + spec.channel)
    samples = np.repeat(np.round(main).astype("<i2")[:, None], channels, axis=1)
    if reference is not None:
        samples[:, reference] = np.round(500 * noise).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


class GoldenAnswer(NamedTuple):
    """Answer of a model to its golden clip.

    Attributes:
        clip: number of the clip with the highest classifier score, from 0.
        probabilities: probabilities of that clip; empty without a classifier.
        novelty_score: highest detector score of all clips; None without a detector.
    """

    clip: int
    probabilities: tuple[float, ...]
    novelty_score: float | None

    @property
    def values(self) -> tuple[float, ...]:
        """All numbers of the answer in one row, for comparison."""
        return self.probabilities if self.novelty_score is None else (*self.probabilities, self.novelty_score)


def golden_answer(predictor: Predictor, wav: bytes) -> GoldenAnswer:
    """Return a model's answer to a golden clip.

    Raises:
        AudioError: the clip is not a valid recording.
    """
    results = predictor.clip_results(predictor.decode(wav))
    clip = max(range(len(results)), key=lambda i: results[i].classifier_score or 0.0)
    scores = [result.novelty.score for result in results if result.novelty is not None]
    return GoldenAnswer(clip, results[clip].probabilities, max(scores, default=None))


def load_verified(model: ServedModel) -> Predictor:
    """Create a predictor and verify its answer to the golden clip.

    Raises:
        BundleDamaged: network, detector, spec and labels do not fit together.
        GoldenClipFailed: the answer differs from the stored one.
    """
    predictor, golden = Predictor(model), model.bundle.content.golden_clip
    expected = GoldenAnswer(0, golden.probabilities, golden.novelty_score).values
    try:
        answer = golden_answer(predictor, golden.wav).values
    except AudioError as error:
        raise GoldenClipFailed(f"Bundle {model.version} has an invalid golden clip: {error}") from error
    # This comparison is false for NaN, so a NaN fails too.
    close = len(answer) == len(expected) and all(
        abs(found - written) <= GOLDEN_TOLERANCE for found, written in zip(answer, expected, strict=True)
    )
    if not close:
        raise GoldenClipFailed(
            f"Bundle {model.version} answers its golden clip with {_round(answer)}; {_round(expected)} was expected."
        )
    return predictor


def _round(values: tuple[float, ...]) -> list[float | None]:
    return [round(value, 4) if math.isfinite(value) else None for value in values]
