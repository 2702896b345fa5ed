"""``signalml simulate``, as a person types it."""

from pathlib import Path

import pytest

from tests.commands import assert_one_sentence, signalml

SMALL = ("--machines", 1, "--sessions", 1, "--recordings", 1, "--duration", 1)


def test_simulate_makes_a_dataset_and_says_what_next(tmp_path: Path) -> None:
    """Progress on stderr, what was made on stdout, and as the last line what to type then."""
    done = signalml(tmp_path / "home", "simulate", "data/fans", *SMALL, "--snr", -6, "--snr", 6, "--channels", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "12 recordings, 1 fan, 1 MB, in data/fans",
        "next:  signalml inspect data/fans   signalml train data/fans --name fans",
    ]
    assert done.stderr == "recordings: 6 of 6\n"
    assert sorted(path.name for path in (tmp_path / "data" / "fans").iterdir()) == [
        "-6_dB_fan",
        "6_dB_fan",
        "manifest.csv",
    ]


def test_the_seed_is_an_option(tmp_path: Path) -> None:
    """The same seed twice is the same manifest and sound; another is another."""
    sounds = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert signalml(tmp_path / "home", "simulate", name, *SMALL, "--seed", seed).returncode == 0
        sounds.append((tmp_path / name / "6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav").read_bytes())
    assert sounds[0] == sounds[1] != sounds[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--channels", 9), ("channels is 9", "1 to 8")),
        (("--machines", 0), ("machines is 0",)),
        (("--snr", 6, "--snr", 6), ("each ratio once",)),
        (("--seed", -1), ("seed is -1",)),
        (("--duration", 60, "--recordings", 10000, "--sessions", 1000), ("MB are free",)),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(
    tmp_path: Path, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    """And nothing is made."""
    assert_one_sentence(signalml(tmp_path / "home", "simulate", "fans", *options), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """A dataset is not written over."""
    (tmp_path / "fans").mkdir()
    (tmp_path / "fans" / "mine.txt").write_text("mine")
    assert_one_sentence(signalml(tmp_path / "home", "simulate", "fans", *SMALL), "exists and is not empty")
    assert [path.name for path in (tmp_path / "fans").iterdir()] == ["mine.txt"]
