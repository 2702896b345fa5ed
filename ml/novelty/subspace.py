"""``subspace``: distance within the directions that normal clips move in, and of what those leave over."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.novelty.engine import State, centres
from ml.novelty.heard import Heard
from ml.novelty.spread import STEADY_DB

EXPLAINED = 0.9


class Subspace:
    """PCA of the fine spectrum about each machine's mean: in-space Mahalanobis distance plus scaled residual.

    The two parts together are the likelihood of probabilistic PCA (M. Tipping and C. Bishop, J. R. Stat. Soc. B 61,
    1999).
    """

    name: ClassVar[str] = "subspace"

    def fit(self, clips: Sequence[Heard], machines: NDArray[np.int64]) -> State:
        """See :class:`ml.novelty.engine.Engine`; as many directions as explain nine tenths of the variance."""
        vectors = np.stack([clip.fine_shape for clip in clips]).astype(np.float64)
        means = centres(vectors, machines)
        _, singular, directions = np.linalg.svd(vectors - means[machines], full_matrices=False)
        variances = singular**2 / max(1, len(clips) - len(means))
        share = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        kept = min(1 + int(np.searchsorted(share, EXPLAINED)), len(variances))
        left = variances[kept:].sum() / max(1, vectors.shape[1] - kept) + STEADY_DB**2
        return {
            "centres": means.astype(np.float32),
            "directions": directions[:kept].astype(np.float32),
            "variances": (variances[:kept] + STEADY_DB**2).astype(np.float32),
            "left": np.array([left], np.float32),
        }

    def score(self, state: State, clip: Heard) -> NDArray[np.float64]:
        """Mean over the bands of both squared distances, for each machine."""
        away = (clip.fine_shape - state["centres"]).astype(np.float64)
        inside = away @ state["directions"].T
        residual = np.square(away).sum(axis=1) - np.square(inside).sum(axis=1)
        within = (np.square(inside) / state["variances"]).sum(axis=1)
        return np.asarray((within + np.maximum(residual, 0) / state["left"][0]) / away.shape[1])
