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
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, FaultRule, GoldenClip
from ml.models.golden import golden_answer, make_golden_clip
from ml.models.labels import ClassLabels
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel

if TYPE_CHECKING:
    import keras


def publish(
    model: "keras.Model | None",
    *,
    name: str,
    spec: FeatureSpec,
    labels: ClassLabels,
    decision: DecisionThreshold,
    card: dict[str, Any],
    registry: Registry,
    detector: Detector | None = None,
    fault_rule: FaultRule | None = None,
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
        fault_rule: with both, what it takes to name a fault.
        before_add: told the version when all else is done; where it raises, nothing is added.

    Returns:
        The version. The same network under the same names has the same version.

    Raises:
        ModelError: the two forms of the network differ.
        InvalidName: an unusable name.
    """
    wav = make_golden_clip()
    clips = _network_inputs(wav, spec)
    with registry.incoming() as folder:
        keras_file, litert = (None, None) if model is None else _export_network(model, clips, spec, folder)
        content = BundleContent(spec, labels, decision, card, litert, GoldenClip(wav, ()), detector, fault_rule)
        answer = golden_answer(Predictor(ServedModel.as_written(Bundle("candidate", "", content))), wav)
        # Keras gives the probabilities: LiteRT is then compared with it wherever the model is loaded.
        probabilities = () if model is None else model(clips[answer.clip], training=False).numpy()[0]
        golden = GoldenClip(wav, tuple(float(p) for p in probabilities), answer.novelty_score)
        content = replace(content, golden_clip=golden)
        before_add(bundle.write(folder, name, content, keras_file))
        return registry.add(folder)


def _export_network(
    model: "keras.Model", heard: Sequence[NDArray[np.float32]], spec: FeatureSpec, folder: Path
) -> tuple[Path, bytes]:
    """Both forms of a network, which agree on the golden clip and on noise."""
    from ml.classifier import network

    noise = np.random.default_rng(0).normal(0, 50, (3, *spec.input_shape)).astype(np.float32)
    return network.export(model, folder, [*heard, *noise])


def _network_inputs(recording: bytes, spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Inputs of the network, one for each window of a recording: several where its clips are shorter than that."""
    extractor, decoded = FeatureExtractor(spec), decode(recording, channel=spec.channel)
    samples = extractor.resample(decoded.samples, decoded.sample_rate_hz)
    return [extractor(samples[start:stop])[None, :, :, None] for start, stop in spec.clip_spans(len(samples))]
