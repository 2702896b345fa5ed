"""Recordings behind links, and files and folders that are passed over with a reason."""

import os
from pathlib import Path

import pytest

from ml.dataset.catalog import load_dataset
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.summary import passed_over_lines, summarise
from ml.errors import DatasetEmpty
from ml.models.scoring import find_recordings
from tests.unit.datasets import write


def reasons(dataset: Dataset) -> dict[str, str]:
    """The code of each file or folder that is passed over."""
    return {each.path: each.code for each in dataset.passed_over}


def hub_cache(folder: Path) -> Path:
    """A dataset as caches of data hubs lay it out: the names are links to contents that are named by hashes."""
    write(folder, *(f"{n}.wav" for n in range(3)))
    for n, path in enumerate(("normal/a.wav", "normal/b.wav", "abnormal/c.WAV")):
        blob = folder / "blobs" / f"0{n}bad1e5f{n}c4d2"
        blob.parent.mkdir(exist_ok=True)
        (folder / f"{n}.wav").rename(blob)
        link = folder / "snapshots" / "main" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder / "snapshots" / "main"


def test_recordings_behind_links_are_read(tmp_path: Path) -> None:
    """A link has the name, its target the content; the target needs no suffix."""
    source = hub_cache(tmp_path / "hub")
    dataset = index(source, cache=tmp_path / "cache")
    assert [(entry.path, entry.label) for entry in dataset.entries] == [
        ("abnormal/c.WAV", "abnormal"),
        ("normal/a.wav", "normal"),
        ("normal/b.wav", "normal"),
    ]
    assert (dataset.passed_over, dataset.contradictions) == ((), ())
    assert index(source, cache=tmp_path / "cache").entries == dataset.entries


def test_links_that_leave_a_dataset_of_the_service_are_not_followed(tmp_path: Path) -> None:
    """They are named with the reason; links within the dataset are followed."""
    home = tmp_path / "home"
    write(home / "datasets" / "hall", "normal/1.wav", ".pool/2.wav")
    write(tmp_path, "secret/3.wav")
    (home / "datasets" / "hall" / "normal" / "away.wav").symlink_to(tmp_path / "secret" / "3.wav")
    (home / "datasets" / "hall" / "normal" / "folder").symlink_to(tmp_path / "secret")
    (home / "datasets" / "hall" / "normal" / "inside.wav").symlink_to("../.pool/2.wav")
    dataset = load_dataset(home, "hall", "")
    assert [entry.path for entry in dataset.entries] == ["normal/1.wav", "normal/inside.wav"]
    assert {path: code for path, code in reasons(dataset).items() if code == "link_outside"} == {
        "normal/away.wav": "link_outside",
        "normal/folder": "link_outside",
    }


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    """Circles end, and a folder or file that is reached twice counts once, under its own path."""
    data = write(tmp_path / "data", "normal/1.wav", "normal/2.wav", "abnormal/3.wav")
    write(tmp_path, "elsewhere/4.wav")
    (data / "normal" / "more").symlink_to(tmp_path / "elsewhere")
    (data / "normal" / "up").symlink_to("..")
    (data / "normal" / "self").symlink_to(".")
    (data / "normal" / "above").symlink_to("../..")
    (data / "again").symlink_to(data / "normal")
    (data / "normal" / "0.wav").symlink_to("1.wav")
    dataset = index(data)
    assert [entry.path for entry in dataset.entries] == [
        *("abnormal/3.wav", "normal/1.wav", "normal/2.wav", "normal/more/4.wav")
    ]
    assert reasons(dataset) == {
        "again": "same_folder",
        "normal/0.wav": "same_file",
        "normal/above": "link_circle",
        "normal/self": "link_circle",
        "normal/up": "link_circle",
    }
    assert "another path: normal." in next(each.reason for each in dataset.passed_over if each.path == "again")


