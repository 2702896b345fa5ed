"""A network and all that belongs to it -> a version in the registry, proved on the way, or nothing at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml import bundle
from ml.audio import decode
from ml.bundle import Bundle, Content, Decision, GoldenClip
from ml.features import FeatureExtractor, FeatureSpec
from ml.golden import golden_clip
from ml.labels import Labels
from ml.predictor import Predictor
from ml.registry import Registry

if TYPE_CHECKING:
    import keras


def publish(
    model: "keras.Model",
    *,
    name: str,
    spec: FeatureSpec,
    labels: Labels,
    decision: Decision,
    card: dict[str, Any],
    registry: Registry,
    before_add: Callable[[str], None] = lambda _: None,
) -> str:
    """Export a network, show that both of its forms agree, write its bundle aside, prove that, and add it.

    Args:
        model: a Keras network of the spec's input shape.
        name: what the version's name begins with.
        spec: how a sound becomes its input.
        labels: its classes.
        decision: its threshold.
        card: where it comes from and what it was measured on.
        registry: where it goes.
        before_add: told the version when all else is done; where it raises, nothing is added.

    Returns:
        The version. The same network under the same names has the same version.

    Raises:
        ModelError: the two forms of the network differ.
        InvalidName: an unusable name.
    """
    from ml.classifier import network

    golden = golden_clip()
    heard = _windows(golden, spec)
    noise = np.random.default_rng(0).normal(0, 50, (3, *spec.input_shape)).astype(np.float32)
    with registry.incoming() as folder:
        keras_file, litert = network.export(model, folder, [*heard, *noise])
        content = Content(spec, labels, decision, card, litert, GoldenClip(golden, ()))
        answer = model(heard[_worst(content)], training=False).numpy()[0]
        content = replace(content, golden=GoldenClip(golden, tuple(float(p) for p in answer)))
        before_add(bundle.write(folder, name, content, keras_file))
        return registry.add(folder)


def _windows(recording: bytes, spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Inputs of the network, one for each window of a recording: several where its clips are shorter than that."""
    extractor, decoded = FeatureExtractor(spec), decode(recording, channel=spec.channel)
    samples = extractor.resample(decoded.samples, decoded.sample_rate_hz)
    return [extractor(samples[start:stop])[None, :, :, None] for start, stop in spec.windows(len(samples))]


def _worst(content: Content) -> int:
    """Which window of the golden clip speaks for it."""
    predictor = Predictor(Bundle("candidate", "", content))
    verdict = predictor.predict(predictor.decode(content.golden.wav))
    return verdict.timeline.index(verdict.worst)
