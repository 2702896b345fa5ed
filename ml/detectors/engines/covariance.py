"""Covariance of the differences between normal clips, shrunk because the clips are few."""

import numpy as np
from numpy.typing import NDArray

# Smallest standard deviation between normal clips, in dB. Chosen here: a few clips can look steadier by chance.
STEADY_DB = 0.3
# Share of the diagonal. With a few dozen clips of 256 bands, most of the covariance is chance. 0.1 to 0.9 were tried,
# with the same AUC of the default (benchmarks/detectors/README.md).
SHRUNK_BY = 0.1


def whitening(residuals: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """Compute the matrix ``W`` that gives residuals about unit covariance: ``residuals @ W``.

    With ``S = residuals^T residuals / degrees``, the shrunk covariance is ``C = 0.9 S + 0.1 diag(S) + 0.3^2 I``, and
    ``W W^T = inverse(C)``, W lower triangular (Cholesky factor). Shrinkage toward the diagonal: J. Schaefer,
    K. Strimmer, Stat. Appl. Genet. Mol. Biol. 4(1), 2005; its strength is fixed here.

    Args:
        residuals: float64 ``(clips, size)``: differences from the machine's mean, in dB.
        degrees: degrees of freedom, at least 1.

    Returns:
        float64 ``(size, size)``, in 1/dB.

    Example:
        >>> residuals = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> whitening(residuals, degrees=3).round(3)
        array([[0.602, 0.   ],
               [0.   , 1.15 ]])
    """
    covariance = residuals.T @ residuals / degrees
    diagonal = np.diag(np.diag(covariance))
    shrunk = (1 - SHRUNK_BY) * covariance + SHRUNK_BY * diagonal + STEADY_DB**2 * np.eye(len(covariance))
    return np.linalg.cholesky(np.linalg.inv(shrunk))
