"""Channels that disagree: dead, clipped, inverted, or with an offset of their own."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ChannelFaultName = Literal["dead", "clipped", "inverted", "offset"]
# All chosen here. An unplugged input is this much below the loudest channel; microphones of one machine are closer.
DEAD_DB, DEAD_DBFS = 40.0, -60.0
CLIPPED_SHARE = 0.01
# Of samples and of their differences. Pairs of mimii_pair have up to 0.91 for the samples, because low tones reach both
# microphones, but -0.17 to 0.24 for the differences; one signal on two wires has 1 and -1.
SIMILAR = 0.6
OFFSET = 0.01
FRAME_STEP = 32
LONGEST_BLOCK = 65_536  # frames
# One frame of each 32, at irregular distances: every 32nd frame of a tone with this period has the same value. The
# fractions of a square times the golden ratio are irregular, and the same on every computer.
FRAMES = np.arange(0, LONGEST_BLOCK, FRAME_STEP)
FRAMES += (FRAME_STEP * np.modf(np.arange(len(FRAMES)) ** 2 * ((5**0.5 - 1) / 2))[0]).astype(int)


@dataclass(frozen=True, slots=True)
class ChannelFault:
    """Fault of one channel that other channels do not have.

    Attributes:
        channel: index from 0.
        fault: ``dead``, ``clipped``, ``inverted`` or ``offset``.
    """

    channel: int
    fault: ChannelFaultName


class ChannelMeter:
    """Offsets and similarity of the channels of one recording, measured block by block.

    Args:
        channels: number of channels.
        full_scale: coded value of full scale.

    Example:
        >>> sound = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
        >>> meter = ChannelMeter(3, full_scale=1.0)
        >>> meter.read(np.stack([sound, -sound, 0 * sound + 0.25], axis=1))
        >>> [(each.channel, each.fault) for each in meter.faults(np.zeros(3))]
        [(1, 'inverted'), (2, 'dead'), (2, 'offset')]
    """

    def __init__(self, channels: int, full_scale: float) -> None:
        self._full_scale = full_scale
        self._frames = self._some = 0
        self._first: NDArray[np.float32] | None = None
        self._sum, self._sum_of_some = np.zeros(channels), np.zeros(channels)
        self._products, self._products_of_changes = np.zeros((channels, channels)), np.zeros((channels, channels))

    def read(self, block: NDArray[np.float32]) -> None:
        """Measure one block: the sum of all frames, and products of two frames of each 32.

        Products of all frames would take as long as the mixing.

        Args:
            block: ``(frames, channels)``, as coded; 1 to 65 536 frames.
        """
        if self._first is None:
            self._first = block[0].copy()
        self._frames += len(block)
        # A product with ones takes a twentieth of the time of a sum along the first axis.
        self._sum += np.ones(len(block), np.float32) @ block
        chosen = FRAMES[: np.searchsorted(FRAMES, len(block) - 1)]
        some, changes = block.take(chosen, axis=0), block.take(chosen + 1, axis=0)
        changes -= some
        # Relative to the first frame, so that a large offset does not cost the precision of float32.
        some -= self._first
        self._some += len(some)
        self._sum_of_some += np.ones(len(some), np.float32) @ some
        self._products += some.T @ some
        self._products_of_changes += changes.T @ changes

    def faults(self, clipped_shares: NDArray[np.float64]) -> tuple[ChannelFault, ...]:
        """Return the faults that some channels have and others do not.

        - ``dead``: without its offset, below -60 dBFS and 40 dB below the loudest channel that is not clipped.
        - ``clipped``: more than 1 % of the samples are at full scale.
        - ``inverted``: the correlation with another channel is below -0.6, of the samples and of the differences
          between neighbouring samples, and most channels have the other sign. The differences have more of the high
          frequencies, so one low tone that reaches two microphones with opposite signs is no fault.
        - ``offset``: at least 0.01, and as far from the median of the channels.

        Args:
            clipped_shares: share of samples at full scale of each channel, ``(channels,)``.
        """
        if self._first is None or len(self._sum) == 1:
            return ()
        offset = self._sum / self._frames / self._full_scale
        some = max(1, self._some)
        covariance = self._products / some - np.outer(self._sum_of_some, self._sum_of_some) / some**2
        power = np.maximum(covariance.diagonal(), 0)
        is_clipped = clipped_shares > CLIPPED_SHARE
        # A clipped channel is much too loud to compare others with.
        loudest = power[~is_clipped].max(initial=0)
        full_scale = self._full_scale**2
        dead = power <= min(loudest * 10 ** (-DEAD_DB / 10), full_scale * 10 ** (DEAD_DBFS / 10))
        found: dict[ChannelFaultName, NDArray[np.bool_]] = {
            "dead": dead,
            "clipped": ~dead & is_clipped,
            "inverted": _inverted(_similarity(covariance, self._products_of_changes, dead), dead),
            "offset": (abs(offset) >= OFFSET) & (abs(offset - np.median(offset)) >= OFFSET),
        }
        return tuple(
            ChannelFault(channel, fault)
            for channel in range(len(offset))
            for fault, has in found.items()
            if has[channel] and not has[~dead | has].all()
        )


def intact_weights(channels: int, faults: tuple[ChannelFault, ...]) -> NDArray[np.float32]:
    """Return the weights of the channels for the mean of the intact ones.

    Dead and clipped channels have the weight 0, inverted ones a negative weight.

    Args:
        channels: number of channels.
        faults: result of :meth:`ChannelMeter.faults`.

    Example:
        >>> intact_weights(3, (ChannelFault(0, "dead"), ChannelFault(2, "inverted")))
        array([ 0. ,  0.5, -0.5], dtype=float32)
    """
    without = {
        name: {each.channel for each in faults if each.fault == name} for name in ("dead", "clipped", "inverted")
    }
    living = set(range(channels)) - without["dead"]
    kept = (living - without["clipped"]) or living
    signs = [(channel in kept) * (-1 if channel in without["inverted"] else 1) for channel in range(channels)]
    return np.array(signs, np.float32) / np.float32(len(kept))


def _similarity(
    covariance: NDArray[np.float64], products_of_changes: NDArray[np.float64], dead: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how similar the channels are, ``(channels, channels)``, -1 to 1.

    It is the correlation of the samples or of the differences, whichever is closer to 0, and 0 if their signs differ.
    """
    samples, changes = _correlation(covariance), _correlation(products_of_changes)
    weaker = np.sign(samples) * np.minimum(abs(samples), abs(changes))
    return np.where((samples * changes <= 0) | dead | dead[:, None], 0, weaker)


def _correlation(products: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.sqrt(np.maximum(np.outer(products.diagonal(), products.diagonal()), np.finfo(float).tiny))
    return np.asarray(products / scale)


def _inverted(similarity: NDArray[np.float64], dead: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which channels are inverted, ``(channels,)``.

    Beginning with the first living channel, the one that is most similar to a known channel gets its sign from it.
    """
    sign = np.zeros(len(dead))
    sign[np.argmin(dead)] = 1
    while (most := np.where((sign != 0)[:, None] & (sign == 0), abs(similarity), 0)).max() > SIMILAR:
        known, new = np.unravel_index(most.argmax(), most.shape)
        sign[new] = sign[known] * np.sign(similarity[known, new])
    return sign < 0 if (sign < 0).sum() <= (sign > 0).sum() else sign > 0
