"""Are the groups the true faults? Beside what shuffled faults give, for small groups agree by chance."""

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
    """How far groups and true faults are the same parting, beside what shuffled faults give.

    Attributes:
        n: recordings with a known fault.
        ari, nmi: adjusted Rand index and normalised mutual information; 1 is the same parting under other names.
        ari_chance, nmi_chance: mean over shuffles of the true faults.
        ari_chance_95, nmi_chance_95: what chance stays under in 95 % of the shuffles.
    """

    n: int
    ari: float
    ari_chance: float
    ari_chance_95: float
    nmi: float
    nmi_chance: float
    nmi_chance_95: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        return asdict(self)


def measure_agreement(
    assignments: Sequence[int] | NDArray[np.intp], truth: Sequence[str | None], *, seed: int = 0
) -> Agreement:
    """Groups beside true faults.

    Args:
        assignments: of each recording its group.
        truth: of each recording its true fault; those with None are left out.
        seed: of the shuffles.

    Raises:
        InvalidParameter: not as many faults as groups, or no known fault at all.
        MissingExtra: scikit-learn is not installed.
    """
    if len(assignments) != len(truth):
        raise InvalidParameter(f"{len(assignments)} recordings are in groups and {len(truth)} faults were given.")
    known = [i for i, fault in enumerate(truth) if fault is not None]
    if not known:
        raise InvalidParameter("No recording has a known fault: there is nothing that groups could agree with.")
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
