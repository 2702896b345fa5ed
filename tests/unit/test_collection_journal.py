"""The journal of a collection: every version can be read again, and a damaged line affects nothing else."""

import os
import time
from pathlib import Path

import pytest

from api.main import create_app
from api.settings import Settings
from ml.dataset.collection.counts import KeptCounts
from ml.dataset.collection.state import CollectionState
from ml.dataset.collection.store import Collection
from ml.errors import DatasetNotFound, DatasetVersionNotFound
from tests.unit.asgi import AppClient
from tests.unit.recordings import NAME, files, put, seen


def test_a_version_can_be_read_again(hall: Collection) -> None:
    """Recordings and labels are as they were; a recording that was removed since is a refusal."""
    first = put(hall, 1, label="normal").recording
    second = put(hall, 2, "b.wav", label="abnormal").recording
    pinned, then, fingerprint = hall.version, hall.recordings(), hall.dataset().fingerprint
    hall.relabel(first.id, {"label": "abnormal"})
    put(hall, 3)
    assert (pinned, hall.version) == ("3", "5")
    assert hall.recordings(at=pinned) == then
    assert hall.dataset(at=pinned).fingerprint == fingerprint
    assert [e.label for e in hall.dataset(at=pinned).entries] == ["normal", "abnormal"]
    hall.remove(second.id)
    without = hall.dataset(at=pinned)
    assert [(r.path, r.code) for r in without.refusals] == [(second.path, "file_missing")]
    assert [e.path for e in without.entries] == [first.path]


@pytest.mark.parametrize("version", ["0", "3", "-1", "x", "", "1.0", "²", "9" * 5000])
def test_a_version_that_does_not_exist_is_refused(hall: Collection, version: str) -> None:
    """The message names the versions that exist."""
    put(hall, 1)
    with pytest.raises(DatasetVersionNotFound, match="1 to 2"):
        hall.recordings(at=version)


def test_a_partial_last_line_is_ignored_and_removed_by_the_next_writer(hall: Collection, tmp_path: Path) -> None:
    """A partial line was never acknowledged; entries after it are read."""
    put(hall, 1, "a.wav")
    whole = (hall.folder / "journal.jsonl").read_bytes()
    with (hall.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"kind":"recording","number":2')
    assert (seen(tmp_path), hall.version, hall.damaged) == ([("a.wav", None)], "2", 0)
    put(hall, 2, "b.wav")
    lines = (hall.folder / "journal.jsonl").read_bytes()
    assert lines.startswith(whole)
    assert len(lines.splitlines()) == 3
    assert seen(tmp_path) == [("a.wav", None), ("b.wav", None)]


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\0" * 40, b"\xff\xfe", b"[]", b"1", b"null", b"{}", b'{"kind":"odd"}', b'{"kind":"removed","id":"x"}'),
        b'{"kind":"labels","at":"","request_id":"","id":"x","labels":{"label":"normal"}}',
        b'{"kind":"recording","at":"","request_id":"","number":1,"file_name":"","labels":[],"survey":{}}',
        b"[" * 100_000,
        b'{"kind":"recording","number":2,"file_name":"x","at":"","request_id":"","labels":{},"survey":{"audio_hash":"00",'
        b'"duration_s":1,"sample_rate_hz":1,"channels":1,"bits":16,"codec":"pcm","level_dbfs":null,"peak_dbfs":null,'
        b'"clipped_share":0,"bytes":"many"}}',
    ],
)
def test_a_damaged_line_is_counted_and_affects_nothing_else(hall: Collection, tmp_path: Path, line: bytes) -> None:
    """Other lines count as before, versions keep their numbers, and the file of the line is not removed."""
    put(hall, 1, "a.wav", label="normal")
    lost = put(hall, 2, "b.wav").recording
    put(hall, 3, "c.wav")
    journal = hall.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([*lines[:2], line, *lines[3:], b""]))
    fresh = Collection(tmp_path, NAME)
    assert [r.file_name for r in fresh.recordings()] == ["a.wav", "c.wav"]
    assert (fresh.damaged, fresh.version) == (1, "4")
    put(fresh, 4, "d.wav")
    assert lost.path in files(fresh)
    assert [e[0] for e in seen(tmp_path)] == ["a.wav", "c.wav", "d.wav"]


def test_files_without_a_line_are_removed(hall: Collection, tmp_path: Path) -> None:
    """Files of a process that was killed between file and line are removed by the next writer."""
    known = put(hall, 1).recording
    (hall.folder / "recordings" / "00000002-0123456789abcdef.wav").write_bytes(b"whole, and never acknowledged")
    (hall.folder / "recordings" / ".00000003-0123.wav.0123").write_bytes(b"half")
    new = put(Collection(tmp_path, NAME), 2).recording
    assert files(hall) == {known.path, new.path}


