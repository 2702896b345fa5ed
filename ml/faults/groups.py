"""Recordings in groups: standardise, principal axes, k-means."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import InvalidParameter, TooFewRecordings
from ml.faults.k_selection import (
    MAX_K,
    MIN_K,
    STARTS,
    ClusteringQuality,
    Floats,
    Indices,
    centroids_of,
    choose_k,
    counts,
    distances_to,
    evaluate_clustering,
)
from ml.faults.lazy_sklearn import load_sklearn
from ml.system.parallel import one_blas_thread

DRAWN_COMPONENTS = 3  # of each recording at least, for the scatter in space
KEPT_RATIOS = 20
EXEMPLARS = 3
ROUNDING = 1e-9  # relative; a feature that varies less than this does not vary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaultGroups:
    """Recordings in groups. ``n`` recordings of ``d`` numbers each, ``k`` groups, largest first.

    Attributes:
        k: how many groups.
        chosen_by: why so many, in a sentence.
        seed: of every draw.
        mean, scale: ``(d,)``, what a vector is standardised by.
        components: ``(c, d)``, the principal axes, strongest first; ``c`` may exceed ``dimensions``, for drawing.
        dimensions: how many of them the groups were found in.
        explained_variance_ratio: share of the variance of each axis, up to 20 of them.
        centroids: ``(k, dimensions)``.
        assignments: ``(n,)``, 0 to k-1.
        projected: ``(n, c)``.
        distances: ``(n, k)``, from each recording to each centroid, in standardised units.
        exemplars: of each group the indices of the recordings nearest to its centroid, nearest first, up to 3.
        curve: what speaks for each k.
    """

    k: int
    chosen_by: str
    seed: int
    mean: Floats
    scale: Floats
    components: Floats
    dimensions: int
    explained_variance_ratio: tuple[float, ...]
    centroids: Floats
    assignments: Indices
    projected: Floats
    distances: Floats
    exemplars: tuple[tuple[int, ...], ...]
    curve: tuple[ClusteringQuality, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the groups are called until somebody names them."""
        return tuple(f"group {number}" for number in range(1, self.k + 1))

    def assign(self, vectors: NDArray[np.floating[Any]]) -> Indices:
        """The group with the nearest centroid, for recordings old or new.

        Args:
            vectors: ``(m, d)``.

        Returns:
            ``(m,)``, 0 to k-1.

        Raises:
            InvalidParameter: another width than that of the vectors that were grouped, or not finite.
        """
        rows = _check_vectors(vectors)
        if rows.shape[1] != len(self.mean):
            raise InvalidParameter(f"Vectors of {rows.shape[1]} numbers; the groups were found on {len(self.mean)}.")
        projected = (rows - self.mean) / self.scale @ self.components[: self.dimensions].T
        nearest: Indices = distances_to(projected, self.centroids).argmin(axis=1)
        return nearest

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(self).items()}


def group_faults(
    vectors: NDArray[np.floating[Any]],
    *,
    k: int | Literal["auto"] = 3,
    components: float = 2,
    sessions: Sequence[str] | None = None,
    seed: int = 0,
) -> FaultGroups:
    """Group recordings by what they sound like. The same vectors and seed give the same groups, to the bit.

    Args:
        vectors: ``(n, d)``, one row per recording: abnormal, of the training side, not augmented.
        k: 2 to 9 groups; the original has 3. ``auto``: the best silhouette among those k that half of the recordings
            give again.
        components: how many principal components are kept, or, below 1, the share of variance that they must explain.
        sessions: which recording session each is from, so that the stability is that under other sessions; where it
            is left out, each recording counts as one.
        seed: of centroids' starts and of the halves.

    Raises:
        TooFewRecordings: fewer recordings, or fewer different ones, than groups.
        InvalidParameter: ``k`` or ``components`` out of range; a number that is not finite; not as many sessions as
            recordings.
        MissingExtra: scikit-learn is not installed.
    """
    rows = _check_vectors(vectors)
    _check_request(rows, k, components)
    numbers = _numbered(sessions, len(rows))
    load_sklearn()
    # scikit-learn sums in as many pieces as there are threads: the last digits, and so ties, would hang on the machine.
    with one_blas_thread():
        return _find_groups(rows, k, components, numbers, seed)


def _check_vectors(vectors: NDArray[np.floating[Any]]) -> Floats:
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InvalidParameter(f"Vectors of shape {rows.shape}; one row of numbers for each recording was expected.")
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise InvalidParameter(f"The vector of recording {broken[0]} holds a number that is not finite.")
    return rows


