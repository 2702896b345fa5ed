"""``autoencoder``: what a small network cannot give back of five frames, by how that differs in healthy sound."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.novelty.dense import Floats, forward, in_context, packed, unpacked
from ml.novelty.engine import State, centres
from ml.novelty.heard import Heard

HIDDEN = (64, 64, 8, 64, 64)
EPOCHS = 30
# No more vectors than this, evenly taken: others teach little, and cost minutes and gigabytes.
MOST_LEARNED = 20_000
# A fault may show in a few moments of a clip: the frame that so many are nearer than speaks for it (decision 14).
SPEAKING_PERCENTILE = 95
# Towards the diagonal, as for the spectrum: the frames of a few clips are many, and not independent.
SHRUNK_BY = 0.1
# No band of a frame is trusted to be given back better than this.
STEADY_DB = 0.3


class Autoencoder:
    """Mahalanobis distance of the residual of a dense autoencoder of five log-mel frames without the clip's level.

    One network learns what all machines of a kind have in common; mean and covariance of what it leaves are each
    machine's own.
    """

    name: ClassVar[str] = "autoencoder"

    def fit(self, clips: Sequence[Heard], machines: NDArray[np.int64]) -> State:
        """See :class:`ml.novelty.engine.Engine`; the precisions are kept as their Cholesky factors.

        Raises:
            MissingExtra: Keras is not installed.
        """
        from ml.novelty.dense_fitting import fitted

        every = 1 + sum(len(clip.log_mel) for clip in clips) // MOST_LEARNED
        each = [_levelled(clip)[::every] for clip in clips]
        vectors, of = np.concatenate(each), np.repeat(machines, [len(one) for one in each])
        scale = np.array([vectors.std()], np.float32)
        (layers,) = fitted([vectors / scale], vectors.shape[1], HIDDEN, EPOCHS)
        residuals = (vectors - forward(layers, vectors / scale) * scale).astype(np.float64)
        means = centres(residuals, of)
        whitening = np.stack([_whitening(residuals[of == machine] - mean) for machine, mean in enumerate(means)])
        return {
            **packed(layers),
            "scale": scale,
            "centres": means.astype(np.float32),
            "whitening": whitening.astype(np.float32),
        }

    def score(self, state: State, clip: Heard) -> NDArray[np.float64]:
        """Squared distance per value of the vector that 95 % of them are nearer than, for each machine."""
        vectors, scale = _levelled(clip), state["scale"]
        residuals = vectors - forward(unpacked(state), vectors / scale) * scale
        whitened = (residuals - state["centres"][:, None]) @ state["whitening"]
        away = np.square(whitened, dtype=np.float64).mean(axis=2)
        return np.asarray(np.percentile(away, SPEAKING_PERCENTILE, axis=1))


def _levelled(clip: Heard) -> Floats:
    return in_context(clip.log_mel - clip.log_mel.mean())


def _whitening(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    covariance = residuals.T @ residuals / len(residuals)
    diagonal = np.diag(np.diag(covariance))
    shrunk = (1 - SHRUNK_BY) * covariance + SHRUNK_BY * diagonal + STEADY_DB**2 * np.eye(len(covariance))
    return np.linalg.cholesky(np.linalg.inv(shrunk))
