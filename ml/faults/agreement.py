"""Agreement of fault groups with true faults, compared with chance: small groups agree by chance too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import InvalidParameter
from ml.faults.lazy_sklearn import load_sklearn

PERMUTATIONS = 200


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of groups with true faults, and of groups with shuffled faults.

    Attributes:
        n: number of recordings with a known fault.
        ari: adjusted Rand index, at most 1; 1 is full agreement, 0 is chance
            (L. Hubert and P. Arabie, J. Classif. 2, 1985).
        nmi: normalised mutual information, 0 to 1; 1 is full agreement.
        ari_chance, nmi_chance: means over 200 random shuffles of the true faults.
        ari_chance_95, nmi_chance_95: 95 % quantiles over the shuffles.
    """

    n: int
    ari: float
    ari_chance: float
    ari_chance_95: float
    nmi: float
    nmi_chance: float
    nmi_chance_95: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def measure_agreement(
    assignments: Sequence[int] | NDArray[np.intp], truth: Sequence[str | None], *, seed: int = 0
) -> Agreement:
    """Compare groups with true faults.

    Args:
        assignments: ``(recordings,)``: number of the group of each recording.
        truth: ``(recordings,)``: true fault of each recording; None is left out.
        seed: seed of the shuffles.

    Raises:
        InvalidParameter: the numbers of groups and faults differ, or no fault is known.
        MissingExtra: scikit-learn is not installed.
    """
    if len(assignments) != len(truth):
        raise InvalidParameter(
            f"There are groups of {len(assignments)} recordings and {len(truth)} faults; as many of both were expected."
        )
    known = [i for i, fault in enumerate(truth) if fault is not None]
    if not known:
        raise InvalidParameter("No recording has a known fault; at least one was expected, to compare the groups with.")
    faults = np.unique([str(truth[i]) for i in known], return_inverse=True)[1]
    groups = np.asarray(assignments)[known]
    rng = np.random.Generator(np.random.PCG64(seed))
    found = _agreement_of(groups, faults)
    chance = np.array([_agreement_of(groups, rng.permutation(faults)) for _ in range(PERMUTATIONS)])
    (ari, nmi), (ari_95, nmi_95) = chance.mean(axis=0).tolist(), np.quantile(chance, 0.95, axis=0).tolist()
    return Agreement(len(known), found[0], ari, ari_95, found[1], nmi, nmi_95)


def _agreement_of(groups: NDArray[Any], faults: NDArray[Any]) -> tuple[float, float]:
    metrics = load_sklearn().metrics
    ari = metrics.adjusted_rand_score(faults, groups)
    return float(ari), float(metrics.normalized_mutual_info_score(faults, groups))
