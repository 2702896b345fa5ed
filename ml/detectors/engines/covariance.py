"""How healthy clips differ from each other, of which a few dozen show too little."""

import numpy as np
from numpy.typing import NDArray

# Nothing is trusted to be steadier than this from one clip to the next, whatever so few of them show.
STEADY_DB = 0.3
# Towards the diagonal: with a few dozen clips of 256 bands most of the covariance is chance (decision 14).
SHRUNK_BY = 0.1


def whitening(residuals: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """Cholesky factor of the inverse of the shrunk covariance: times this, residuals have about unit variance.

    Args:
        residuals: less their means, in dB: ``(vectors, size)``.
        degrees: of freedom, at least 1.

    Returns:
        ``(size, size)``.
    """
    covariance = residuals.T @ residuals / degrees
    diagonal = np.diag(np.diag(covariance))
    shrunk = (1 - SHRUNK_BY) * covariance + SHRUNK_BY * diagonal + STEADY_DB**2 * np.eye(len(covariance))
    return np.linalg.cholesky(np.linalg.inv(shrunk))