def test_a_file_with_two_labels_is_not_passed_over(tmp_path: Path) -> None:
    """Both paths stay, so that the copies with contradicting labels are seen."""
    data = write(tmp_path / "data", "normal/1.wav", "normal/2.wav")
    (data / "abnormal").mkdir()
    (data / "abnormal" / "3.wav").symlink_to("../normal/1.wav")
    dataset = index(data)
    assert reasons(dataset) == {}
    assert [same["contradicting"] for same in summarise(dataset)["duplicates"]] == [True]


def test_everything_that_is_passed_over_is_named(tmp_path: Path) -> None:
    """Hidden files of macOS, hidden folders, other formats, other files and broken links, each with its reason."""
    data = write(tmp_path / "data", "1.WAV", "._1.wav", ".git/2.wav", "sub/.DS_Store/3.wav")
    for name in ("song.dts", "voice.RM", "notes.txt", "noextension"):
        (data / name).write_bytes(b"x")
    (data / "gone.wav").symlink_to("nothing.wav")
    (data / "loop.wav").symlink_to("loop.wav")
    (data / "empty.wav").touch()
    os.mkfifo(data / "pipe.wav")
    dataset = index(data)
    assert ([entry.path for entry in dataset.entries], [each.path for each in dataset.refusals]) == (
        ["1.WAV"],
        ["empty.wav"],
    )
    assert reasons(dataset) == {
        "._1.wav": "hidden",
        ".git": "hidden",
        "sub/.DS_Store": "hidden",
        "song.dts": "format_unsupported",
        "voice.RM": "format_unsupported",
        "notes.txt": "not_a_recording",
        "noextension": "not_a_recording",
        "gone.wav": "link_broken",
        "loop.wav": "link_broken",
        "pipe.wav": "not_a_file",
    }
    lines = passed_over_lines(dataset)
    assert "3 hidden: ._1.wav, .git, sub/.DS_Store. Hidden files and folders are not read." in lines
    assert any(line.startswith("2 link_broken: gone.wav, loop.wav.") for line in lines)
    assert {each["code"] for each in summarise(dataset)["passed_over"]} == set(reasons(dataset).values())


def test_recordings_that_a_manifest_does_not_list_are_named(tmp_path: Path) -> None:
    """They are not used, and nobody has to wonder why."""
    data = write(tmp_path / "data", "1.wav", "2.wav")
    (data / "manifest.csv").write_text("path,label\n1.wav,normal\n")
    assert reasons(index(data)) == {"2.wav": "not_listed"}


def test_a_folder_of_broken_links_states_why_it_is_empty(tmp_path: Path) -> None:
    """As a cache whose contents were deleted."""
    source = hub_cache(tmp_path / "hub")
    for blob in (tmp_path / "hub" / "blobs").iterdir():
        blob.unlink()
    with pytest.raises(DatasetEmpty, match=r"3 passed over, such as .*: The link leads to nothing"):
        index(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The others are used."""
    data = write(tmp_path / "data", "normal/1.wav", "normal/locked/2.wav")
    (data / "normal" / "locked").chmod(0)
    try:
        assert reasons(index(data)) == {"normal/locked": "folder_unreadable"}
    finally:
        (data / "normal" / "locked").chmod(0o700)


def test_a_score_reads_recordings_behind_links(tmp_path: Path) -> None:
    """``signalml score`` finds the same files as a training."""
    source = hub_cache(tmp_path / "hub")
    assert [file.name for file in find_recordings([source])] == ["c.WAV", "a.wav", "b.wav"]


@pytest.mark.parametrize("name", ["manifest.csv", "labels.csv"])
def test_a_table_outside_of_a_dataset_of_the_service_is_not_read(tmp_path: Path, name: str) -> None:
    """A message would show its columns; on the command line, the link is followed."""
    data = write(tmp_path / "data", "1.wav", "2.wav")
    (tmp_path / "secret.csv").write_text("path,label\n1.wav,normal\n2.wav,abnormal\n")
    (data / name).symlink_to(tmp_path / "secret.csv")
    dataset = index(data, within=data)
    assert (dataset.layout, dataset.contradictions) == ("flat", ())
    assert [(each.path, each.code) for each in dataset.passed_over] == [(name, "link_outside")]
    followed = index(data)
    assert followed.layout == "manifest" or len(followed.contradictions) == 1
