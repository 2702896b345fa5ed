"""What of a recording is grouped: its cepstrum without the level, and how that differs from the healthy machine's.

Measured on simulated fans and on propellers, see docs/reports.md: cepstral coefficients find faults where mel bands
find next to nothing, for neighbouring bands say the same. And recordings of several machines, grouped as they are,
fall into machines: the adjusted Rand index with the faults is that of chance until each machine's healthy sound is
taken off.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.errors import InvalidParameter
from ml.features.spec import FeatureSpec

Floats = NDArray[np.float64]

COEFFICIENTS = 40  # the original's, of which the first is the level


def recording_vector(clips: NDArray[np.floating[Any]], spec: FeatureSpec) -> Floats:
    """Mean and standard deviation over a recording of cepstral coefficients 1 to 39, whatever the features are.

    Coefficient 0 is the level and left out: a recording made louder keeps its vector.

    Args:
        clips: ``(windows, rows, frames)``, all windows of one recording.
        spec: how they were made; log-mel bands are turned into cepstra.

    Returns:
        ``(2 * (min(40, rows) - 1),)``: means, then standard deviations.

    Raises:
        InvalidParameter: features of another number of rows than the spec's, or of a single one.
    """
    if clips.ndim != 3 or clips.shape[1] != spec.rows or spec.rows < 2:
        raise InvalidParameter(
            f"Features of shape {clips.shape}; windows of {spec.rows} rows, at least 2, were expected."
        )
    rows = np.asarray(clips, np.float64)
    cepstra = rows if spec.n_mfcc is not None else scipy.fft.dct(rows, axis=1, norm="ortho")
    kept = cepstra[:, 1:COEFFICIENTS]
    return np.concatenate([kept.mean(axis=(0, 2)), kept.std(axis=(0, 2))])


def subtract_normal_mean(
    vectors: NDArray[np.floating[Any]],
    machines: Sequence[Hashable],
    normal: NDArray[np.floating[Any]],
    normal_machines: Sequence[Hashable],
) -> Floats:
    """Of each recording what differs from the same machine when it was well.

    Args:
        vectors: ``(n, d)``.
        machines: of which machine each is, n of them; with the SNR where there are several, for noise counts too.
        normal: ``(m, d)``, vectors of healthy recordings of the training side.
        normal_machines: likewise, m of them.

    Returns:
        ``(n, d)``: less the mean of that machine's healthy recordings; where it has none, of all healthy recordings;
        where there are none at all, as they were.

    Raises:
        InvalidParameter: not as many machines as vectors.
    """
    if (len(machines), len(normal_machines)) != (len(vectors), len(normal)):
        raise InvalidParameter(
            f"{len(vectors)} and {len(normal)} vectors are of {len(machines)} and {len(normal_machines)} machines; "
            "one for each was expected."
        )
    well = np.asarray(normal, np.float64)
    if not len(well):
        return np.array(vectors, np.float64)
    members: dict[Hashable, list[int]] = {}
    for place, machine in enumerate(normal_machines):
        members.setdefault(machine, []).append(place)
    means = {machine: well[places].mean(axis=0) for machine, places in members.items()}
    anyone = well.mean(axis=0)
    baselines = [means.get(machine, anyone) for machine in machines]
    return np.asarray(vectors, np.float64) - np.reshape(baselines, np.shape(vectors))
