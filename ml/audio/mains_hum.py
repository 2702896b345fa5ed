"""Mains hum: narrow lines at 50 or 60 Hz and multiples, from a cable, a ground loop or a power supply."""

from dataclasses import dataclass
from typing import NamedTuple

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
SEGMENT_S = 2.0  # amplitude and phase of a line change slowly: linearly in a segment
TINY = 1e-30


@dataclass(frozen=True, slots=True)
class MainsHum:
    """Mains hum of one clip.

    Attributes:
        lines_hz: frequencies of the lines, lowest first.
        mains_hz: frequency of the mains, near 50 or 60 Hz.
        share: share of the lines in the power of the clip without its offset, 0 to 1.
    """

    lines_hz: tuple[float, ...]
    mains_hz: float
    share: float


def find_hum(samples: NDArray[np.float32], sample_rate_hz: int) -> MainsHum | None:
    """Find mains hum: narrow lines at exact multiples of 50 or 60 Hz.

    A line at 50 or 60 Hz is among them. A machine on the mains has a tone of twice this frequency without it, because
    the force of a magnet does not depend on the direction of the current. Lines above the fourth that are louder than
    the first four belong to the machine.

    Args:
        samples: ``(n,)``.
        sample_rate_hz: samples per second.

    Example:
        >>> t = np.arange(32_000) / 16_000
        >>> noise = np.random.default_rng(0).normal(0, 0.01, len(t))
        >>> hum = find_hum((noise + 0.1 * np.sin(2 * np.pi * 50 * t)).astype(np.float32), 16_000)
        >>> round(hum.mains_hz), len(hum.lines_hz), round(hum.share, 2)
        (50, 1, 0.98)
        >>> find_hum((noise + 0.1 * np.sin(2 * np.pi * 53 * t)).astype(np.float32), 16_000)
    """
    if len(samples) < SHORTEST_S * sample_rate_hz:
        return None
    length = scipy.fft.next_fast_len(PADDING * len(samples), real=True)
    spectrum = scipy.fft.rfft((samples - samples.mean()) * np.hanning(len(samples)).astype(np.float32), length)
    power, bin_hz = np.square(np.abs(spectrum)), sample_rate_hz / length
    found = [lines for mains_hz in MAINS_HZ if (lines := _lines(power, bin_hz, mains_hz)) is not None]
    if not found:
        return None
    _, mains_hz, lines_hz = max(found)
    return MainsHum(lines_hz, mains_hz, _share(samples, sample_rate_hz, lines_hz))


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
        >>> (line,) = fit_hum(tone, 16_000, MainsHum((50.0,), 50.0, 1.0))
        >>> float(np.abs(tone - line).max()) < 1e-4
        True
    """
    return _fit_lines(samples, sample_rate_hz, hum.lines_hz)


class _Lines(NamedTuple):
    """Lines at multiples of one frequency: sum of their powers, this frequency, and the lines in Hz, lowest first."""

    power: float
    mains_hz: float
    lines_hz: tuple[float, ...]


def _lines(power: NDArray[np.float32], bin_hz: float, mains_hz: float) -> _Lines | None:
    """Find the strongest lines at multiples of one frequency near ``mains_hz``; None without a line at it."""
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
    lines_hz = candidates[best] * multiples[levels[best] > 0]
    return _Lines(float(levels[best].sum()), float(candidates[best]), tuple(map(float, lines_hz)))


def _share(samples: NDArray[np.float32], sample_rate_hz: int, lines_hz: tuple[float, ...]) -> float:
    lines = _fit_lines(samples, sample_rate_hz, lines_hz).sum(axis=0)
    power, rest = float(np.square(lines).mean()), float((samples - lines).var())
    return power / max(power + rest, TINY)


def _fit_lines(samples: NDArray[np.float32], sample_rate_hz: int, lines_hz: tuple[float, ...]) -> NDArray[np.float32]:
    fitted = np.empty((len(lines_hz), len(samples)), np.float32)
    segments = max(1, round(len(samples) / (SEGMENT_S * sample_rate_hz)))
    for part in np.array_split(np.arange(len(samples)), segments):
        phase = 2 * np.pi * np.outer(lines_hz, part / sample_rate_hz)
        sines = np.concatenate([np.cos(phase), np.sin(phase)])
        ramp = np.linspace(-1, 1, len(part))
        rows = np.concatenate([sines, sines * ramp, [np.ones_like(ramp), ramp]])
        # A solution of the normal equations; the sines are nearly orthogonal.
        weights = np.linalg.solve(rows @ rows.T, rows @ samples[part])[:-2, None]
        fitted[:, part] = (rows[:-2] * weights).reshape(4, len(lines_hz), -1).sum(axis=0)
    return fitted
