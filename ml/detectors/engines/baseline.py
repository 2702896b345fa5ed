"""``baseline``: the autoencoder that was published with MIMII, as it was published: the bar in every table.

H. Purohit et al., "MIMII Dataset: Sound Dataset for Malfunctioning Industrial Machine Investigation and Inspection",
DCASE 2019, and the code that came with it.
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
# The published code sets the last tenth of the vectors aside to draw a curve, and learns from the rest.
LEARNED_SHARE = 0.9
N_MELS, N_FFT, HOP = 64, 1024, 512


def baseline_spec(spec: FeatureSpec) -> FeatureSpec:
    """What the baseline hears: 64 mel bands of the first channel at the recordings' rate, mirrored at both ends."""
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
    """Mean squared error of a dense autoencoder of five log-mel frames, one network for each machine.

    The level is part of what it hears, and nothing is scaled.
    """

    name: ClassVar[str] = "baseline"

    def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> EngineState:
        """See :class:`ml.detectors.engines.engine.Engine`; the networks of all machines are kept along the first axis.

        Raises:
            MissingExtra: Keras is not installed.
        """
        from ml.detectors.engines.dense_fitting import fit_autoencoders

        each = (_training_vectors(clips, machines == machine) for machine in range(machines.max() + 1))
        inputs = FRAMES_IN_CONTEXT * clips[0].log_mel.shape[1]
        return pack_layers(stack_networks(fit_autoencoders(each, inputs, HIDDEN, EPOCHS)))

    def distances(self, state: EngineState, clip: Spectra) -> NDArray[np.float64]:
        """Mean squared error over all vectors of the clip, in dB squared, for each machine."""
        vectors = stack_frames(clip.log_mel)
        errors = forward(unpack_layers(state), vectors) - vectors
        return np.asarray(np.square(errors, dtype=np.float64).mean(axis=(1, 2)))


def _training_vectors(clips: Sequence[Spectra], mine: NDArray[np.bool_]) -> Floats:
    vectors = np.concatenate([stack_frames(clip.log_mel) for clip, take in zip(clips, mine, strict=True) if take])
    return vectors[: max(1, int(len(vectors) * LEARNED_SHARE))]
