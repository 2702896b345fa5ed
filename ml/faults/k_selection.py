"""How many groups? What speaks for each number of them: inertia, silhouette, and whether half give them again."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.faults.lazy_sklearn import load_sklearn

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

MIN_K, MAX_K = 2, 9
STARTS, STARTS_OF_HALF = 10, 4
HALVES = 20
# Of the same groups found again in half of the recordings, as a mean adjusted Rand index; below it a choice of k says
# more about the draw than about the machines.
STABLE = 0.8
# The silhouette needs all pairs: of more recordings than this, a seeded draw stands for all.
MAX_SILHOUETTE = 2000


@dataclass(frozen=True, slots=True)
class ClusteringQuality:
    """What speaks for and against one number of groups.

    Attributes:
        k: the number.
        inertia: sum of squared distances to the nearest centroid.
        silhouette: -1 to 1, higher is better parted; None where there are no more recordings than groups.
        stability: mean adjusted Rand index between the groups of all and those of half of the sessions, at most 1;
            None where half are too few.
    """

    k: int
    inertia: float
    silhouette: float | None
    stability: float | None


def counts(points: Floats, k: int | Literal["auto"]) -> list[int]:
    """Every k that is drawn in the curve: no more than there are different points, but what was asked for always."""
    different = len(np.unique(points, axis=0))
    counts = set(range(MIN_K, min(MAX_K, different) + 1))
    return sorted(counts if k == "auto" else counts | {k})


def centroids_of(points: Floats, k: int, starts: int, seed: int) -> Floats:
    """The best of so many runs of k-means, ``(k, dimensions)``; k-means++ (D. Arthur, S. Vassilvitskii, SODA 2007)."""
    kmeans = load_sklearn().cluster.KMeans(k, init="k-means++", n_init=starts, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different points than k, in a half of them: a poor k, and seen as such
        return np.asarray(kmeans.fit(points).cluster_centers_, np.float64)


def evaluate_clustering(points: Floats, centroids: Floats, sessions: Indices, seed: int) -> ClusteringQuality:
    """What speaks for these centroids; ``sessions`` numbers the session of each recording from 0."""
    distances = distances_to(points, centroids)
    groups = distances.argmin(axis=1)
    inertia = float(np.square(distances.min(axis=1)).sum())
    return ClusteringQuality(
        k=len(centroids),
        inertia=inertia,
        silhouette=_silhouette(points, groups, seed),
        stability=_stability(points, groups, len(centroids), sessions, seed),
    )


def _silhouette(points: Floats, groups: Indices, seed: int) -> float | None:
    if len(points) > MAX_SILHOUETTE:
        chosen = np.random.Generator(np.random.PCG64(seed)).permutation(len(points))[:MAX_SILHOUETTE]
        points, groups = points[chosen], groups[chosen]
    if not 2 <= len(np.unique(groups)) < len(points):
        return None
    return float(load_sklearn().metrics.silhouette_score(points, groups))


def _stability(points: Floats, groups: Indices, k: int, sessions: Indices, seed: int) -> float | None:
    """Whole sessions are drawn: with recordings of the same session in both, anything would be found again."""
    rng = np.random.Generator(np.random.PCG64([seed, k]))
    count = int(sessions.max()) + 1
    indices = []
    for draw in range(HALVES):
        chosen = np.flatnonzero(np.isin(sessions, rng.permutation(count)[: count // 2]))
        if len(chosen) <= k:
            return None
        again = distances_to(points[chosen], centroids_of(points[chosen], k, STARTS_OF_HALF, draw)).argmin(axis=1)
        indices.append(load_sklearn().metrics.adjusted_rand_score(groups[chosen], again))
    return math.fsum(indices) / HALVES


def choose_k(curve: Sequence[ClusteringQuality]) -> tuple[int, str]:
    """The best silhouette among the stable; where none is stable, the most stable; the fewest groups on a tie."""
    stable = [trial for trial in curve if trial.stability is not None and trial.stability >= STABLE]
    if stable:
        best = max(stable, key=lambda trial: -2 if trial.silhouette is None else trial.silhouette)
        return best.k, (
            f"{best.k} groups have the best silhouette ({best.silhouette:.2f}) among the numbers that half of the "
            f"recordings give again (adjusted Rand index {best.stability:.2f}, at least {STABLE})."
        )
    best = max(curve, key=lambda trial: -2 if trial.stability is None else trial.stability)
    if best.stability is None:
        return best.k, f"{best.k} groups: there are too few recordings to tell which number is stable."
    return best.k, (
        f"No number of groups is stable (an adjusted Rand index of {STABLE} was expected); {best.k} are the most "
        f"stable, with {best.stability:.2f}. Take them as a picture, not as kinds of fault."
    )


def distances_to(points: Floats, centroids: Floats) -> Floats:
    """Euclidean, ``(n, k)``; one centroid at a time, so that memory stays ``n`` rows."""
    return np.stack([np.linalg.norm(points - centroid, axis=1) for centroid in centroids], axis=1)