def _check_request(rows: Floats, k: int | Literal["auto"], components: float) -> None:
    if k != "auto" and (isinstance(k, bool) or k not in range(MIN_K, MAX_K + 1)):
        raise InvalidParameter(f"{k!r} groups; {MIN_K} to {MAX_K}, or 'auto', is accepted.")
    whole = isinstance(components, int) and not isinstance(components, bool)
    if not (components >= 1 if whole else 0 < components < 1):
        raise InvalidParameter(f"{components!r} components; a whole number from 1, or a share below 1, is accepted.")
    needed = MIN_K if k == "auto" else k
    if len(rows) < needed:
        raise TooFewRecordings(
            f"{len(rows)} recordings cannot be put into {needed} groups; at least {needed} are needed."
        )
    if (different := len(np.unique(rows, axis=0))) < needed:
        raise TooFewRecordings(
            f"{len(rows)} recordings of which {different} differ cannot be put into {needed} groups."
        )


def _numbered(sessions: Sequence[str] | None, n: int) -> Indices:
    if sessions is None:
        return np.arange(n)
    if len(sessions) != n:
        raise InvalidParameter(f"{n} recordings are of {len(sessions)} sessions; one for each was expected.")
    return np.unique(np.asarray(sessions), return_inverse=True)[1]


def _find_groups(
    rows: Floats, k: int | Literal["auto"], components: float, sessions: Indices, seed: int
) -> FaultGroups:
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    constant = scale <= ROUNDING * np.maximum(np.abs(mean), 1)
    if constant.all():
        raise TooFewRecordings(f"All {len(rows)} recordings sound the same: there is nothing to tell groups by.")
    scale[constant] = 1.0  # a feature that never changes says nothing
    axes, ratios = _principal_axes((rows - mean) / scale)
    dimensions = _dimensions(ratios, components)
    axes = axes[: max(dimensions, DRAWN_COMPONENTS)]
    projected = (rows - mean) / scale @ axes.T
    points = np.ascontiguousarray(projected[:, :dimensions])
    tried = {count: centroids_of(points, count, STARTS, seed) for count in counts(points, k)}
    curve = tuple(evaluate_clustering(points, centroids, sessions, seed) for centroids in tried.values())
    chosen, chosen_by = choose_k(curve) if k == "auto" else (k, f"{k} groups were asked for.")
    centroids = _in_order(points, tried[chosen])
    distances = distances_to(points, centroids)
    assignments = distances.argmin(axis=1)
    return FaultGroups(
        k=chosen,
        chosen_by=chosen_by,
        seed=seed,
        mean=mean,
        scale=scale,
        components=axes,
        dimensions=dimensions,
        explained_variance_ratio=tuple(ratios[:KEPT_RATIOS].tolist()),
        centroids=centroids,
        assignments=assignments,
        projected=projected,
        distances=distances,
        exemplars=tuple(_nearest(distances[:, group], assignments == group) for group in range(chosen)),
        curve=curve,
    )


def _principal_axes(standard: Floats) -> tuple[Floats, Floats]:
    """Axes ``(c, d)`` and the share of variance of each; a full decomposition, so that nothing is drawn at random."""
    pca = load_sklearn().decomposition.PCA(svd_solver="full").fit(standard)
    return pca.components_, pca.explained_variance_ratio_


def _dimensions(ratios: Floats, components: float) -> int:
    if components >= 1:
        return min(int(components), len(ratios))
    # The sum of all shares may round to just under the share that was asked for.
    return min(1 + int(np.searchsorted(np.cumsum(ratios), components)), len(ratios))


def _in_order(points: Floats, centroids: Floats) -> Floats:
    """Largest group first, and of equal ones that of the earlier recording, so that names stay for a seed."""
    groups = distances_to(points, centroids).argmin(axis=1)
    members = [np.flatnonzero(groups == group) for group in range(len(centroids))]
    order = sorted(range(len(centroids)), key=lambda g: (-len(members[g]), members[g][0] if len(members[g]) else 0))
    return centroids[order]


def _nearest(distances: Floats, members: NDArray[np.bool_]) -> tuple[int, ...]:
    inside = np.flatnonzero(members)
    return tuple(inside[np.argsort(distances[inside], kind="stable")][:EXEMPLARS].tolist())