def test_a_reader_follows_a_dataset_that_was_made_anew(hall: Collection, tmp_path: Path) -> None:
    """A reader drops the old entries of a dataset that was removed and made again, even with a longer journal."""
    put(hall, 1, "old.wav")
    assert len(hall.recordings()) == 1
    other = Collection(tmp_path, NAME)
    other.delete()
    with pytest.raises(DatasetNotFound):
        hall.recordings()
    for seed in range(2, 6):
        put(other, seed, f"new-{seed}.wav")
    assert [r.file_name for r in hall.recordings()] == [f"new-{seed}.wav" for seed in range(2, 6)]


def test_a_reader_follows_an_append_that_was_undone(hall: Collection) -> None:
    """A line that was read before it was safe on the disk, and was then removed, is dropped."""
    put(hall, 1, "a.wav")
    before = (hall.folder / "journal.jsonl").stat().st_size
    put(hall, 2, "b.wav")
    assert len(hall.recordings()) == 2
    os.truncate(hall.folder / "journal.jsonl", before)
    assert [r.file_name for r in hall.recordings()] == ["a.wav"]


def test_many_revisions_are_read_in_one_pass(hall: Collection) -> None:
    """40 000 changes of one recording are read in less than two seconds, and give the history that was written."""
    first = put(hall, 1, label="normal").recording
    hall.relabel(first.id, {"group": "g"})
    journal = (hall.folder / "journal.jsonl").read_bytes()
    change = journal.splitlines()[-1]
    other = change.replace(b'"g"', b'"h"')
    start = time.process_time()
    state = CollectionState().with_lines([*journal.splitlines(), *[other, change] * 20_000])
    assert time.process_time() - start < 2
    history = state.recordings[first.id].history
    assert (len(history), state.damaged) == (40_002, 0)
    assert [revision.annotation.session for revision in history[:4]] == [None, "g", "h", "g"]
    assert {revision.changed for revision in history[1:]} == {("group",)}


def test_lines_read_one_by_one_or_at_once_are_the_same_state(hall: Collection) -> None:
    """Also where a recording is labelled, removed and added again."""
    known = [put(hall, number, label="normal").recording for number in (1, 2, 3)]
    for recording in (*known, known[0]):
        hall.relabel(recording.id, {"group": f"after {hall.version}"})
    hall.remove(known[1].id)
    (hall.folder / known[0].path).unlink()
    put(hall, 1, label="abnormal")
    put(hall, 2)
    lines = (hall.folder / "journal.jsonl").read_bytes().splitlines()
    state = CollectionState()
    for line in lines:
        state = state.with_lines([line])
    assert CollectionState().with_lines(lines) == state
    assert list(state.recordings) == list(CollectionState().with_lines(lines).recordings)
    assert [len(recording.history) for recording in state.recordings.values()] == [2, 4, 1]


def test_counts_are_kept_until_the_journal_changes(hall: Collection) -> None:
    """Read again after any change of the file, also one of the same size and time; never without a change."""
    reads: list[int] = []

    def read() -> CollectionState:
        reads.append(1)
        return Collection(hall.folder.parent.parent, NAME).current_state()

    kept = KeptCounts()
    put(hall, 1, label="normal")
    first = kept.counts(hall.folder, read)
    assert (first.recordings, first.labels, first.version, first.damaged) == (1, {"normal": 1}, "2", 0)
    assert kept.counts(hall.folder, read) is first
    assert len(reads) == 1
    journal = hall.folder / "journal.jsonl"
    before = journal.stat()
    journal.write_bytes(journal.read_bytes().replace(b'"normal"', b'"absent"'))
    os.utime(journal, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert journal.stat().st_size == before.st_size
    assert kept.counts(hall.folder, read).damaged == 1
    hall.delete()
    with pytest.raises(DatasetNotFound):
        kept.counts(hall.folder, read)
    put(hall, 2)
    assert kept.counts(hall.folder, read).labels == {None: 1}


def test_one_journal_that_cannot_be_read_breaks_no_list(tmp_path: Path) -> None:
    """A journal whose reading fails, here in the memory of a process, leaves out its dataset only."""
    for name in ("bad", "good"):
        Collection(tmp_path, name).create("request")
    journal = tmp_path / "datasets" / "bad" / "journal.jsonl"
    journal.unlink()
    journal.symlink_to("/proc/self/mem")
    answer = AppClient(create_app(Settings(home=tmp_path))).get("/v1/datasets")
    assert [each["name"] for each in answer.json()["datasets"]] == ["good"]
