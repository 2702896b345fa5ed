"""Recordings that other recorders write into a folder: each sound is judged once, and nothing else is deleted."""

import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from listener.capture import folder as folder_reader
from listener.capture import folder_changes, folder_queue
from listener.capture.folder import FolderReader
from listener.capture.readers import make_reader
from listener.config.source_types import FolderSource
from listener.options import ListenerOptions
from listener.sound import SoundBlock, SourceState
from ml.audio.decode import decode
from ml.audio.recording import AudioQuality
from ml.detectors.recorder_checks import UnusableReason
from ml.errors import AudioError
from ml.machines.recording_time import RecordingTime
from ml.models.labels import ClassLabel
from ml.models.verdict import ClipResult, Verdict
from testing.servers import wait_until

SETTLE_S = 0.2


def wav(seed: int, seconds: float = 0.5) -> bytes:
    """A recording whose bytes depend on the seed."""
    file = io.BytesIO()
    samples = np.random.default_rng(seed).normal(scale=0.1, size=int(8000 * seconds))
    soundfile.write(file, samples, 8000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def verdict_of(quality: AudioQuality, unusable: bool) -> Verdict:
    """A verdict without explanation."""
    label = ClassLabel("normal", "No fault.", anomalous=False)
    worst = ClipResult(0.0, quality.duration_s, 0.1, is_anomalous=False, label=label, probabilities=())
    reason = UnusableReason("digital_silence", "There is no sound.") if unusable else None
    return Verdict(
        reason, (worst,), worst, 0.5, None, None, quality, (), None, True, None, None, "a-version", 0, 0, None
    )  # fmt: skip


class Receiver:
    """Receiver that decodes each recording and keeps what it got."""

    def __init__(self) -> None:
        self.judged: list[tuple[str, bytes, RecordingTime | None]] = []
        self.refused: list[tuple[str, str]] = []
        self.states: list[tuple[SourceState, str]] = []
        self.before_verdict: Callable[[], None] = lambda: None
        self.finds_unusable = False

    def receive(self, block: SoundBlock) -> None:
        raise AssertionError(f"a folder has no blocks, such as {block}")

    def report_gap(self, seconds: float, cause: str) -> None:
        raise AssertionError(f"a folder has no gaps, such as {seconds} s: {cause}")

    def judge_recording(self, path: Path, content: bytes, time: RecordingTime | None) -> Verdict | None:
        self.before_verdict()
        try:
            quality = decode(content).quality
        except AudioError as error:
            self.refuse_recording(path.name, str(error))
            raise
        self.judged.append((path.name, content, time))
        return verdict_of(quality, self.finds_unusable)

    def refuse_recording(self, name: str, cause: str) -> None:
        self.refused.append((name, cause))

    def report_state(self, state: SourceState, cause: str = "") -> None:
        self.states.append((state, cause))

    @property
    def names(self) -> list[str]:
        """Names of the judged recordings, in their order."""
        return [name for name, *_ in self.judged]


@contextmanager
def reading(
    folder: Path, home: Path | None = None, receiver: Receiver | None = None, **values: Any
) -> Iterator[Receiver]:
    """Run a reader; it must stop within two seconds."""
    receiver = receiver or Receiver()
    source = FolderSource(name="hall", machine_id="fan-3", path=str(folder), settle_s=SETTLE_S, **values)
    reader = make_reader(source, ListenerOptions(home)) if home else FolderReader(source, None)
    thread = threading.Thread(target=reader.run, args=(receiver,))
    thread.start()
    try:
        yield receiver
    finally:
        began = time.monotonic()
        reader.stop()
        thread.join(5)
        assert time.monotonic() - began < 2


def wait_for(receiver: Receiver, count: int) -> None:
    """Wait for this many judged recordings, and a moment longer for further ones."""
    wait_until(lambda: len(receiver.judged) >= count, 10)
    settle()
    assert len(receiver.judged) == count, receiver.names


def settle() -> None:
    """Wait until a file that was written now would have been judged."""
    time.sleep(SETTLE_S + 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings once in half a second."""
    monkeypatch.setattr(folder_reader, "LIST_EVERY_S", 0.5)
    monkeypatch.setattr(folder_reader, "POLL_EVERY_S", 0.2)


@pytest.mark.parametrize("poll", [False, True])
def test_files_of_before_and_new_ones_are_judged_once(folder: Path, tmp_path: Path, poll: bool) -> None:
    """Also in new folders; a restart of the listener judges none again."""
    (folder / "old.wav").write_bytes(wav(1))
    with reading(folder, tmp_path, poll=poll) as receiver:
        wait_until(lambda: receiver.names == ["old.wav"], 10)
        (folder / "new.wav").write_bytes(wav(2))
        (folder / "2026" / "11").mkdir(parents=True)
        (folder / "2026" / "11" / "deep.wav").write_bytes(wav(3))
        wait_for(receiver, 3)
        assert sorted(receiver.names) == ["deep.wav", "new.wav", "old.wav"]
        assert receiver.states[0] == ("starting", "")
        assert receiver.states[-1] == ("listening", "")
    with reading(folder, tmp_path, poll=poll) as receiver:
        wait_until(lambda: receiver.states[-1][0] == "no_data", 10)
        settle()
        assert receiver.judged == []
        assert (folder / "old.wav").exists()


@pytest.mark.parametrize("poll", [False, True])
def test_a_file_that_grows_is_judged_when_it_is_whole(folder: Path, poll: bool) -> None:
    """With pauses that are shorter than the settling time, with reports of the system and without."""
    content = wav(1, seconds=2)
    with (folder / "a.wav").open("wb", buffering=0) as file:
        file.write(content[:3000])  # an empty file waits longer
        with reading(folder, poll=poll) as receiver:
            for start in range(3000, len(content), 3000):
                time.sleep(SETTLE_S / 2)
                file.write(content[start : start + 3000])
            wait_for(receiver, 1)
            assert receiver.judged[0][1] == content
            assert receiver.refused == []


def test_the_same_sound_is_judged_once_and_new_content_is_judged(folder: Path, tmp_path: Path) -> None:
    """A touched, renamed or copied file is the same sound; an overwritten one is a new one."""
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder, tmp_path) as receiver:
        wait_for(receiver, 1)
        os.utime(folder / "a.wav", (1e9, 1e9))
        shutil.copy(folder / "a.wav", folder / "copy.wav")
        (folder / "a.wav").rename(folder / "b.wav")
        settle()
        (folder / "b.wav").write_bytes(wav(2))
        wait_for(receiver, 2)
        assert receiver.names == ["a.wav", "b.wav"]
    (folder / "b.wav").rename(folder / "c.wav")
    with reading(folder, tmp_path) as receiver:
        settle()
        assert receiver.judged == []


def test_the_oldest_recording_is_judged_first(folder: Path) -> None:
    """By the time in the name, or else by the time of the last change."""
    for seed, name in enumerate(["x_20260103T120000.wav", "y_20260101T120000.wav", "z_20260102T120000.wav"]):
        (folder / name).write_bytes(wav(seed))
    (folder / "between.wav").write_bytes(wav(9))
    noon = 1767355200  # 2 January 2026, 12:00 UTC
    os.utime(folder / "between.wav", (noon + 3600, noon + 3600))
    with reading(folder) as receiver:
        wait_for(receiver, 4)
        assert [name[0] for name in receiver.names] == ["y", "z", "b", "x"]
        assert [time and (time.at[:19], time.source) for *_, time in receiver.judged] == [
            ("2026-01-01T12:00:00", "name"),
            ("2026-01-02T12:00:00", "name"),
            ("2026-01-02T13:00:00", "file"),
            ("2026-01-03T12:00:00", "name"),
        ]


def test_new_recordings_do_not_wait_for_old_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new ones are judged in turn, and more old ones than are kept in memory are judged too."""
    monkeypatch.setattr(folder_queue, "MOST_WAITING", 15)
    for number in range(20):
        (folder / f"old-{number}.wav").write_bytes(wav(number))
        os.utime(folder / f"old-{number}.wav", (1.7e9 + number, 1.7e9 + number))
    receiver = Receiver()
    receiver.before_verdict = lambda: time.sleep(0.2)
    with reading(folder, receiver=receiver):
        wait_until(lambda: receiver.judged, 10)
        (folder / "new.wav").write_bytes(wav(100))
        wait_until(lambda: len(receiver.judged) == 21, 30)
        assert receiver.names.index("new.wav") < 13
        assert [name for name in receiver.names if name != "new.wav"] == [f"old-{number}.wav" for number in range(20)]


def test_files_that_are_no_recordings_are_refused_once_and_stay(folder: Path, tmp_path: Path, quick: None) -> None:
    """Also one that is too large; a changed one is tried again."""
    (folder / "notes.txt").write_text("not audio")
    with (folder / "huge.wav").open("wb") as file:
        file.truncate(33 * 2**20)
    with reading(folder, tmp_path, after="delete") as receiver:
        wait_until(lambda: len(receiver.refused) == 2, 10)
        settle()
        assert sorted(name for name, _ in receiver.refused) == ["huge.wav", "notes.txt"]
        assert ("huge.wav", "it has 33 MiB; at most 32 MiB are accepted") in receiver.refused
        (folder / "notes.txt").write_bytes(wav(1))
        wait_for(receiver, 1)
        assert sorted(path.name for path in folder.iterdir()) == ["huge.wav"]
    with reading(folder, tmp_path, after="delete") as receiver:
        settle()
        assert receiver.refused == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_read_when_it_is_given(folder: Path) -> None:
    """It is refused once before."""
    (folder / "a.wav").write_bytes(wav(1))
    (folder / "a.wav").chmod(0)
    with reading(folder) as receiver:
        wait_until(lambda: receiver.refused, 10)
        assert receiver.refused == [("a.wav", "it cannot be read: Permission denied")]
        (folder / "a.wav").chmod(0o600)
        wait_for(receiver, 1)


def test_hidden_and_temporary_files_links_and_pipes_are_left_out(folder: Path, tmp_path: Path) -> None:
    """A link can lead out of the folder, or round in a circle; a temporary name is judged after its change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.wav").write_bytes(wav(1))
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "secret.wav").symlink_to(tmp_path / "outside" / "secret.wav")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe.wav")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.wav").write_bytes(wav(2))
    for seed, name in enumerate((".a.wav", "b.wav.part", "c.tmp")):
        (folder / name).write_bytes(wav(3 + seed))
    with reading(folder, after="delete") as receiver:
        settle()
        (folder / "b.wav.part").rename(folder / "b.wav")
        wait_for(receiver, 1)
        assert receiver.names == ["b.wav"]
        assert receiver.refused == []
    assert (tmp_path / "outside" / "secret.wav").exists()
    assert len(list(folder.iterdir())) == 7


@pytest.mark.parametrize("inside", [False, True])
def test_judged_recordings_are_moved_to_free_names(folder: Path, tmp_path: Path, inside: bool) -> None:
    """The path is kept, also if the target is in the folder; nothing is replaced, and moved files are not read."""
    target = folder / "done" if inside else tmp_path / "done"
    (target / "line").mkdir(parents=True)
    (target / "line" / "a.wav").write_bytes(b"another one")
    (folder / "line").mkdir()
    (folder / "line" / "a.wav").write_bytes(wav(1))
    (folder / "notes.txt").write_text("not audio")
    with reading(folder, after="move", move_to=str(target)) as receiver:
        wait_for(receiver, 1)
        assert (target / "line" / "a.wav").read_bytes() == b"another one"
        assert (target / "line" / "a-1.wav").read_bytes() == wav(1)
        assert not (folder / "line" / "a.wav").exists()
        assert (folder / "notes.txt").exists()
        (folder / "line" / "a.wav").write_bytes(wav(1))  # the same sound again: it is moved, and there is one copy
        wait_until(lambda: not (folder / "line" / "a.wav").exists(), 10)
        assert len(receiver.judged) == 1
        assert len(list((target / "line").iterdir())) == 2


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system")
def test_a_recording_is_moved_to_another_file_system(folder: Path) -> None:
    """With its content and its time."""
    target = Path("/dev/shm") / f"signalml-{os.getpid()}"
    (folder / "a.wav").write_bytes(wav(1))
    os.utime(folder / "a.wav", (1.7e9, 1.7e9))
    try:
        with reading(folder, after="move", move_to=str(target)) as receiver:
            wait_for(receiver, 1)
            wait_until(lambda: list(folder.iterdir()) == [], 10)
            assert [path.name for path in target.iterdir()] == ["a.wav"]
            assert (target / "a.wav").read_bytes() == wav(1)
            assert (target / "a.wav").stat().st_mtime == 1.7e9
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_only_what_was_judged_is_deleted(folder: Path) -> None:
    """A file that is replaced while it is judged is judged again; an unusable one stays."""
    receiver = Receiver()
    (folder / "a.wav").write_bytes(wav(1))
    replaced: list[bool] = []

    def replace() -> None:
        if not replaced:
            replaced.append(True)
            (folder / "a.tmp").write_bytes(wav(2))
            (folder / "a.tmp").replace(folder / "a.wav")

    receiver.before_verdict = replace
    with reading(folder, receiver=receiver, after="delete"):
        wait_for(receiver, 2)
        assert [content for _, content, _ in receiver.judged] == [wav(1), wav(2)]
        wait_until(lambda: list(folder.iterdir()) == [], 10)
        receiver.finds_unusable = True
        (folder / "silent.wav").write_bytes(wav(3))
        wait_for(receiver, 3)
        assert (folder / "silent.wav").exists()


def test_a_move_that_cannot_be_done_is_done_later(folder: Path, tmp_path: Path, quick: None) -> None:
    """The recording is not judged again."""
    target = tmp_path / "done"
    target.write_text("a file is in the way")
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder, after="move", move_to=str(target)) as receiver:
        wait_for(receiver, 1)
        assert (folder / "a.wav").exists()
        target.unlink()
        wait_until(lambda: (target / "a.wav").exists(), 10)
        assert receiver.names == ["a.wav"]


def test_a_killed_move_is_finished_after_the_restart(folder: Path, tmp_path: Path) -> None:
    """A hidden name that it left is restored, and the recording is not judged again."""
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder, tmp_path) as receiver:
        wait_for(receiver, 1)
    (folder / "a.wav").rename(folder / ".signalml-taken.a.wav")
    with reading(folder, tmp_path, after="delete") as receiver:
        wait_until(lambda: list(folder.iterdir()) == [], 10)
        assert receiver.judged == []


def test_a_missing_folder_is_named_and_heals(folder: Path, tmp_path: Path) -> None:
    """Missing at the start, there, away and back again with another file."""
    folder.rmdir()
    with reading(folder, tmp_path) as receiver:
        wait_until(lambda: receiver.states[-1][0] == "failed", 10)
        assert receiver.states[-1] == ("failed", "the folder cannot be read: No such file or directory")
        folder.mkdir()
        wait_until(lambda: receiver.states[-1][0] == "no_data", 10)
        (folder / "a.wav").write_bytes(wav(1))
        wait_for(receiver, 1)
        folder.rename(tmp_path / "away")
        wait_until(lambda: receiver.states[-1][0] == "failed", 10)
        (tmp_path / "away").rename(folder)
        wait_until(lambda: receiver.states[-1][0] == "listening", 10)
        (folder / "b.wav").write_bytes(wav(2))
        wait_for(receiver, 2)


def test_reports_that_the_system_lost_are_made_up_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """The listing finds files that no report named."""

    def silent(_: list[str], stopping: threading.Event) -> Iterator[set[str]]:
        while not stopping.wait(0.1):
            yield set()

    monkeypatch.setattr(folder_changes, "_watched_paths", silent)
    with reading(folder, poll=False) as receiver:
        wait_until(lambda: receiver.states[-1][0] == "no_data", 10)
        (folder / "a.wav").write_bytes(wav(1))
        wait_for(receiver, 1)


def test_a_folder_that_cannot_be_watched_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """Such as when the system has no more watches."""

    def refuse(_: list[str], __: threading.Event) -> Iterator[set[str]]:
        raise OSError(28, "OS file watch limit reached")
        yield

    monkeypatch.setattr(folder_changes, "_watched_paths", refuse)
    with reading(folder) as receiver:
        (folder / "a.wav").write_bytes(wav(1))
        wait_for(receiver, 1)


def test_it_stops_while_a_recording_waits_for_its_verdict(folder: Path, tmp_path: Path) -> None:
    """Within two seconds, see ``reading``; the recording is judged after the restart."""
    receiver = Receiver()
    answer = threading.Event()
    receiver.before_verdict = lambda: answer.wait() and None
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder, tmp_path, receiver, after="delete"):
        time.sleep(1)
    assert (folder / "a.wav").exists()
    with reading(folder, tmp_path, after="delete") as second:
        wait_for(second, 1)
    answer.set()


def test_a_file_system_that_hangs_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not return keeps neither the state nor the stop from working."""
    hangs, answer = threading.Event(), threading.Event()

    def hang(*values: Any) -> Any:
        hangs.set()
        answer.wait()
        raise OSError(110, "Connection timed out")

    monkeypatch.setattr(folder_reader, "HANGS_AFTER_S", 0.5)
    monkeypatch.setattr("listener.capture.folder_judging.read_file", hang)
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder) as receiver:
        assert hangs.wait(10)
        wait_until(lambda: receiver.states[-1][0] == "failed", 10)
        assert receiver.states[-1][1] == "the file system has not answered for 0.5 s"
    answer.set()


def test_a_bug_in_one_recording_does_not_stop_the_others(folder: Path) -> None:
    """It is tried again much later."""
    receiver = Receiver()
    calls: list[int] = []

    def fail_first() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")

    receiver.before_verdict = fail_first
    (folder / "a.wav").write_bytes(wav(1))
    with reading(folder, receiver=receiver, after="delete"):
        wait_until(lambda: calls, 10)
        (folder / "b.wav").write_bytes(wav(2))
        wait_for(receiver, 1)
        assert receiver.names == ["b.wav"]
        assert [path.name for path in folder.iterdir()] == ["a.wav"]
