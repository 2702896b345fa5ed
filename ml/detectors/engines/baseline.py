"""Engine ``baseline``: the autoencoder published with MIMII, which comparisons use as a reference.

H. Purohit et al., "MIMII Dataset: Sound Dataset for Malfunctioning Industrial Machine Investigation and Inspection",
DCASE 2019, and the code published with it. All constants are theirs.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.detectors.engines.dense import (
    FRAMES_IN_CONTEXT,
    Floats,
    forward,
    pack_layers,
    stack_frames,
    stack_networks,
    unpack_layers,
)
from ml.detectors.engines.engine import EngineState
from ml.detectors.spectra import Spectra
from ml.features.spec import FeatureSpec

HIDDEN = (64, 64, 8, 64, 64)
EPOCHS = 50
# The published code sets the last tenth of the vectors aside for a validation curve.
LEARNED_SHARE = 0.9
N_MELS, N_FFT, HOP = 64, 1024, 512


def baseline_spec(spec: FeatureSpec) -> FeatureSpec:
    """Return the feature spec of the baseline: 64 mel bands up to half of the sample rate, first channel.

    Frames have 1024 samples, 512 apart, and the samples are mirrored at both ends.

    Args:
        spec: feature spec with the recordings' sample rate, resampler and clip length.

    Example:
        >>> spec = baseline_spec(FeatureSpec(sample_rate_hz=16_000, fmax_hz=4000.0, clip_frames=313))
        >>> spec.n_mels, spec.n_fft, spec.hop_length, spec.fmax_hz, spec.clip_frames
        (64, 1024, 512, 8000.0, 313)
    """
    return FeatureSpec(
        sample_rate_hz=spec.sample_rate_hz,
        resampler=spec.resampler,
        channel=0,
        clip_frames=1 + spec.clip_samples // HOP,
        n_fft=N_FFT,
        hop_length=HOP,
        padding="reflect",
        n_mels=N_MELS,
        fmax_hz=spec.sample_rate_hz / 2,
        dynamic_range_db=None,
    )


class Baseline:
    """Mean squared reconstruction error of a dense autoencoder of five log-mel frames.

    There is one network for each machine.

    ``distance[m] = mean over vectors and elements of (f[m](v) - v)^2`` with the network ``f[m]`` and the vectors ``v``
    of :func:`stack_frames`. The level is not removed, and nothing is scaled.

    Example:
        >>> from ml.detectors.engines.dense import Layer
        >>> zeros = [Layer(np.zeros((5 * 8, 5 * 8), np.float32), np.zeros(5 * 8, np.float32))]  # its output is always 0
        >>> clip = Spectra(np.full((6, 8), -3, np.float32), np.ones(17, np.float32))
        >>> Baseline().distances(pack_layers(stack_networks([zeros, zeros])), clip)
        array([9., 9.])
        >>> Baseline().fit([clip, clip], np.array([0, 1]))  # doctest: +SKIP
        {...}

    The tests skip the last line, because it loads Keras.
    """

    name: ClassVar[str] = "baseline"
    needs_frames: ClassVar[bool] = True

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`.

        Returns:
            ``kernel0``, float32 ``(machines, inputs, units)``, ``bias0``, float32 ``(machines, units)``, and so on.

        Raises:
            MissingExtra: Keras is not installed.
        """
        from ml.detectors.engines.dense_fitting import fit_autoencoders

        vectors = (_training_vectors(clips, machines == machine) for machine in range(machines.max() + 1))
        inputs = FRAMES_IN_CONTEXT * clips[0].log_mel.shape[1]
        return pack_layers(stack_networks(fit_autoencoders(vectors, inputs, HIDDEN, EPOCHS)))

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Return the mean squared error over all vectors of the clip: float64 ``(machines,)`` in dB squared."""
        vectors = stack_frames(clip.log_mel)
        errors = forward(unpack_layers(state), vectors) - vectors
        return np.asarray(np.square(errors, dtype=np.float64).mean(axis=(1, 2)))


def _training_vectors(clips: Sequence[Spectra], mine: NDArray[np.bool_]) -> Floats:
    vectors = np.concatenate([stack_frames(clip.log_mel) for clip, take in zip(clips, mine, strict=True) if take])
    return vectors[: max(1, int(len(vectors) * LEARNED_SHARE))]
