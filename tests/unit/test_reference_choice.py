"""Which channel of a dataset would serve as reference, from normal recordings alone."""

from pathlib import Path

import numpy as np
import pytest

from ml.dataset.indexing.build import index
from ml.training.reference_choice import ReferenceComparison, compare_reference_channels
from tests import sounds
from tests.commands import signalml
from tests.unit import pairs


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two machines with pairs of channels."""
    return pairs.write(tmp_path_factory.mktemp("data") / "hall")


def compare(folder: Path) -> ReferenceComparison | None:
    """The comparison of the channels, in this process."""
    return compare_reference_channels(index(folder, processes=1), processes=1)


def test_the_microphone_of_the_hall_is_the_best_reference(hall: Path) -> None:
    """It explains much, the machines stay apart, and it is softer; each recording of each choice is reported."""
    steps = []
    found = compare_reference_channels(index(hall, processes=1), processes=1, report=steps.append)
    assert found is not None
    assert (found.channels, found.recordings, found.refused) == (2, 24, None)
    best, other = found.choices
    assert (best.channel, other.channel) == (1, 0)
    assert best.benefit is not None
    assert best.benefit.helps
    assert best.benefit.explained > 0.8
    assert best.level_db == pytest.approx(-other.level_db, abs=0.01)
    assert -3 < best.level_db < 0
    assert max(step.done for step in steps) == 24


def test_inspect_prints_the_best_first(hall: Path, tmp_path: Path) -> None:
    """The line has the option of a training; --json has all values, --no-channels and --csv none."""
    done = signalml(tmp_path, "inspect", hall, "--processes", 1)
    lines = done.stdout.splitlines()
    place = lines.index("reference channel, from 24 normal recordings with 2 channels")
    assert lines[place + 1].startswith("  channel 1 as reference explains 9")
    assert lines[place + 1].endswith(" dB softer than channel 0: a good reference (--reference-channel 1)")
    assert '"reference_channels": {' in signalml(tmp_path, "inspect", hall, "--processes", 1, "--json").stdout
    for option in ("--no-channels", "--csv"):
        assert "reference" not in signalml(tmp_path, "inspect", hall, "--processes", 1, option).stdout


def test_channels_with_the_same_signal_are_no_reference(tmp_path: Path) -> None:
    """One microphone on both channels; the reason is printed."""
    for seed in range(12):
        pairs.put(tmp_path / "data" / "normal" / f"{seed:02}.wav", pairs.pair(seed)[:, [0, 0]])
    printed = signalml(tmp_path, "inspect", tmp_path / "data", "--processes", 1).stdout
    assert "too few recordings have a sound on it and a different one on another channel" in printed
    assert "a good reference" not in printed


def test_a_dead_channel_is_no_reference(tmp_path: Path) -> None:
    """It is named, and the other channel is then no reference either: there is nothing to explain."""
    for seed in range(12):
        pairs.put(tmp_path / "data" / "normal" / f"{seed:02}.wav", pairs.pair(seed) * [1, 0])
    found = compare(tmp_path / "data")
    assert found is not None
    assert [choice.benefit for choice in found.choices] == [None, None]
    printed = signalml(tmp_path, "inspect", tmp_path / "data", "--processes", 1).stdout
    assert "channel 1 as reference: not measured, because too few recordings have a sound on it" in printed


@pytest.mark.parametrize(
    ("channels", "recordings", "reason"),
    [(2, 11, "11 normal recordings with 2 channels; at least 12"), (9, 12, "9 channels; at most 8 are compared")],
)
def test_what_cannot_be_compared_has_a_reason(tmp_path: Path, channels: int, recordings: int, reason: str) -> None:
    """Too few normal recordings, and too many channels."""
    for seed in range(recordings):
        pairs.put(tmp_path / "data" / "normal" / f"{seed:02}.wav", sounds.noise(4000, channels, seed))
    found = compare(tmp_path / "data")
    assert found is not None
    assert reason in str(found.refused)
    assert found.choices == ()
    assert reason in signalml(tmp_path, "inspect", tmp_path / "data", "--processes", 1).stdout


def test_recordings_with_one_channel_are_not_compared(tmp_path: Path) -> None:
    """Nor do abnormal recordings with two channels count."""
    for seed in range(12):
        pairs.put(tmp_path / "normal" / f"{seed:02}.wav", pairs.pair(seed)[:, 0])
        pairs.put(tmp_path / "abnormal" / f"{seed:02}.wav", pairs.pair(100 + seed))
    assert compare(tmp_path) is None


def test_of_many_recordings_some_of_each_machine_are_measured(tmp_path: Path) -> None:
    """With three channels, 32 recordings; each machine has the same number, from its first to its last."""
    for machine, count in (("fan/id_00", 30), ("fan/id_02", 20)):
        for seed in range(count):
            samples = np.concatenate([pairs.pair(seed)[:4000], sounds.noise(4000, 1, seed, 0.01)], axis=1)
            pairs.put(tmp_path / machine / "normal" / f"{seed:02}.wav", samples)
    found = compare(tmp_path)
    assert found is not None
    assert (found.channels, found.recordings, len(found.choices)) == (3, 32, 3)
