"""A network and all that belongs to it -> a version in the registry, proved on the way, or nothing at all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml import bundle
from ml.audio import decode
from ml.bundle import Content, Decision, GoldenClip
from ml.features import FeatureExtractor, FeatureSpec
from ml.golden import golden_clip
from ml.labels import Labels
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
    probes: Sequence[NDArray[np.float32]] = (),
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
        probes: inputs on which both forms must agree, besides the golden clip and noise.

    Returns:
        The version. The same network under the same names has the same version.

    Raises:
        ModelError: the two forms of the network differ.
        InvalidName: an unusable name.
    """
    from ml.classifier import network

    golden = golden_clip()
    extractor = FeatureExtractor(spec)
    recording = decode(golden)
    probe = extractor(extractor.resample(recording.samples, recording.sample_rate_hz))[None, :, :, None]
    noise = np.random.default_rng(0).normal(0, 50, (3, *spec.input_shape)).astype(np.float32)
    with registry.incoming() as folder:
        keras_file, litert = network.export(model, folder, [probe, *noise, *probes])
        answer = model(probe, training=False).numpy()[0]
        content = Content(
            spec=spec,
            labels=labels,
            decision=decision,
            card=card,
            litert=litert,
            golden=GoldenClip(golden, tuple(float(p) for p in answer)),
        )
        bundle.write(folder, name, content, keras_file)
        return registry.add(folder)
