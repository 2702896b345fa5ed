"""Choice of the number of groups k by silhouette and stability; inertia for an elbow plot."""

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

# All chosen here.
MIN_K, MAX_K = 2, 9
STARTS, STARTS_OF_HALF = 10, 4  # runs of k-means on all recordings, and on a half
HALVES = 20  # random halves of the sessions
# Smallest stability of a k that can be chosen; below it, the groups depend more on the draw than on the machines.
STABLE = 0.8
# The silhouette uses all pairs of recordings; of more than this, a seeded random sample is used.
MAX_SILHOUETTE = 2000


@dataclass(frozen=True, slots=True)
class ClusteringQuality:
    """Quality of the groups with one k.

    Attributes:
        k: number of groups.
        inertia: sum of squared distances to the nearest centroid, in standardised units.
        silhouette: mean silhouette, -1 to 1; higher is better separated. None if there are not more recordings than
            groups, or only one group has members.
        stability: mean adjusted Rand index, at most 1, between the groups of all recordings and those of 20 random
            halves of the sessions. None if a half has too few recordings.
    """

    k: int
    inertia: float
    silhouette: float | None
    stability: float | None


def candidate_ks(points: Floats, k: int | Literal["auto"]) -> list[int]:
    """Return each k to try: 2 to 9, at most the number of different points, and always the requested k.

    Args:
        points: float64 ``(n, dimensions)``.
        k: requested number of groups, or ``auto``.
    """
    different = len(np.unique(points, axis=0))
    candidates = set(range(MIN_K, min(MAX_K, different) + 1))
    return sorted(candidates if k == "auto" else candidates | {k})


def fit_centroids(points: Floats, k: int, starts: int, seed: int) -> Floats:
    """Fit k-means with k-means++ (D. Arthur, S. Vassilvitskii, SODA 2007); the best run counts.

    Args:
        points: float64 ``(n, dimensions)``.
        k: number of groups.
        starts: number of runs.
        seed: seed of the starts.

    Returns:
        float64 ``(k, dimensions)``.
    """
    kmeans = load_sklearn().cluster.KMeans(k, init="k-means++", n_init=starts, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a half may have fewer different points than k: its stability is then low
        return np.asarray(kmeans.fit(points).cluster_centers_, np.float64)


def evaluate_clustering(points: Floats, centroids: Floats, sessions: Indices, seed: int) -> ClusteringQuality:
    """Compute the quality of groups.

    Args:
        points: float64 ``(n, dimensions)``.
        centroids: float64 ``(k, dimensions)``.
        sessions: ``(n,)``: number of the session of each recording, from 0.
        seed: seed of the random halves, and of the sample for the silhouette.
    """
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
    """Draw whole sessions: with recordings of one session in both halves, any groups would look stable."""
    rng = np.random.Generator(np.random.PCG64([seed, k]))
    count = int(sessions.max()) + 1
    indices = []
    for draw in range(HALVES):
        chosen = np.flatnonzero(np.isin(sessions, rng.permutation(count)[: count // 2]))
        if len(chosen) <= k:
            return None
        again = distances_to(points[chosen], fit_centroids(points[chosen], k, STARTS_OF_HALF, draw)).argmin(axis=1)
        indices.append(load_sklearn().metrics.adjusted_rand_score(groups[chosen], again))
    return math.fsum(indices) / HALVES


def choose_k(curve: Sequence[ClusteringQuality]) -> tuple[int, str]:
    """Choose the number of groups.

    The best silhouette among those with a stability of at least 0.8; if there is none, the most stable. If several are
    equal, the smallest k is chosen.

    Args:
        curve: quality of each k, in ascending order.

    Returns:
        k, and the reason in a sentence.
    """
    stable = [quality for quality in curve if quality.stability is not None and quality.stability >= STABLE]
    if stable:
        best = max(stable, key=lambda quality: -2 if quality.silhouette is None else quality.silhouette)
        return best.k, (
            f"{best.k} groups have the best silhouette ({best.silhouette:.2f}) among the stable numbers of groups "
            f"(mean adjusted Rand index with half of the sessions {best.stability:.2f}, at least {STABLE})."
        )
    best = max(curve, key=lambda quality: -2 if quality.stability is None else quality.stability)
    if best.stability is None:
        return best.k, f"{best.k} groups: there are too few recordings to measure which number is stable."
    return best.k, (
        f"No number of groups is stable (a mean adjusted Rand index of {STABLE} with half of the sessions was "
        f"expected); {best.k} groups are the most stable, with {best.stability:.2f}. Do not take them for kinds of "
        "fault."
    )


def distances_to(points: Floats, centroids: Floats) -> Floats:
    """Compute Euclidean distances, float64 ``(n, k)``, one centroid at a time to save memory."""
    return np.stack([np.linalg.norm(points - centroid, axis=1) for centroid in centroids], axis=1)
