"""What is remembered of a folder, and on which file systems it is."""

import os
import sqlite3
from pathlib import Path

import pytest

from listener.capture import folder_memory
from listener.capture.folder_files import Fingerprint
from listener.capture.folder_memory import FolderMemory, KnownFile, memory_file
from listener.capture.mounts import Mount, has_network_mount, mount_of, read_mounts

STATE = Fingerprint(1000, 1, 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a source."""
    return memory_file(tmp_path, "hall", "fan-3")


def test_a_file_is_known_in_its_state_and_a_sound_by_its_digest(file: Path) -> None:
    """Also after a restart, and with names that are no text."""
    name = os.fsdecode(b"a\xff\n.wav")
    memory = FolderMemory(file)
    memory.remember(name, KnownFile(STATE, "judged", unfinished=True, digest="d1"))
    memory.close()
    memory = FolderMemory(file)
    assert memory.is_known(name, STATE)
    assert not memory.is_known(name, STATE._replace(size=1001))
    assert memory.outcome_of("d1") == "judged"
    assert [(path, known.fingerprint) for path, known in memory.unfinished(10)] == [(name, STATE)]
    memory.forget(name, KnownFile(STATE, "judged"))
    assert not memory.is_known(name, STATE)
    assert memory.outcome_of("d1") == "judged"
    memory.close()


def test_another_machine_begins_anew(tmp_path: Path) -> None:
    """The same folder can be judged for another machine."""
    assert memory_file(tmp_path, "hall", "fan-3") != memory_file(tmp_path, "hall", "fan-4")


def test_more_files_than_are_kept_in_memory_are_known(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the disk."""
    monkeypatch.setattr(folder_memory, "MOST_QUICK", 5)
    memory = FolderMemory(file)
    for number in range(10):
        memory.remember(f"{number}.wav", KnownFile(STATE, "refused"))
    assert all(memory.is_known(f"{number}.wav", STATE) for number in range(10))
    assert not memory.is_known("10.wav", STATE)
    memory.close()


def test_files_that_are_gone_are_forgotten_when_there_are_too_many(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that exist are kept, however many they are."""
    monkeypatch.setattr(folder_memory, "FILES_KEPT", 10)
    monkeypatch.setattr(folder_memory, "FORGET_AT_ONCE", 7)
    memory = FolderMemory(file)
    for number in range(40):
        memory.remember(f"{number:02}.wav", KnownFile(STATE, "judged", digest=f"d{number}"))
    for _ in range(10):
        memory.forget_absent(lambda path: path.startswith("1"))
    kept = [number for number in range(40) if memory.find(f"{number:02}.wav", STATE)]
    assert set(range(10, 20)) <= set(kept)
    assert len(kept) <= 17
    memory.close()


def test_a_damaged_file_begins_anew(file: Path) -> None:
    """And works."""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database, but long enough for a header of one" * 100)
    memory = FolderMemory(file)
    memory.remember("a.wav", KnownFile(STATE, "judged", digest="d1"))
    memory.close()
    memory = FolderMemory(file)
    assert memory.is_known("a.wav", STATE)
    memory.close()


def test_a_full_disk_costs_memory_after_a_restart_only(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What could not be written is still known, and is written when there is room."""
    memory = FolderMemory(file)
    pages = memory._db.execute("PRAGMA page_count").fetchone()[0]
    memory._db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(300):
        memory.remember(f"{number}.wav", KnownFile(STATE, "judged", digest=f"{number:064}"))
    assert memory.is_known("299.wav", STATE)
    assert memory.find("299.wav", STATE) is not None
    assert memory.outcome_of(f"{299:064}") == "judged"
    assert caplog.text.count("cannot be remembered: database or disk is full") == 1
    memory._db.execute("PRAGMA max_page_count = 10000")
    memory.remember("300.wav", KnownFile(STATE, "judged", digest="d300"))
    memory.close()
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone() == (301,)
        assert db.execute("SELECT count(*) FROM sounds").fetchone() == (301,)
    db.close()


def test_a_network_file_system_is_recognised(tmp_path: Path) -> None:
    """The longest mount point counts, of two at one place the later one; names can have spaces."""
    listed = tmp_path / "mountinfo"
    listed.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        r"30 22 0:50 / /mnt/nas\040one rw,relatime shared:9 - nfs4 server:/a rw,addr=1.2.3.4"
        "\n31 22 0:51 / /mnt/usb rw shared:8 - cifs //server/b rw\n"
        "32 31 8:17 / /mnt/usb rw - vfat /dev/sdb1 rw\n"
        "33 22 0:60 / /home/a/remote rw - fuse.sshfs host:/ rw\nnot a line\n"
    )
    mounts = read_mounts(listed)
    assert [mount.kind for mount in mounts] == ["ext4", "nfs4", "cifs", "vfat", "fuse.sshfs"]
    assert mount_of("/mnt/nas one/hall", mounts) == Mount("/mnt/nas one", "nfs4")
    assert has_network_mount("/mnt/nas one/hall", mounts)
    assert not has_network_mount("/mnt/usb/hall", mounts)
    assert has_network_mount("/home/a", mounts)
    assert not has_network_mount("/home/ab", mounts)
    assert read_mounts(tmp_path / "none") == []
