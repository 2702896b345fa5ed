"""Vectors for grouping: cepstrum without level, minus the mean of the machine's normal recordings.

Measured on simulated fans and on propellers (docs/reports.md): groups of cepstral coefficients agree with faults much
better than groups of mel bands, because neighbouring bands are similar. Without the subtraction, recordings of several
machines are grouped by machine, and their adjusted Rand index with the faults is that of chance.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ml.errors import InvalidParameter
from ml.features.spec import FeatureSpec

Floats = NDArray[np.float64]

COEFFICIENTS = 40  # as in the original; the first is the level


def recording_vector(clips: NDArray[np.floating[Any]], spec: FeatureSpec) -> Floats:
    """Compute mean and standard deviation over a recording of its cepstral coefficients 1 to 39.

    Coefficient 0 is the level and is left out, so the vector does not depend on the loudness.

    Args:
        clips: ``(clips, rows, frames)``: features of all clips of one recording.
        spec: their feature spec. From log-mel bands, the cepstrum is computed first (orthonormal DCT-II).

    Returns:
        float64 ``(2 * (min(40, rows) - 1),)`` in dB: means, then standard deviations.

    Raises:
        InvalidParameter: the number of rows is not that of the spec, or is 1.
    """
    if clips.ndim != 3 or clips.shape[1] != spec.rows or spec.rows < 2:
        raise InvalidParameter(
            f"Features of shape {clips.shape}; (clips, rows, frames) with {spec.rows} rows, at least 2, was expected."
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
    """Subtract from each vector the mean of the normal recordings of its machine.

    Args:
        vectors: ``(n, d)``.
        machines: ``(n,)``: machine of each vector. With several SNRs, machine and SNR: the noise differs too.
        normal: ``(m, d)``: vectors of normal recordings of the training side.
        normal_machines: ``(m,)``: machine of each of them.

    Returns:
        float64 ``(n, d)``. For a machine without normal recordings, the mean of all normal recordings is subtracted;
        without any normal recordings, nothing.

    Raises:
        InvalidParameter: the numbers of machines and vectors differ.
    """
    if (len(machines), len(normal_machines)) != (len(vectors), len(normal)):
        raise InvalidParameter(
            f"There are {len(vectors)} vectors with {len(machines)} machines, and {len(normal)} normal vectors with "
            f"{len(normal_machines)} machines; one machine for each vector was expected."
        )
    normal_rows = np.asarray(normal, np.float64)
    if not len(normal_rows):
        return np.array(vectors, np.float64)
    members: dict[Hashable, list[int]] = {}
    for index, machine in enumerate(normal_machines):
        members.setdefault(machine, []).append(index)
    means = {machine: normal_rows[indices].mean(axis=0) for machine, indices in members.items()}
    mean_of_all = normal_rows.mean(axis=0)
    subtracted = [means.get(machine, mean_of_all) for machine in machines]
    return np.asarray(vectors, np.float64) - np.reshape(subtracted, np.shape(vectors))
