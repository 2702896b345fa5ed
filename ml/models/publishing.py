"""A network, a detector or both, and what belongs to them -> a version, proved on the way, or nothing at all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import decode
from ml.detectors.detector import Detector
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.models import bundle
from ml.models.bundle import Bundle, Content, Decision, GoldenClip, Naming
from ml.models.golden import golden_clip
from ml.models.labels import Labels
from ml.models.predictor import Predictor
from ml.models.registry import Registry

if TYPE_CHECKING:
    import keras


def publish(
    model: "keras.Model | None",
    *,
    name: str,
    spec: FeatureSpec,
    labels: Labels,
    decision: Decision,
    card: dict[str, Any],
    registry: Registry,
    detector: Detector | None = None,
    naming: Naming | None = None,
    before_add: Callable[[str], None] = lambda _: None,
) -> str:
    """Export a network, show that both of its forms agree, write its bundle aside, prove that, and add it.

    Args:
        model: a Keras network of the spec's input shape; None for a detector alone.
        name: what the version's name begins with.
        spec: how a sound becomes its input.
        labels: its classes.
        decision: its threshold.
        card: where it comes from and what it was measured on.
        registry: where it goes.
        detector: what hears novelty, if there is one.
        naming: with both, what it takes to name a fault.
        before_add: told the version when all else is done; where it raises, nothing is added.

    Returns:
        The version. The same network under the same names has the same version.

    Raises:
        ModelError: the two forms of the network differ.
        InvalidName: an unusable name.
    """
    wav = golden_clip()
    heard = _windows(wav, spec)
    with registry.incoming() as folder:
        keras_file, litert = (None, None) if model is None else _exported(model, heard, spec, folder)
        content = Content(spec, labels, decision, card, litert, GoldenClip(wav, ()), detector, naming)
        speaks, novelty = _golden(content)
        answer = () if model is None else model(heard[speaks], training=False).numpy()[0]
        content = replace(content, golden=GoldenClip(wav, tuple(float(p) for p in answer), novelty))
        before_add(bundle.write(folder, name, content, keras_file))
        return registry.add(folder)


def _exported(
    model: "keras.Model", heard: Sequence[NDArray[np.float32]], spec: FeatureSpec, folder: Path
) -> tuple[Path, bytes]:
    """Both forms of a network, which agree on the golden clip and on noise."""
    from ml.classifier import network

    noise = np.random.default_rng(0).normal(0, 50, (3, *spec.input_shape)).astype(np.float32)
    return network.export(model, folder, [*heard, *noise])


def _windows(recording: bytes, spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Inputs of the network, one for each window of a recording: several where its clips are shorter than that."""
    extractor, decoded = FeatureExtractor(spec), decode(recording, channel=spec.channel)
    samples = extractor.resample(decoded.samples, decoded.sample_rate_hz)
    return [extractor(samples[start:stop])[None, :, :, None] for start, stop in spec.windows(len(samples))]


def _golden(content: Content) -> tuple[int, float | None]:
    """Which window of the golden clip speaks for a classifier, and what a detector makes of the clip."""
    predictor = Predictor(Bundle("candidate", "", content))
    return predictor.golden_window(predictor.decode(content.golden.wav))
