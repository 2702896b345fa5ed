"""Mains hum: narrow lines at 50 or 60 Hz and multiples, from a cable, a ground loop or a power supply."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

MAINS_HZ = (50.0, 60.0)
# All chosen here. Grids keep their frequency within 0.2 Hz. A motor with slip is outside.
TOLERANCE_HZ, STEP_HZ = 0.2, 0.01
HIGHEST_HZ = 2000.0
# The lowest line is this much above the median within 6 Hz: peaks of noise are below it.
LINE_DB, NEIGHBOURS_HZ = 14.0, 6.0
FURTHER_LINE_DB = 10.0
LOW_LINES = 4
# Shorter clips do not tell a line from its neighbours.
SHORTEST_S = 1.0
PADDING = 4
BLOCK = 256  # samples; phases are computed once within a block, and once for each block
COARSE_HZ, COARSE_LINE_DB = 800, 8.0
SEGMENT_S = 2.0  # amplitude and phase of a line change slowly: linearly in a segment
TINY = 1e-30


@dataclass(frozen=True, slots=True)
class MainsHum:
    """Mains hum of one clip.

    Attributes:
        mains_hz: frequency of the mains, near 50 or 60 Hz.
        multiples: which multiples of it are lines, lowest first; 1 is the mains itself.
        share: share of the lines in the power of the clip without its offset, 0 to 1.
    """

    mains_hz: float
    multiples: tuple[int, ...]
    share: float = 1.0


def find_hum(samples: NDArray[np.float32], sample_rate_hz: int) -> MainsHum | None:
    """Find mains hum: narrow lines at exact multiples of 50 or 60 Hz.

    A line at 50 or 60 Hz is among them. A machine on the mains has a tone of twice this frequency without it, because
    the force of a magnet does not depend on the direction of the current. Lines above the fourth that are louder than
    the first four belong to the machine.

    Args:
        samples: ``(n,)``.
        sample_rate_hz: samples per second.

    Example:
        >>> t = np.arange(64_000) / 16_000
        >>> noise = np.random.default_rng(0).normal(0, 0.01, len(t))
        >>> hum = find_hum((noise + 0.1 * np.sin(2 * np.pi * 50 * t)).astype(np.float32), 16_000)
        >>> round(hum.mains_hz), hum.multiples, round(hum.share, 2)
        (50, (1,), 0.98)
        >>> find_hum((noise + 0.1 * np.sin(2 * np.pi * 53 * t)).astype(np.float32), 16_000)
    """
    if len(samples) < SHORTEST_S * sample_rate_hz:
        return None
    # Most recordings have no line. Then a coarse spectrum is enough, which takes 0.2 ms for 10 s instead of 25.
    if not _may_have_line(samples, sample_rate_hz):
        return None
    hum = _strongest(samples, sample_rate_hz)
    if hum is None:
        return None
    lines = fit_hum(samples, sample_rate_hz, hum).sum(axis=0)
    power, rest = float(np.square(lines).mean()), float((samples - lines).var())
    return replace(hum, share=power / (power + rest))


def fit_hum(samples: NDArray[np.float32], sample_rate_hz: int, hum: MainsHum) -> NDArray[np.float32]:
    """Fit the lines of the hum: sines whose amplitudes change linearly in each two seconds, by least squares.

    Args:
        samples: ``(n,)``.
        sample_rate_hz: samples per second.
        hum: result of :func:`find_hum`.

    Returns:
        ``(lines, n)``. What is 1 Hz beside a line is not in it.

    Example:
        >>> t = np.arange(32_000) / 16_000
        >>> tone = (0.1 * np.sin(2 * np.pi * 50 * t)).astype(np.float32)
        >>> (line,) = fit_hum(tone, 16_000, MainsHum(50.0, (1,)))
        >>> float(np.abs(tone - line).max()) < 1e-4
        True
    """
    step, multiples = 2 * np.pi * hum.mains_hz / sample_rate_hz, np.array(hum.multiples)
    segments = max(1, round(len(samples) / (SEGMENT_S * sample_rate_hz)))
    parts = [_fit_segment(part, step, multiples) for part in np.array_split(samples, segments)]
    return np.concatenate(parts, axis=1)


def _fit_segment(samples: NDArray[np.float32], step: float, multiples: NDArray[np.int64]) -> NDArray[np.float32]:
    """Fit lines with amplitudes that change linearly, beside an offset that does.

    With the ramp ``r`` from -1 to 1, the fit is a sum of ``w[p, k] r^p exp(i k step n)`` with ``p`` 0 or 1, and ``k`` a
    multiple, its negative or 0. All sums of the normal equations are sums of waves.

    Returns:
        ``(lines, n)``.
    """
    ramp = np.linspace(-1, 1, len(samples), dtype=np.float32)
    orders = np.concatenate([-multiples, [0], multiples])
    between = orders - orders[:, None]
    moments = _sums_of_waves(np.stack([np.ones_like(ramp), ramp, np.square(ramp)]), step, int(between.max()))
    measured = _sums_of_waves(np.stack([samples, samples * ramp]), step, int(multiples.max()))
    # The sum for a negative order is the conjugate of the one for its absolute value.
    moments, measured = (np.concatenate([sums[:, :0:-1].conj(), sums], axis=1) for sums in (moments, measured))
    zeroth, first, second = moments[:, between + between.max()]
    gram = np.block([[zeroth, first], [first, second]])
    weights = np.linalg.solve(gram, measured[:, multiples.max() - orders].ravel()).reshape(2, -1)
    return _lines_of(2 * weights[:, -len(multiples) :], step, multiples, ramp)


def _sums_of_waves(values: NDArray[np.float32], step: float, highest: int) -> NDArray[np.complex128]:
    """Compute ``sum over n of values[n] exp(i k step n)`` for ``k`` from 0 to ``highest``, in blocks of samples.

    Args:
        values: ``(rows, n)``.
        step: phase from one sample to the next, of order 1.
        highest: highest order.

    Returns:
        ``(rows, 1 + highest)``.
    """
    blocks = np.pad(values, ((0, 0), (0, -values.shape[1] % BLOCK))).reshape(len(values), -1, BLOCK)
    orders = np.arange(highest + 1)
    within = np.exp(1j * step * np.outer(np.arange(BLOCK), orders)).astype(np.complex64)
    starts = np.exp(1j * step * BLOCK * np.outer(np.arange(blocks.shape[1]), orders))
    return np.asarray(((blocks @ within.real + 1j * (blocks @ within.imag)) * starts).sum(axis=1))


def _lines_of(
    weights: NDArray[np.complexfloating], step: float, multiples: NDArray[np.int64], ramp: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compute the real part of ``(weights[0] + weights[1] ramp) exp(i k step n)`` for each multiple ``k``.

    Returns:
        ``(lines, n)``.
    """
    places = np.arange(BLOCK)
    within = np.exp(1j * step * np.outer(multiples, places))
    starts = np.exp(1j * step * BLOCK * np.outer(multiples, np.arange(-(-len(ramp) // BLOCK))))
    constant = (weights[0][:, None] + weights[1][:, None] * ramp[::BLOCK]) * starts
    slope = weights[1][:, None] * starts * (2 / max(1, len(ramp) - 1))
    left = np.stack([constant.real, -constant.imag, slope.real, -slope.imag], axis=2).astype(np.float32)
    right = np.stack([within.real, within.imag, places * within.real, places * within.imag], axis=1).astype(np.float32)
    return np.asarray((left @ right).reshape(len(multiples), -1)[:, : len(ramp)])


def _may_have_line(samples: NDArray[np.float32], sample_rate_hz: int) -> bool:
    """Return whether means of some samples, at about 800 Hz, have more power at 50 or 60 Hz than beside it."""
    step = max(1, sample_rate_hz // COARSE_HZ)
    means = samples[: len(samples) // step * step].reshape(-1, step) @ np.full(step, 1 / step, np.float32)
    spectrum, bin_hz = _spectrum(means, sample_rate_hz / step)
    power = np.square(np.abs(spectrum))

    def near(mains_hz: float, within_hz: float) -> NDArray[np.float32]:
        return power[int((mains_hz - within_hz) / bin_hz) : int((mains_hz + within_hz) / bin_hz) + 2]

    lowest = 10 ** (COARSE_LINE_DB / 10)
    return any(
        near(each, TOLERANCE_HZ).max() > lowest * np.median(near(each, NEIGHBOURS_HZ)) + TINY for each in MAINS_HZ
    )


def _spectrum(samples: NDArray[np.float32], sample_rate_hz: float) -> tuple[NDArray[np.complex64], float]:
    """Return the spectrum and the distance of its bins in Hz."""
    length = scipy.fft.next_fast_len(len(samples), real=True)
    spectrum = scipy.fft.rfft((samples - samples.mean()) * np.hanning(len(samples)).astype(np.float32), length)
    return spectrum, sample_rate_hz / length


def _low_power_spectrum(samples: NDArray[np.float32], sample_rate_hz: float) -> tuple[NDArray[np.float32], float]:
    """Return the power up to the highest line with several values per bin, and their distance in Hz."""
    spectrum, bin_hz = _spectrum(samples, sample_rate_hz)
    # Samples at a lower rate, which have only these frequencies, take a fifth of the time.
    low = scipy.fft.irfft(spectrum[: int((HIGHEST_HZ + 2 * NEIGHBOURS_HZ) / bin_hz) + 2])
    length = scipy.fft.next_fast_len(PADDING * len(low), real=True)
    return np.square(np.abs(scipy.fft.rfft(low, length))), bin_hz * len(low) / length


def _strongest(samples: NDArray[np.float32], sample_rate_hz: int) -> MainsHum | None:
    """Find the lines of 50 or 60 Hz, whichever are stronger."""
    power, bin_hz = _low_power_spectrum(samples, sample_rate_hz)
    found = [lines for mains_hz in MAINS_HZ if (lines := _lines(power, bin_hz, mains_hz)) is not None]
    return max(found, key=lambda each: each[0])[1] if found else None


def _lines(power: NDArray[np.float32], bin_hz: float, mains_hz: float) -> tuple[float, MainsHum] | None:
    """Find the strongest lines at multiples of one frequency near ``mains_hz``, and the sum of their powers.

    Returns:
        None without a line at this frequency itself.
    """
    highest_hz = min(HIGHEST_HZ, (len(power) - 1) * bin_hz - NEIGHBOURS_HZ)
    multiples = np.arange(1, int(highest_hz / (mains_hz + TOLERANCE_HZ)) + 1)
    low, high = (
        np.rint((mains_hz * multiples + side) / bin_hz).astype(int) for side in (-NEIGHBOURS_HZ, NEIGHBOURS_HZ)
    )
    usual = np.array([np.median(power[start:stop]) for start, stop in zip(low, high, strict=True)]) + TINY
    candidates = mains_hz + np.arange(-TOLERANCE_HZ, TOLERANCE_HZ + STEP_HZ / 2, STEP_HZ)
    levels = power[np.rint(candidates[:, None] * multiples / bin_hz).astype(int)]
    levels = np.where(levels > usual * 10 ** (FURTHER_LINE_DB / 10), levels, 0)
    levels[levels[:, 0] < usual[0] * 10 ** (LINE_DB / 10)] = 0
    levels = np.where(levels > levels[:, :LOW_LINES].max(axis=1, keepdims=True), 0, levels)
    best = int(levels.sum(axis=1).argmax())
    if not levels[best].any():
        return None
    lines = tuple(int(each) for each in multiples[levels[best] > 0])
    return float(levels[best].sum()), MainsHum(float(candidates[best]), lines)
