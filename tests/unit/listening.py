"""Parts of a listener for tests: a home with a detector, and a source that is fed by the test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.config.source_types import PipeSource
from listener.judging.judge import Judge
from listener.judging.judged_clip import JudgedClip
from listener.judging.machine_record import MachineRecord
from listener.judging.models import Models
from listener.options import ListenerOptions
from listener.sound import SoundBlock
from listener.sources.schedule import RunningSchedule
from listener.sources.source_listener import SourceListener
from ml.models.bundle import DecisionThreshold
from ml.models.registry import Registry
from testing.servers import wait_until
from tests import sounds
from tests.unit import detectors

RATE_HZ = 16_000
# Clips of the fan have scores up to 0.9, those with the tone 0.95 and more.
DECISION = DecisionThreshold(0.92, 0.4, "chosen by a test")


def make_home(home: Path) -> str:
    """Make a home whose champion is a detector of the fan; returns its version."""
    registry = Registry(home)
    version = detectors.add(registry, decision=DECISION)
    registry.promote(version)
    return version


def healthy(duration_s: float) -> NDArray[np.float32]:
    """The fan, as 16-bit samples: the three seconds that the detector knows, each time with other noise."""
    parts = [sounds.fan(3.0, seed=10 + seed) for seed in range(-(-round(duration_s) // 3))]
    return to_16_bits(np.concatenate(parts)[: round(duration_s * RATE_HZ)])


def faulty(duration_s: float) -> NDArray[np.float32]:
    """The fan with a tone, as of a faulty bearing."""
    fan = healthy(duration_s).astype(np.float64)
    return to_16_bits(fan + sounds.sine(440, len(fan), RATE_HZ, 0.1))


def to_16_bits(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """Samples rounded to 16 bits, as floats."""
    return (np.clip(np.round(samples * 32_768), -32_768, 32_767) / 32_768).astype(np.float32)


@dataclass
class Fed:
    """One source whose sound a test gives, with its judge."""

    home: Path
    entry: PipeSource
    options: ListenerOptions
    clips: list[JudgedClip] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models = Models(self.home)
        self.record = MachineRecord(self.options)
        self.judge = Judge(self.options, self.models, self.record, self.clips.append)
        self.source = self.add(self.entry)
        self.models.refresh()

    def add(self, entry: PipeSource) -> SourceListener:
        """Another source of the same judge."""
        self.models.get(entry.model)
        schedule = RunningSchedule(entry.schedule)
        return SourceListener(
            entry, self.options, self.judge, self.models, schedule, lambda name, cause: self.lost.append((name, cause))
        )

    def play(self, samples: NDArray[np.float32], at: float, block_s: float = 0.1) -> None:
        """Give sound, and wait for the verdict of each clip of it."""
        step = round(block_s * RATE_HZ)
        for start in range(0, len(samples), step):
            self.source.receive(SoundBlock(samples[start : start + step], RATE_HZ, at + start / RATE_HZ))
            self.wait_for_judge()

    def wait_for_judge(self) -> None:
        """Wait until nothing waits for a verdict."""
        wait_until(lambda: self.judge.is_idle, every_s=0.001)


def fed(home: Path, start: bool = True, options: dict[str, Any] | None = None, **fields: Any) -> Fed:
    """A source of a machine ``fan-3`` with clips of 3 s, and other fields as given."""
    values = {"name": "hall", "machine_id": "fan-3", "clip_s": 3.0, **fields}
    made = Fed(home, PipeSource(**values), ListenerOptions(home, **(options or {})))
    if start:
        made.judge.start()
    return made


Feed = Callable[..., Fed]
