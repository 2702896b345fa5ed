"""``signalml simulate``: dataset, seed and refusals."""

import wave
from pathlib import Path

import pytest

from tests.commands import assert_one_sentence, signalml

SMALL = ("--machines", 1, "--sessions", 1, "--recordings", 1, "--duration", 1)


def test_simulate_makes_a_dataset_and_prints_the_next_commands(tmp_path: Path) -> None:
    """Progress goes to stderr, a summary to stdout, and the last line has the next commands."""
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


def test_the_seed_decides_the_recordings(tmp_path: Path) -> None:
    """The same seed gives the same recording, another seed another one."""
    sounds = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert signalml(tmp_path / "home", "simulate", name, *SMALL, "--seed", seed).returncode == 0
        sounds.append((tmp_path / name / "6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav").read_bytes())
    assert sounds[0] == sounds[1] != sounds[2]


def test_a_reference_is_one_more_channel_and_the_next_command_uses_it(tmp_path: Path) -> None:
    """``--reference`` adds the last channel; the training gets its number."""
    done = signalml(tmp_path / "home", "simulate", "hall", *SMALL, "--snr", -6, "--reference", "--bleed", -10)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "next:  signalml inspect hall   signalml train hall --detector --reference-channel 1"
    )
    with wave.open(str(tmp_path / "hall" / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav")) as file:
        assert file.getnchannels() == 2


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (("--channels", 9), ("channels is 9", "1 to 8")),
        (("--machines", 0), ("machines is 0",)),
        (("--snr", 6, "--snr", 6), ("each ratio once",)),
        (("--seed", -1), ("seed is -1",)),
        (("--reference", "--bleed", 3), ("--bleed is 3.0", "-60 to 0")),
        (("--bleed", -10), ("--bleed is -10.0 without a reference",)),
        (("--duration", 60, "--recordings", 10000, "--sessions", 1000), ("MB are free",)),
    ],
)
def test_an_impossible_simulation_is_refused_in_one_sentence(
    tmp_path: Path, options: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    """Nothing is written."""
    assert_one_sentence(signalml(tmp_path / "home", "simulate", "fans", *options), *fragments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    """The folder is refused in one sentence, and its files are unchanged."""
    (tmp_path / "fans").mkdir()
    (tmp_path / "fans" / "mine.txt").write_text("mine")
    assert_one_sentence(signalml(tmp_path / "home", "simulate", "fans", *SMALL), "exists and is not empty")
    assert [path.name for path in (tmp_path / "fans").iterdir()] == ["mine.txt"]
