"""Autoencoders: fitted with Keras and evaluated without it; the baseline is the published one."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.engines.baseline import EPOCHS, HIDDEN, baseline_spec
from ml.detectors.engines.dense import Layer, forward, pack_layers, stack_frames, stack_networks, unpack_layers
from ml.detectors.engines.dense_fitting import BATCH, LEARNING_RATE, build_autoencoder, fit_autoencoders
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra, compute_spectra
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from tests import sounds

ROOT = Path(__file__).parents[2]
SPEC = FeatureSpec(
    sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_fft=1024, hop_length=512, n_mels=128, dynamic_range_db=None
)
TOLERANCE = 1e-5


def clip(spec: FeatureSpec, seed: int, blade_hz: float = 120.0, gain: float = 1.0) -> Spectra:
    """Spectra of one second of a fan."""
    sound = gain * sounds.fan(1.0, seed=seed, blade_hz=blade_hz)[:, 0]
    return compute_spectra(FeatureExtractor(spec), sound.astype(np.float32))


@cache
def detector_of(name: str) -> Detector:
    """A detector with that engine alone, fitted to :func:`normal_recordings`."""
    spec = baseline_spec(SPEC) if name == "baseline" else SPEC
    return fit_detector(spec, [engine_by_name(name)], normal_recordings(spec))


def random_vectors(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors with four hidden factors, which a narrow network can learn."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 4)) @ rng.normal(size=(4, width))).astype(np.float32)


def normal_recordings(spec: FeatureSpec) -> list[NormalRecording]:
    """Four recordings of each of two fans with different speeds."""
    return [
        NormalRecording((clip(spec, seed=10 * number + each, blade_hz=blade_hz),), machine, machine)
        for number, (machine, blade_hz) in enumerate((("fan/id_00", 120.0), ("fan/id_02", 95.0)))
        for each in range(4)
    ]


def test_the_forward_pass_is_that_of_keras() -> None:
    """numpy gives the same output for a network's weights as Keras, to 1e-5 of an output of about 1."""
    model = build_autoencoder(40, HIDDEN, seed=3)
    vectors = random_vectors(50, 40)
    layers = [Layer(*layer.get_weights()) for layer in model.layers]
    assert np.abs(forward(layers, vectors) - model(vectors, training=False).numpy()).max() < TOLERANCE


def test_several_networks_are_evaluated_at_once() -> None:
    """Stacked, packed and unpacked networks each give the same output as alone."""
    networks = fit_autoencoders([random_vectors(60, 10, 1), random_vectors(60, 10, 2)], 10, (8, 2, 8), epochs=2)
    vectors = random_vectors(5, 10, 3)
    together = forward(unpack_layers(pack_layers(stack_networks(networks))), vectors)
    assert together.shape == (2, 5, 10)
    for network, answer in zip(networks, together, strict=True):
        np.testing.assert_allclose(answer, forward(network, vectors), atol=TOLERANCE)


def test_fitting_lowers_the_error_and_is_repeatable() -> None:
    """A fit halves the error; the same vectors give the same bits, with or without an earlier fit."""
    vectors = random_vectors(600, 20)
    others = random_vectors(600, 20, seed=1)
    (first,), (_, again) = (
        fit_autoencoders(sets, 20, (16, 4, 16), epochs=200) for sets in ([vectors], [others, vectors])
    )
    untrained = [Layer(*layer.get_weights()) for layer in build_autoencoder(20, (16, 4, 16), 0).layers]
    errors = [np.square(forward(layers, vectors) - vectors).mean() for layers in (first, untrained)]
    assert errors[0] < errors[1] / 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)


def test_frames_in_context_are_neighbours_in_time_order() -> None:
    """A vector is five consecutive frames; a shorter clip is extended by its last frame."""
    frames = np.arange(21, dtype=np.float32).reshape(7, 3)
    vectors = stack_frames(frames)
    assert vectors.shape == (3, 15)
    np.testing.assert_array_equal(vectors[1], np.arange(3, 18))
    np.testing.assert_array_equal(stack_frames(frames[:2]), [[0, 1, 2, *[3, 4, 5] * 4]])


def test_the_baseline_is_the_published_one() -> None:
    """320 inputs, 64-64-8-64-64, 50 760 parameters, 50 epochs of batches of 512 under Adam 1e-3; 64 bands, 1024/512."""
    spec = baseline_spec(SPEC)
    model = build_autoencoder(5 * spec.n_mels, HIDDEN, seed=0)
    assert model.input_shape == model.output_shape == (None, 320)
    assert [layer.units for layer in model.layers] == [64, 64, 8, 64, 64, 320]
    assert [layer.activation.__name__ for layer in model.layers] == [*["relu"] * 5, "linear"]
    assert model.count_params() == 50_760
    assert (EPOCHS, BATCH, LEARNING_RATE) == (50, 512, 1e-3)
    assert (spec.n_fft, spec.hop_length, spec.fmin_hz, spec.fmax_hz) == (1024, 512, 0.0, 8000.0)
    assert (spec.level, spec.dynamic_range_db, spec.n_mfcc) == ("as_recorded", None, None)
    assert spec.clip_samples == pytest.approx(SPEC.clip_samples, abs=512)


def test_the_baseline_has_a_network_for_each_machine() -> None:
    """Weights are along the first axis, and a clip's score is the mean squared error over all its vectors."""
    spec = baseline_spec(SPEC)
    clips = [recording.clips[0] for recording in normal_recordings(spec)]
    baseline = engine_by_name("baseline")
    state = baseline.fit(clips, np.repeat([0, 1], 4))
    assert state["kernel0"].shape == (2, 320, 64)
    assert state["bias5"].shape == (2, 320)
    alone = [Layer(layer.kernel[1], layer.bias[1]) for layer in unpack_layers(state)]
    vectors = stack_frames(clips[0].log_mel)
    expected = np.square(forward(alone, vectors) - vectors).mean()
    assert baseline.distances(state, clips[0])[1] == pytest.approx(expected, rel=TOLERANCE)


def test_a_baseline_detector_is_read_back_unchanged() -> None:
    """The detector that is read back measures the same, and has both machines."""
    detector = detector_of("baseline")
    again = detector_from_bytes(*detector_to_bytes(detector))
    assert again.machines == ("fan/id_00", "fan/id_02")
    tested = clip(detector.spec, seed=99, blade_hz=95.0)
    for machine in (None, *again.machines):
        assert again.measure(tested, machine) == detector.measure(tested, machine)


def test_reading_a_baseline_detector_loads_no_keras() -> None:
    """A process that reads a detector of autoencoders loads no TensorFlow."""
    facts, arrays = (part.hex() for part in detector_to_bytes(detector_of("baseline")))
    code = (
        "import sys\n"
        "from ml.detectors.detector_files import detector_from_bytes\n"
        "facts, arrays = map(bytes.fromhex, sys.stdin.read().split())\n"
        "detector_from_bytes(facts, arrays)\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=f"{facts} {arrays}", text=True, cwd=ROOT, check=False)
    assert done.returncode == 0
