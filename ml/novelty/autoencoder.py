"""``autoencoder``: what a small network cannot give back of five frames, by how that differs in healthy sound."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.novelty.dense import Floats, forward, in_context, packed, unpacked
from ml.novelty.engine import State, centres
from ml.novelty.heard import Heard
from ml.novelty.spread import whitening

HIDDEN = (64, 64, 8, 64, 64)
EPOCHS = 30
# No more vectors than this, evenly taken: others teach little, and cost minutes and gigabytes.
MOST_LEARNED = 20_000
# A fault may show in a few moments of a clip: the frame that so many are nearer than speaks for it (decision 14).
SPEAKING_PERCENTILE = 95


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
        windows = [_levelled(clip)[::every] for clip in clips]
        vectors, of = np.concatenate(windows), np.repeat(machines, [len(one) for one in windows])
        scale = np.array([vectors.std()], np.float32)
        (layers,) = fitted([vectors / scale], vectors.shape[1], HIDDEN, EPOCHS)
        residuals = (vectors - forward(layers, vectors / scale) * scale).astype(np.float64)
        means = centres(residuals, of)
        each = [residuals[of == machine] - mean for machine, mean in enumerate(means)]
        # The frames of a few clips are many, and not independent: their covariance is shrunk as that of clips is.
        factors = np.stack([whitening(own, len(own)) for own in each])
        return {
            **packed(layers),
            "scale": scale,
            "centres": means.astype(np.float32),
            "whitening": factors.astype(np.float32),
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
