"""Collections with several writers, many recordings or a full disk: nothing acknowledged is lost."""

import threading
import time
from pathlib import Path

import pytest

from ml.dataset.catalog import dataset_names
from ml.dataset.collection.state import read_state
from ml.dataset.collection.store import AddResult, Collection
from ml.errors import StorageFull
from tests.disks import fill, small_disk
from tests.unit.processes import at_once
from tests.unit.recordings import NAME, files, lengthened, put


def add_many(home: Path, seeds: range, name: str) -> None:
    """Add recordings and label each, in one of several processes."""
    collection = Collection(home, NAME)
    for seed in seeds:
        recording = put(collection, seed, f"{name}-{seed}.wav").recording
        collection.relabel(recording.id, {"label": "normal", "group": name})


def test_two_processes_that_write_at_once_lose_nothing(hall: Collection, tmp_path: Path) -> None:
    """Each line of both is complete, and each recording has its own number."""
    at_once(add_many, [(tmp_path, range(20), "one"), (tmp_path, range(100, 120), "two")])
    found = hall.recordings()
    assert {r.file_name for r in found} == {f"one-{n}.wav" for n in range(20)} | {
        f"two-{n}.wav" for n in range(100, 120)
    }
    assert [r.number for r in found] == list(range(1, 41))
    assert {r.annotation.session for r in found} == {"one", "two"}
    assert (hall.version, hall.damaged) == ("81", 0)


def test_the_same_samples_added_by_many_threads_are_stored_once(tmp_path: Path) -> None:
    """Of ten threads, each with its own collection object, one adds the recording and nine get it."""
    results: list[AddResult] = []
    threads = [threading.Thread(target=lambda: results.append(put(Collection(tmp_path, NAME), 1))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.added for result in results) == [False] * 9 + [True]
    assert {result.recording.id for result in results} == {results[0].recording.id}
    assert len(Collection(tmp_path, NAME).recordings()) == 1


def test_ten_thousand_recordings_are_listed_quickly(hall: Collection, tmp_path: Path) -> None:
    """The first listing reads all entries; later ones read only new entries."""
    put(hall, 1)
    lengthened(hall.folder, 10_000)
    fresh, start = Collection(tmp_path, NAME), time.process_time()
    assert len(fresh.recordings()) == 10_000
    first_s, start = time.process_time() - start, time.process_time()
    for _ in range(10):
        assert len(fresh.recordings()) == 10_000
    again_s = (time.process_time() - start) / 10
    assert first_s < 5
    assert again_s < first_s / 20


@pytest.mark.parametrize("left_kb", range(0, 24, 4))
def test_a_full_disk_is_reported_and_leaves_nothing_partial(tmp_path: Path, left_kb: int) -> None:
    """If the new recording does not fit, it is absent, the old ones stay, and it can be added again later."""
    with small_disk(tmp_path / "home", "256k") as home:
        hall = Collection(home, NAME)
        before = put(hall, 1, "a.wav", label="normal").recording
        # Add lines until the next one begins a new block.
        while (hall.folder / "journal.jsonl").stat().st_size % 4096 < 3900:
            hall.relabel(before.id, {"group": f"{time.monotonic_ns()}"})
        known = hall.recordings()
        journal = (hall.folder / "journal.jsonl").read_bytes()
        ballast = fill(home, left_kb)
        if left_kb < 12:
            with pytest.raises(StorageFull, match="nothing of it was kept"):
                put(hall, 2, "b.wav", label="normal")
            assert (hall.recordings(), Collection(home, NAME).recordings()) == (known, known)
            assert (hall.folder / "journal.jsonl").read_bytes() == journal
            assert files(hall) == {before.path}
        else:
            assert put(hall, 2, "b.wav", label="normal").added
        ballast.unlink()
        put(hall, 2, "b.wav", label="normal")
        assert [r.file_name for r in Collection(home, NAME).recordings()] == ["a.wav", "b.wav"]
        assert hall.damaged == 0


@pytest.mark.parametrize("left_kb", range(0, 12, 4))
def test_a_full_disk_leaves_no_empty_dataset(tmp_path: Path, left_kb: int) -> None:
    """If the first recording does not fit, no dataset is left."""
    with small_disk(tmp_path / "home", "256k") as home:
        fill(home, left_kb)
        with pytest.raises(StorageFull):
            put(Collection(home, NAME), 1)
        assert dataset_names(home) == []
        assert [path for path in (home / "datasets").glob("*") if path.is_dir()] == []


def test_a_relabelling_on_a_full_disk_is_refused_and_keeps_the_labels(tmp_path: Path) -> None:
    """If the line does not fit, the labels and the journal stay as they were."""
    with small_disk(tmp_path / "home", "256k") as home:
        hall = Collection(home, NAME)
        known = put(hall, 1, label="normal").recording
        fill(home)
        while (hall.folder / "journal.jsonl").stat().st_size % 4096 < 3900:
            known = hall.relabel(known.id, {"group": f"{time.monotonic_ns()}"})
        with pytest.raises(StorageFull):
            hall.relabel(known.id, dict.fromkeys(("group", "machine", "machine_id"), "m" * 64))
        assert hall.recordings() == Collection(home, NAME).recordings() == (known,)
        assert read_state(hall.folder).damaged == 0
