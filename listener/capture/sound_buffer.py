"""Bounded buffer between the thread that captures sound and the one that gives it to the receiver."""

import threading
from collections import deque
from typing import NamedTuple

from listener.sound import SoundBlock, SoundReceiver, SourceState

BUFFER_S, BUFFER_BYTES = 30.0, 32 * 2**20
MAX_ITEMS = 2000
TOO_SLOW = "this computer was too slow: the oldest sound was dropped"


class Gap(NamedTuple):
    """Gap before the next block.

    Attributes:
        seconds: its length, in seconds.
        cause: what happened.
    """

    seconds: float
    cause: str


class StateChange(NamedTuple):
    """New state of a source, with its cause."""

    state: SourceState
    cause: str


Item = SoundBlock | Gap | StateChange


class SoundBuffer:
    """Sound, gaps and states of one source, in their order. If it is full, the oldest sound is dropped.

    Args:
        limit_s: longest sound that it holds, in seconds.

    Attributes:
        dropped_seconds: sound that was dropped until now, in seconds.
    """

    def __init__(self, limit_s: float = BUFFER_S) -> None:
        self.dropped_seconds = 0.0
        self._limit_s = limit_s
        self._items: deque[Item] = deque()
        self._seconds = self._gap_s = 0.0
        self._bytes = 0
        self._dropped_state: StateChange | None = None
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Add an item. Never waits."""
        with self._changed:
            if isinstance(item, StateChange) and self._items and isinstance(self._items[-1], StateChange):
                self._items.pop()
            self._items.append(item)
            self._count(item, 1)
            while self._seconds > self._limit_s or self._bytes > BUFFER_BYTES or len(self._items) > MAX_ITEMS:
                self._drop()
            self._changed.notify()

    def get(self, timeout_s: float) -> Item | None:
        """Return the oldest item; None if there is none within this time."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if self._dropped_state is not None:
                state, self._dropped_state = self._dropped_state, None
                return state
            if self._gap_s and self._items and not isinstance(self._items[0], StateChange):
                gap, self._gap_s = Gap(self._gap_s, TOO_SLOW), 0.0
                return gap
            if not self._items:
                return None
            item = self._items.popleft()
            self._count(item, -1)
            return item

    def close(self) -> None:
        """Wake the thread that waits in :meth:`get`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _count(self, item: Item, sign: int) -> None:
        if isinstance(item, SoundBlock):
            self._seconds = max(0.0, self._seconds + sign * _seconds(item))
            self._bytes += sign * item.samples.nbytes

    def _drop(self) -> None:
        """Drop the oldest item; what it was becomes part of the gap."""
        item = self._items.popleft()
        self._count(item, -1)
        if isinstance(item, SoundBlock):
            self.dropped_seconds += _seconds(item)
            self._gap_s += _seconds(item)
        elif isinstance(item, Gap):
            self._gap_s += item.seconds
        else:
            self._dropped_state = item


def deliver(item: Item, receiver: SoundReceiver) -> None:
    """Give an item to the receiver."""
    if isinstance(item, SoundBlock):
        receiver.receive(item)
    elif isinstance(item, Gap):
        receiver.report_gap(item.seconds, item.cause)
    else:
        receiver.report_state(item.state, item.cause)


def _seconds(block: SoundBlock) -> float:
    return len(block.samples) / block.sample_rate_hz
