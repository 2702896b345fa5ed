"""A receiver of sound that keeps all it gets, and a reader that runs for the length of a test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from listener.sound import SoundBlock, SourceState
from ml.machines.recording_time import RecordingTime
from ml.models.verdict import Verdict
from testing.servers import wait_until

WITHIN_S = 60.0


class Receiver:
    """Keeps blocks, gaps and states.

    Attributes:
        blocks, gaps, states: in their order.
        items: all of them, in their order.
        blocked: while it is set, :meth:`receive` does not return.
        stop_s: time that the reader took to stop.
    """

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.blocks: list[SoundBlock] = []
        self.gaps: list[tuple[float, str]] = []
        self.states: list[tuple[SourceState, str]] = []
        self.items: list[Any] = []
        self.blocked = threading.Event()
        self.stop_s = 0.0

    def receive(self, block: SoundBlock) -> None:
        """Keep a block."""
        self.blocks.append(block)
        self.items.append(block)
        while self.blocked.is_set():
            time.sleep(0.01)

    def report_gap(self, seconds: float, cause: str) -> None:
        """Keep a gap."""
        self.gaps.append((seconds, cause))
        self.items.append((seconds, cause))

    def report_state(self, state: SourceState, cause: str = "") -> None:
        """Keep a state."""
        self.states.append((state, cause))

    def judge_recording(self, path: Path, content: bytes, time: RecordingTime | None) -> Verdict | None:
        """Not for sound in blocks."""
        raise AssertionError((path, len(content), time))

    @property
    def seconds(self) -> float:
        """Length of all blocks."""
        return sum(len(block.samples) / block.sample_rate_hz for block in list(self.blocks))

    def wait_for(self, state: SourceState, after: SourceState | None = None, within_s: float = WITHIN_S) -> str:
        """Wait for a state, after the last one of another kind; returns its cause."""

        def found() -> list[tuple[SourceState, str]]:
            states = list(self.states)
            if after is not None:
                places = [place for place, each in enumerate(states) if each[0] == after]
                states = states[places[-1] :] if places else []
            return [each for each in states if each[0] == state]

        return str(wait_until(found, within_s)[0][1])


@contextmanager
def running(reader: Any, receiver: Receiver | None = None) -> Iterator[Receiver]:
    """Run a reader; at the end it must stop within two seconds."""
    receiver = Receiver(reader) if receiver is None else receiver
    thread = threading.Thread(target=reader.run, args=(receiver,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.blocked.clear()
        started = time.monotonic()
        reader.stop()
        thread.join()
        receiver.stop_s = time.monotonic() - started
    assert receiver.stop_s < 2.0
