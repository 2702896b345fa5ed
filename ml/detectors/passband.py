"""Passband that a filter, a codec or a resampler left, found by comparison with the normal recordings of a machine.

The levels are those of the fine spectrum, in bands of 31 Hz at 16 kHz, so that the last 100 Hz below half of the sample
rate count, too. A filter reduces all bands beyond a frequency; a fault of the machine does not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from ml.detectors.slices import slice_medians, slice_quantiles
from ml.detectors.spectra import BINS_PER_BAND, Spectra
from ml.features.spec import FeatureSpec

# All chosen here, on clean and filtered recordings (decision 17).
EDGE_ABOVE_DB, EDGE_BELOW_DB = 8.5, 14.0
FEWEST, NARROW = 2, 8  # bands; an edge with fewer bands beyond it than NARROW is one from 12 dB on
NARROW_EDGE_DB = 12.0
SAME_EDGE_DB = 3.0  # an edge so much smaller than the largest, but with more bands beyond it, is the same one
MOST_ABOVE, MOST_BELOW = 0.75, 0.125  # of all bands
HALF_STEP, MOST_ROUNDED = 2.0**-16, 0.125  # of 16 bits; of all bands
SMOOTH, WHOLE_DB = 8, 1.0  # bands, and the largest loss inside of a passband whose end is known
TRANSITION, BESIDE = 16, 32  # bands in which a filter begins, and bands beside them
# Above the passband, two bands in five may be higher: a line, or noise of the converter.
ABOVE_QUANTILE = 0.6
LARGE_GAIN_DB = 15.0
ROUNDING = 1e-5  # noise of 16 bits: noise that takes the place of a band has at least this amplitude over all bands


class Passband(NamedTuple):
    """Fine bands that a filter left: those from ``low`` to ``high - 1``."""

    low: int
    high: int

    def limits_hz(self, spec: FeatureSpec) -> tuple[float, float]:
        """Return the frequencies at which it begins and ends, in Hz.

        Args:
            spec: feature spec of the detector.

        Example:
            >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_fft=1024)
            >>> Passband(0, 192).limits_hz(spec)
            (0.0, 6000.0)
        """
        band_hz = BINS_PER_BAND * spec.sample_rate_hz / spec.n_fft
        return self.low * band_hz, self.high * band_hz


def relative_levels(spectra: Spectra) -> NDArray[np.float32]:
    """Return the fine spectrum minus its median: float32 ``(bands,)`` in dB.

    A filter that takes away less than half of the bands does not move the others by this.

    Example:
        >>> power = np.ones(513, np.float32)
        >>> power[401:] = 1e-6
        >>> relative_levels(Spectra(np.zeros((4, 8), np.float32), power))[[0, -1]].round(1)
        array([  0., -60.], dtype=float32)
    """
    return np.asarray(spectra.fine_spectrum - np.median(spectra.fine_spectrum))


def find_passband(clips: Sequence[Spectra], centre_db: NDArray[np.floating]) -> Passband:
    """Find the passband of a filter.

    With the difference ``d[b]`` of :func:`relative_levels` and the centre, the upper edge is that of the count ``k`` of
    bands for which ``min(m1, m2) - q`` is largest. ``q`` is the 60 % quantile of the highest ``k`` bands, or of the
    lowest 32 of them if that is more; ``m1`` and ``m2`` are the medians of the 32 bands and of all bands below, without
    16 bands in which a filter begins. It is one if this is above 8.5 dB; above 12 dB with fewer than eight bands.

    The lower edge is found in the same way, with the maximum of the lowest ``k`` bands, without the next ``k`` bands,
    above 14 dB. Of all within 3 dB of the largest, it is the one with the most bands. The passband begins an octave
    above, or up to half as many bands higher, where the difference is within 3 dB of the median of all bands above.

    Args:
        clips: spectra of a recording's clips, at least one. The loudest value of each band counts.
        centre_db: mean of :func:`relative_levels` of the machine's normal recordings, ``(bands,)``.

    Returns:
        The passband without the bands in which a filter begins; ``(0, bands)`` if there is no filter.

    Example:
        >>> power = np.where(np.arange(513) < 481, 1.0, 0.01).astype(np.float32)
        >>> find_passband([Spectra(np.zeros((4, 8), np.float32), power)], np.zeros(256))
        Passband(low=0, high=214)
    """
    difference_db = np.max([relative_levels(clip) for clip in clips], axis=0) - centre_db
    return Passband(_end_of_missing_below(difference_db), len(difference_db) - _missing_above(difference_db))


def passband_below(edge: int, difference_db: NDArray[np.floating]) -> Passband:
    """Return the passband of a filter that ends at a known band, without the bands in which the filter begins.

    These are 16 bands, or more down to where the mean difference of 8 bands is within 1 dB of the median of all bands
    below, but not more than a quarter of the bands.

    Args:
        edge: the band in which nothing of the machine is left any more.
        difference_db: :func:`relative_levels` minus those of the machine's normal recordings, ``(bands,)``.

    Example:
        >>> passband_below(100, np.where(np.arange(128) < 80, 0.0, -6.0))
        Passband(low=0, high=78)
    """
    high = max(0, edge - TRANSITION)
    low = max(0, edge - len(difference_db) // 4)
    if high == 0:
        return Passband(0, 0)
    smooth_db = scipy.ndimage.uniform_filter1d(difference_db, SMOOTH)
    whole = np.flatnonzero(smooth_db[low:high] > np.median(difference_db[:high]) - WHOLE_DB)
    return Passband(0, low + int(whole[-1]) + 1 if len(whole) else high)


def passband_above_rounding(clip: NDArray[np.float32], bands: int) -> Passband:
    """Return the passband without the highest bands that have less power than rounding to 16 bits can have.

    Together, these have at most the power of half a step: -96.3 dBFS. They are at most an eighth of the bands. Rounding
    that depends on the sound, as when bits are cut off, can have all of its noise there.

    Args:
        clip: ``(samples,)``; full scale is -1 to 1.
        bands: number of fine bands.

    Returns:
        ``(0, bands)`` if there is no such band.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
        >>> passband_above_rounding(noise, 256), passband_above_rounding(4e-5 * noise, 256)
        (Passband(low=0, high=256), Passband(low=0, high=224))
    """
    spectrum = scipy.fft.rfft(clip)
    # First bins of the bands that count, in a spectrum split as by numpy.array_split.
    size, longer = divmod(len(spectrum), bands)
    counted = np.arange(bands - round(MOST_ROUNDED * bands), bands)
    begins = size * counted + np.minimum(counted, longer)
    lowest = begins.min(initial=len(spectrum))
    # Of all bands from one on, as the mean square of their samples.
    total = np.cumsum(np.square(np.abs(spectrum[: lowest - 1 : -1])), dtype=np.float64)[::-1]
    power = 2 * np.append(total, 0)[begins - lowest] / len(clip) ** 2
    quiet = power <= HALF_STEP**2
    return Passband(0, bands - int(quiet.sum()))


def restore_band_levels(
    clip: NDArray[np.float32],
    difference_db: NDArray[np.floating],
    passband: Passband,
    spec: FeatureSpec,
) -> NDArray[np.float32]:
    """Give the bands outside of a passband the level that they have in normal recordings.

    The gain of such a band is the median difference of the bands inside minus that of the band. It is interpolated
    between the centres of the bands. With a gain above 15 dB, what is left in a band is hardly the machine's sound, and
    noise of the same power takes its place; it is the same for the same clip.

    Args:
        clip: ``(samples,)`` at the sample rate of the spec.
        difference_db: :func:`relative_levels` of the clip minus those of the machine's normal recordings, ``(bands,)``.
        passband: result of :func:`find_passband`.
        spec: feature spec of the detector.

    Returns:
        ``(samples,)``.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, n_fft=1024)
        >>> clip = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
        >>> louder = restore_band_levels(clip, np.where(np.arange(256) < 128, 0, -6.0), Passband(0, 128), spec)
        >>> round(float(louder.std() / clip.std()), 1)  # the upper half has four times the power
        1.6
    """
    inside = np.zeros(len(difference_db), bool)
    inside[passband.low : passband.high] = True
    gain_db = np.where(inside, 0, np.median(difference_db[inside]) - difference_db)
    rng = np.random.default_rng(0)
    spectrum = scipy.fft.rfft(clip)
    # The first band begins at bin 1, because bin 0 is no part of the fine spectrum.
    band_hz = BINS_PER_BAND * spec.sample_rate_hz / spec.n_fft
    position = scipy.fft.rfftfreq(len(clip), 1 / spec.sample_rate_hz) / band_hz - 0.5 - 0.5 / BINS_PER_BAND
    band = np.clip(np.round(position), 0, len(gain_db) - 1).astype(int)
    power = np.bincount(band, np.square(np.abs(spectrum))) / np.bincount(band)
    parts = rng.normal(size=(2, len(spectrum)))
    noise = np.sqrt(np.maximum(power, len(clip) * ROUNDING**2)[band] / 2) * (parts[0] + 1j * parts[1])
    changed = np.where(gain_db[band] > LARGE_GAIN_DB, noise, spectrum)
    gain = 10 ** (np.interp(position, np.arange(len(gain_db)), gain_db) / 20)
    return np.asarray(scipy.fft.irfft(changed * gain, len(clip)), np.float32)


def _missing_above(difference_db: NDArray[np.floating]) -> int:
    """Return the number of bands above the passband, with those in which the filter begins."""
    bands = len(difference_db)
    counts = np.arange(FEWEST, min(round(MOST_ABOVE * bands), bands - 2 * TRANSITION))
    near_usual, near_highest = _levels_beside_edges(difference_db, counts, BESIDE)
    possible = near_usual - near_highest > EDGE_ABOVE_DB
    # Most recordings end here: the levels of all bands take three times as long, and make no edge larger.
    if not possible.any():
        return 0
    counts = counts[possible]
    usual, highest = _levels_beside_edges(difference_db, counts, bands)
    edges_db = np.minimum(usual, near_usual[possible]) - np.maximum(highest, near_highest[possible])
    counted_db = edges_db.astype(np.float64) - np.where(counts < NARROW, NARROW_EDGE_DB - EDGE_ABOVE_DB, 0)
    # Of equal edges, the one with the most bands beyond it.
    best = len(counts) - 1 - int(counted_db[::-1].argmax())
    return int(counts[best]) + TRANSITION if counted_db[best] > EDGE_ABOVE_DB else 0


def _levels_beside_edges(
    difference_db: NDArray[np.floating], counts: NDArray[np.int64], most: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the usual level below each edge, and the highest one beyond it, of at most so many bands beside it.

    The bands nearest to the edge count on their own too, so that a gradual loss is no edge.
    """
    bands = len(difference_db)
    begins, ends = bands - counts, bands - counts - TRANSITION
    usual = slice_medians(difference_db, np.maximum(0, ends - most), ends)
    return usual, slice_quantiles(difference_db, begins, np.minimum(bands, begins + most), ABOVE_QUANTILE)


def _end_of_missing_below(difference_db: NDArray[np.floating]) -> int:
    """Return the number of bands below the passband, with those in which the filter begins: an octave or more."""
    counts = np.arange(FEWEST, round(MOST_BELOW * len(difference_db)))
    edges_db = _edges_below_db(difference_db, counts)
    if not (edges_db > EDGE_BELOW_DB).any():
        return 0
    begin = 2 * int(counts[np.flatnonzero(edges_db > edges_db.max() - SAME_EDGE_DB)[-1]])
    # Half of it more at most: what a fault does near the filter is to remain.
    end = begin + begin // 2
    whole = difference_db[begin:end] > np.median(difference_db[begin:]) - SAME_EDGE_DB
    return begin + int(whole.argmax()) if whole.any() else end


def _edges_below_db(difference_db: NDArray[np.floating], counts: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return how far the lowest bands are below the others for each count, in dB."""
    bands, begins = len(difference_db), 2 * counts
    usual = np.minimum(
        slice_medians(difference_db, begins, np.minimum(bands, begins + np.maximum(BESIDE, begins))),
        slice_medians(difference_db, begins, np.full_like(begins, bands)),
    )
    return np.asarray(usual - np.maximum.accumulate(difference_db)[counts - 1])
