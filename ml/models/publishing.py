"""Publish a classifier, a detector or both as a new version, after all checks."""

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
from ml.models.normal_scores import NormalScores
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
    normal_scores: NormalScores | None = None,
    before_add: Callable[[str], None] = lambda _: None,
) -> str:
    """Write a bundle, check it, and add it to the registry.

    The network is exported to LiteRT, and the outputs of both forms are compared. The bundle is written to a temporary
    folder and must answer its golden clip.

    Args:
        model: Keras network with the spec's input shape; None for a detector alone.
        name: first part of the version's name.
        spec: feature spec.
        labels: labels of the classes.
        decision: threshold.
        card: model card.
        registry: registry that gets the version.
        detector: the detector; None for a classifier alone.
        fault_rule: the fault rule, if there are both a classifier and a detector.
        normal_scores: scores of normal recordings by a classifier without a detector; None if there are none.
        before_add: called with the version as the last step before it is added; if it raises, nothing is added.

    Returns:
        The version. The same content with the same name has the same version; card and Keras archive do not count.

    Raises:
        ModelError: the two forms of the network differ, or the written bundle does not pass its check.
        ValueError: the name is not allowed.
    """
    wav = make_golden_clip(spec)
    clips = _network_inputs(wav, spec)
    with registry.incoming() as folder:
        keras_file, litert = (None, None) if model is None else _export_network(model, clips, spec, folder)
        content = BundleContent(
            spec, labels, decision, card, litert, GoldenClip(wav, ()), detector, fault_rule, normal_scores
        )
        answer = golden_answer(Predictor(ServedModel.as_written(Bundle("candidate", "", content))), wav)
        # The probabilities come from Keras, so that LiteRT is compared with Keras on every computer.
        probabilities = () if model is None else model(clips[answer.clip], training=False).numpy()[0]
        golden = GoldenClip(wav, tuple(float(p) for p in probabilities), answer.novelty_score)
        content = replace(content, golden_clip=golden)
        before_add(bundle.write(folder, name, content, keras_file))
        return registry.add(folder)


def _export_network(
    model: "keras.Model", golden_inputs: Sequence[NDArray[np.float32]], spec: FeatureSpec, folder: Path
) -> tuple[Path, bytes]:
    """Export a network, and check that both forms agree on the golden clip and on noise."""
    from ml.classifier import network

    noise = np.random.default_rng(0).normal(0, 50, (3, *spec.input_shape)).astype(np.float32)
    return network.export(model, folder, [*golden_inputs, *noise])


def _network_inputs(recording: bytes, spec: FeatureSpec) -> list[NDArray[np.float32]]:
    """Return the inputs of the network for a recording, one for each clip."""
    extractor, decoded = FeatureExtractor(spec), decode(recording, channel=spec.used_channels)
    samples = extractor.resample(decoded.samples, decoded.sample_rate_hz)
    return [extractor(samples[start:stop])[None, :, :, None] for start, stop in spec.clip_spans(len(samples))]
