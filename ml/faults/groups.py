"""Grouping of recordings: standardisation, principal components, k-means."""

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
    candidate_ks,
    choose_k,
    distances_to,
    evaluate_clustering,
    fit_centroids,
)
from ml.faults.lazy_sklearn import load_sklearn
from ml.system.parallel import one_blas_thread

DRAWN_COMPONENTS = 3  # kept at least, for the scatter plot in space
KEPT_RATIOS = 20
EXEMPLARS = 3
ROUNDING = 1e-9  # relative standard deviation below which a feature is constant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaultGroups:
    """Groups of ``n`` recordings with vectors of ``d`` numbers: ``k`` groups, the largest first.

    Attributes:
        k: number of groups.
        chosen_by: reason for this number, in a sentence.
        seed: seed of all draws.
        mean, scale: ``(d,)``: mean and standard deviation that vectors are standardised by.
        components: ``(c, d)``: principal axes, the strongest first; ``c`` may be larger than ``dimensions``, for plots.
        dimensions: number of axes that the groups were found with.
        explained_variance_ratio: share of the variance of each axis, 0 to 1, at most 20 axes.
        centroids: ``(k, dimensions)``.
        assignments: ``(n,)``: number of each recording's group, 0 to k-1.
        projected: ``(n, c)``: recordings on the principal axes, in standardised units.
        distances: ``(n, k)``: distance of each recording to each centroid, in standardised units.
        exemplars: for each group the indices of up to 3 recordings, the nearest to its centroid first.
        curve: quality of each k that was tried.
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
        """Names of the groups, until a person names them: ``group 1`` and so on."""
        return tuple(f"group {number}" for number in range(1, self.k + 1))

    def assign(self, vectors: NDArray[np.floating[Any]]) -> Indices:
        """Find the group with the nearest centroid for each vector, of these recordings or of others.

        Args:
            vectors: ``(m, d)``.

        Returns:
            ``(m,)``: 0 to k-1.

        Raises:
            InvalidParameter: the vectors do not have ``d`` numbers, or a number is not finite.
        """
        rows = _check_vectors(vectors)
        if rows.shape[1] != len(self.mean):
            raise InvalidParameter(
                f"Vectors of {rows.shape[1]} numbers; {len(self.mean)} were expected, as in the grouped vectors."
            )
        projected = (rows - self.mean) / self.scale @ self.components[: self.dimensions].T
        nearest: Indices = distances_to(projected, self.centroids).argmin(axis=1)
        return nearest

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(self).items()}


def group_faults(
    vectors: NDArray[np.floating[Any]],
    *,
    k: int | Literal["auto"] = 3,
    components: float = 2,
    sessions: Sequence[str] | None = None,
    seed: int = 0,
) -> FaultGroups:
    """Group recordings with similar vectors. The same vectors and seed give the same groups, to the bit.

    Args:
        vectors: ``(n, d)``: one row for each recording; abnormal, of the training side, not augmented.
        k: number of groups, 2 to 9; the original has 3. ``auto`` chooses it, see
            :func:`ml.faults.k_selection.choose_k`.
        components: number of principal components; or, below 1, the share of variance that they explain together.
        sessions: ``(n,)``: session of each recording, from which halves are drawn for the stability; None: each
            recording is a session.
        seed: seed of the starts of k-means and of the random halves.

    Raises:
        TooFewRecordings: there are fewer recordings, or fewer different ones, than groups.
        InvalidParameter: ``k`` or ``components`` is out of range, a number is not finite, or the numbers of sessions
            and recordings differ.
        MissingExtra: scikit-learn is not installed.
    """
    rows = _check_vectors(vectors)
    _check_request(rows, k, components)
    numbers = _numbered(sessions, len(rows))
    load_sklearn()
    # With several threads, scikit-learn adds in another order: the last digits would depend on the number of cores.
    with one_blas_thread():
        return _find_groups(rows, k, components, numbers, seed)


def _check_vectors(vectors: NDArray[np.floating[Any]]) -> Floats:
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InvalidParameter(f"Vectors of shape {rows.shape}; one row of numbers for each recording was expected.")
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise InvalidParameter(
            f"The vector of recording {broken[0]} has a number that is not finite; finite numbers were expected."
        )
    return rows


def _check_request(rows: Floats, k: int | Literal["auto"], components: float) -> None:
    if k != "auto" and (isinstance(k, bool) or k not in range(MIN_K, MAX_K + 1)):
        raise InvalidParameter(f"The number of groups is {k!r}; {MIN_K} to {MAX_K}, or 'auto', was expected.")
    whole = isinstance(components, int) and not isinstance(components, bool)
    if not (components >= 1 if whole else 0 < components < 1):
        raise InvalidParameter(
            f"components is {components!r}; a whole number from 1, or a share above 0 and below 1, was expected."
        )
    needed = MIN_K if k == "auto" else k
    if len(rows) < needed:
        raise TooFewRecordings(
            f"{len(rows)} recordings are too few for {needed} groups; at least {needed} were expected."
        )
    if (different := len(np.unique(rows, axis=0))) < needed:
        raise TooFewRecordings(
            f"Only {different} of {len(rows)} recordings are different; at least {needed} were expected, for {needed} "
            "groups."
        )


def _numbered(sessions: Sequence[str] | None, n: int) -> Indices:
    if sessions is None:
        return np.arange(n)
    if len(sessions) != n:
        raise InvalidParameter(
            f"There are {n} recordings and {len(sessions)} sessions; one session for each recording was expected."
        )
    return np.unique(np.asarray(sessions), return_inverse=True)[1]


def _find_groups(
    rows: Floats, k: int | Literal["auto"], components: float, sessions: Indices, seed: int
) -> FaultGroups:
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    constant = scale <= ROUNDING * np.maximum(np.abs(mean), 1)
    if constant.all():
        raise TooFewRecordings(f"All {len(rows)} recordings are equal; different ones were expected, to form groups.")
    scale[constant] = 1.0  # a constant feature has no effect
    axes, ratios = _principal_axes((rows - mean) / scale)
    dimensions = _dimensions(ratios, components)
    axes = axes[: max(dimensions, DRAWN_COMPONENTS)]
    projected = (rows - mean) / scale @ axes.T
    points = np.ascontiguousarray(projected[:, :dimensions])
    candidates = {count: fit_centroids(points, count, STARTS, seed) for count in candidate_ks(points, k)}
    curve = tuple(evaluate_clustering(points, centroids, sessions, seed) for centroids in candidates.values())
    chosen, chosen_by = choose_k(curve) if k == "auto" else (k, f"{k} groups were requested.")
    centroids = _in_order(points, candidates[chosen])
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
    """Principal axes ``(c, d)`` and their shares of variance, without random draws."""
    pca = load_sklearn().decomposition.PCA(svd_solver="full").fit(standard)
    return pca.components_, pca.explained_variance_ratio_


def _dimensions(ratios: Floats, components: float) -> int:
    if components >= 1:
        return min(int(components), len(ratios))
    # The sum of all shares may be slightly smaller than the requested share, by rounding.
    return min(1 + int(np.searchsorted(np.cumsum(ratios), components)), len(ratios))


def _in_order(points: Floats, centroids: Floats) -> Floats:
    """Sort centroids: the largest group first; of equal groups, that of the earlier recording.

    So the same seed gives the same group names.
    """
    groups = distances_to(points, centroids).argmin(axis=1)
    members = [np.flatnonzero(groups == group) for group in range(len(centroids))]
    order = sorted(range(len(centroids)), key=lambda g: (-len(members[g]), members[g][0] if len(members[g]) else 0))
    return centroids[order]


def _nearest(distances: Floats, members: NDArray[np.bool_]) -> tuple[int, ...]:
    inside = np.flatnonzero(members)
    return tuple(inside[np.argsort(distances[inside], kind="stable")][:EXEMPLARS].tolist())
