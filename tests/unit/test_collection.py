"""Datasets that grow: nothing acknowledged is lost, nothing half is seen, and every version can be read again."""

import json
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.audio.info import read_info
from ml.dataset.catalog import ScoringItem, dataset_names, dataset_version, item_file, list_items, load_dataset
from ml.dataset.collection.state import read_state
from ml.dataset.collection.store import AddResult, Collection
from ml.dataset.indexing.build import index
from ml.errors import (
    DatasetEmpty,
    DatasetExists,
    DatasetNotFound,
    DatasetReadOnly,
    DatasetVersionNotFound,
    InvalidName,
    InvalidRecordingLabels,
    RecordingNotFound,
    StorageFull,
)
from tests import sounds
from tests.unit import datasets

NAME = "hall-3"


@pytest.fixture
def hall(tmp_path: Path) -> Collection:
    """A collection that is not there yet."""
    return Collection(tmp_path, NAME)


def sound(seed: int, seconds: float = 0.5) -> bytes:
    """A recording like no other."""
    return sounds.recording(sounds.noise(round(seconds * 8000), seed=seed), rate_hz=8000)


def put(collection: Collection, content: bytes | int, file_name: str = "a.wav", **given: str | float) -> AddResult:
    """Put a recording, or the one of a seed, into a collection."""
    content = sound(content) if isinstance(content, int) else content
    return collection.add(content, read_info(content), file_name, given, "request-1")


def seen(home: Path) -> list[tuple[str, str | None]]:
    """Names and labels, as a process that has read nothing yet sees them."""
    return [(r.file_name, r.annotation.label) for r in Collection(home, NAME).recordings()]


def files(collection: Collection) -> set[str]:
    """What lies in the collection's folder of recordings, hidden files too."""
    return {f"recordings/{file.name}" for file in (collection.folder / "recordings").iterdir()}


def test_what_was_put_in_is_there_with_its_facts(hall: Collection) -> None:
    """File, facts, labels, name and request are those of the upload, in another process too."""
    content = sound(1)
    recording, added, relabelled = put(hall, content, "fan 1.wav", label="abnormal", fault="imbalance", snr_db="6")
    assert (added, relabelled) == (True, False)
    (found,) = Collection(hall.folder.parent.parent, NAME).recordings()
    assert found == recording
    assert (found.id, found.info) == (read_info(content).audio_hash, read_info(content))
    assert (found.file_name, found.annotation.label, found.annotation.fault) == ("fan 1.wav", "abnormal", "imbalance")
    assert (found.annotation.snr_db, found.annotation.machine) == (6.0, None)
    assert (hall.folder / found.path).read_bytes() == content
    assert found.path == f"recordings/00000001-{found.id[:16]}.wav"
    assert found.history[0].request_id == "request-1"


def test_the_order_is_the_order_of_upload(hall: Collection) -> None:
    """Whatever the files are called; the numbers go on after a removal."""
    for name in ("z.wav", "b.wav", "a.wav"):
        recording = put(hall, len(name) + ord(name[0]), name).recording
    hall.remove(recording.id)
    put(hall, 8, "0.wav")
    put(hall, 9, "1.wav")
    assert [(r.number, r.file_name) for r in hall.recordings()] == [
        (1, "z.wav"),
        (2, "b.wav"),
        (4, "0.wav"),
        (5, "1.wav"),
    ]


@pytest.mark.parametrize("again", [sound(1), sounds.flac(sounds.noise(4000, seed=1), 8000)], ids=["wav", "flac"])
def test_the_same_sound_is_kept_once(hall: Collection, again: bytes) -> None:
    """In whatever file it comes: the answer is the one that is there, and nothing is written."""
    # What the WAV holds, so that the FLAC of it has the same samples.
    first = put(hall, sounds.recording(sounds.read_with_soundfile(sound(1)), rate_hz=8000), "a.wav", label="normal")
    version = hall.version
    same = put(hall, again, "other.wav", label="normal")
    assert (same.added, same.relabelled) == (False, False)
    assert same.recording == first.recording
    assert (hall.version, len(files(hall))) == (version, 1)


def test_a_second_upload_with_other_labels_is_a_relabelling(hall: Collection) -> None:
    """What it says counts, and what it leaves out stays."""
    put(hall, 1, machine_id="fan-3", group="monday")
    recording, added, relabelled = put(hall, 1, label="abnormal", fault="imbalance", machine="", group="monday")
    assert (added, relabelled) == (False, True)
    labels = recording.annotation
    assert (labels.label, labels.fault, labels.machine_id, labels.session) == (
        "abnormal",
        "imbalance",
        "fan-3",
        "monday",
    )
    assert recording.history[-1].changed == ("label", "fault")


def test_the_history_of_labels_is_kept(hall: Collection) -> None:
    """Every revision with time, request and what changed; a change to what is there already is none."""
    first = put(hall, 1, label="abnormal", fault="imbalance").recording
    hall.relabel(first.id, {"fault": "clogging"}, "request-2")
    assert hall.relabel(first.id, {"fault": "clogging"}, "request-3").history[-1].request_id == "request-2"
    last = hall.relabel(first.id, {"label": "normal"}, "request-4")
    assert [(r.request_id, r.changed, r.annotation.label, r.annotation.fault) for r in last.history] == [
        ("request-1", ("label", "fault"), "abnormal", "imbalance"),
        ("request-2", ("fault",), "abnormal", "clogging"),
        ("request-4", ("label", "fault"), "normal", None),
    ]
    assert last.history == tuple(sorted(last.history, key=lambda revision: revision.at))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "broken"}, "normal or abnormal"),
        ({"label": "Normal"}, "normal or abnormal"),
        ({"fault": "imbalance"}, "not given"),
        ({"label": "normal", "fault": "imbalance"}, "label abnormal"),
        ({"snr_db": "loud"}, "number of decibels"),
        ({"snr_db": "inf"}, "number of decibels"),
        ({"snr_db": "nan"}, "number of decibels"),
        ({"machine": "x" * 65}, "64 characters"),
        ({"machine_id": "a\nb"}, "control characters"),
        ({"group": "a\0b"}, "control characters"),
        ({"group": "a\u2028b"}, "control characters"),
        ({"group": "a\n"}, "control characters"),
        ({"colour": "red"}, "machine_id"),
    ],
)
def test_labels_that_mean_nothing_are_refused(hall: Collection, given: dict[str, str], said: str) -> None:
    """By name, on an upload and on a correction; nothing is made or changed."""
    with pytest.raises(InvalidRecordingLabels, match=said):
        put(hall, 1, **given)
    assert not hall.folder.exists()
    known = put(hall, 1).recording
    with pytest.raises(InvalidRecordingLabels, match=said):
        hall.relabel(known.id, given)
    assert hall.recordings() == (known,)


def test_what_is_empty_was_not_given_and_what_is_null_is_cleared(hall: Collection) -> None:
    """As a form sends it, and as a correction means it; spaces around a text are none of it."""
    known = put(hall, 1, machine=" fan ", machine_id="ファン　3", label="", snr_db="").recording
    assert (known.annotation.machine, known.annotation.machine_id, known.annotation.label) == ("fan", "ファン　3", None)
    labels = hall.relabel(known.id, {"machine": None, "machine_id": ""}).annotation
    assert (labels.machine, labels.machine_id) == (None, "ファン　3")


def test_a_removed_recording_is_gone_with_its_file(hall: Collection) -> None:
    """It is not found, its file is not there, and it may come again, with a new history."""
    known = put(hall, 1, label="normal").recording
    hall.remove(known.id)
    assert (hall.recordings(), files(hall)) == ((), set())
    for act in (hall.recording, hall.file, hall.remove, lambda known_id: hall.relabel(known_id, {})):
        with pytest.raises(RecordingNotFound):
            act(known.id)
    again = put(hall, 1)
    assert (again.added, again.recording.number, len(again.recording.history)) == (True, 2, 1)


def test_a_sound_whose_file_was_lost_may_be_put_in_again(hall: Collection) -> None:
    """It is new, at the end, and what was said of it is kept."""
    known = put(hall, 1, label="normal").recording
    other = put(hall, 2).recording
    (hall.folder / known.path).unlink()
    with pytest.raises(RecordingNotFound, match="does not exist"):
        hall.file(known.id)
    again = put(hall, 1, machine="fan")
    assert (again.added, again.recording.number) == (True, 3)
    assert (again.recording.annotation.label, again.recording.annotation.machine) == ("normal", "fan")
    assert hall.file(known.id).is_file()
    assert hall.recordings() == (other, again.recording)


def test_a_version_can_be_read_again(hall: Collection) -> None:
    """Recordings and labels as they were; what was removed since is a refusal of the dataset."""
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
def test_a_version_that_never_was_is_refused(hall: Collection, version: str) -> None:
    """By name, with those that were."""
    put(hall, 1)
    with pytest.raises(DatasetVersionNotFound, match="1 to 2"):
        hall.recordings(at=version)


def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next_writer(hall: Collection, tmp_path: Path) -> None:
    """It was never acknowledged; what is put in after it is read whole."""
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
    ],
)
def test_a_damaged_line_is_counted_and_costs_nothing_else(hall: Collection, tmp_path: Path, line: bytes) -> None:
    """Every other line counts as before, it has its place in the versions, and its file is not swept away."""
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


def test_files_that_no_line_names_are_swept_away(hall: Collection, tmp_path: Path) -> None:
    """A process that was killed between file and line leaves nothing for good."""
    known = put(hall, 1).recording
    (hall.folder / "recordings" / "00000002-0123456789abcdef.wav").write_bytes(b"whole, and never acknowledged")
    (hall.folder / "recordings" / ".00000003-0123.wav.0123").write_bytes(b"half")
    new = put(Collection(tmp_path, NAME), 2).recording
    assert files(hall) == {known.path, new.path}


def test_a_reader_follows_a_dataset_that_was_made_anew(hall: Collection, tmp_path: Path) -> None:
    """Removed and made again by others, even with a longer journal: what was read before is forgotten."""
    put(hall, 1, "old.wav")
    assert len(hall.recordings()) == 1
    other = Collection(tmp_path, NAME)
    other.delete()
    with pytest.raises(DatasetNotFound):
        hall.recordings()
    for seed in range(2, 6):
        put(other, seed, f"new-{seed}.wav")
    assert [r.file_name for r in hall.recordings()] == [f"new-{seed}.wav" for seed in range(2, 6)]


def test_a_reader_follows_an_append_that_was_taken_back(hall: Collection) -> None:
    """A line that was seen before it was safe on the disk, and is no longer there."""
    put(hall, 1, "a.wav")
    before = (hall.folder / "journal.jsonl").stat().st_size
    put(hall, 2, "b.wav")
    assert len(hall.recordings()) == 2
    os.truncate(hall.folder / "journal.jsonl", before)
    assert [r.file_name for r in hall.recordings()] == ["a.wav"]


def test_removing_a_dataset_leaves_nothing(hall: Collection, tmp_path: Path) -> None:
    """Also not what a killed removal has left; another of the same name may be made at once."""
    left = tmp_path / "datasets" / f".gone.removed-{'0' * 32}"
    put(hall, 1)
    left.mkdir()
    (left / "journal.jsonl").write_bytes(b"{}\n")
    hall.delete()
    assert [path for path in (tmp_path / "datasets").iterdir() if path.is_dir()] == []
    assert dataset_names(tmp_path) == []
    for act in (hall.delete, hall.recordings, lambda: hall.recording("x"), lambda: dataset_version(tmp_path, NAME)):
        with pytest.raises(DatasetNotFound, match=NAME):
            act()
    hall.create()
    assert (dataset_names(tmp_path), hall.recordings(), hall.version) == ([NAME], (), "1")
    with pytest.raises(DatasetExists):
        hall.create()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", ".x", "a" * 65, "a\n", "a\0", "é"])
def test_no_name_leads_out_of_the_home(tmp_path: Path, name: str) -> None:
    """Neither a collection nor anything that a job asks for."""
    with pytest.raises(InvalidName):
        Collection(tmp_path, name)
    for ask in (lambda: dataset_version(tmp_path, name), lambda: item_file(tmp_path, name, "x")):
        with pytest.raises(InvalidName):
            ask()


@pytest.mark.parametrize("file_name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\x.wav", "a\0b.wav", "x" * 5000])
def test_a_clients_file_name_is_never_a_path(hall: Collection, tmp_path: Path, file_name: str) -> None:
    """It is kept to be shown, at most 255 characters of it."""
    recording = put(hall, 1, file_name).recording
    assert recording.file_name == file_name[-255:]
    assert files(hall) == {recording.path}
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def add_many(home: Path, seeds: range, name: str) -> None:
    """What one of several processes does: put its own in, and say of all what they are."""
    collection = Collection(home, NAME)
    for seed in seeds:
        recording = put(collection, seed, f"{name}-{seed}.wav").recording
        collection.relabel(recording.id, {"label": "normal", "group": name})


def test_two_processes_that_write_at_once_lose_nothing(hall: Collection, tmp_path: Path) -> None:
    """Each line of both is there whole, and each recording has its own number."""
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=add_many, args=(tmp_path, range(start, start + 20), name))
        for start, name in ((0, "one"), (100, "two"))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    found = hall.recordings()
    assert {r.file_name for r in found} == {f"one-{n}.wav" for n in range(20)} | {
        f"two-{n}.wav" for n in range(100, 120)
    }
    assert [r.number for r in found] == list(range(1, 41))
    assert {r.annotation.session for r in found} == {"one", "two"}
    assert (hall.version, hall.damaged) == ("81", 0)


def test_two_who_put_in_the_same_sound_at_once_end_with_one(tmp_path: Path) -> None:
    """Of ten threads, each with its own view, one adds it and nine are told of it."""
    results: list[AddResult] = []
    threads = [threading.Thread(target=lambda: results.append(put(Collection(tmp_path, NAME), 1))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.added for result in results) == [False] * 9 + [True]
    assert {result.recording.id for result in results} == {results[0].recording.id}
    assert len(Collection(tmp_path, NAME).recordings()) == 1


def test_ten_thousand_recordings_are_listed_at_once(hall: Collection, tmp_path: Path) -> None:
    """The first look reads them all; further ones read what was appended, however much there is."""
    put(hall, 1)
    journal = hall.folder / "journal.jsonl"
    created, first = journal.read_bytes().splitlines()
    entry = json.loads(first)
    lines = [created]
    for number in range(1, 10_001):
        entry |= {"number": number, "survey": entry["survey"] | {"audio_hash": f"{number:032x}"}}
        lines.append(json.dumps(entry).encode())
    journal.write_bytes(b"\n".join([*lines, b""]))
    fresh, start = Collection(tmp_path, NAME), time.perf_counter()
    assert len(fresh.recordings()) == 10_000
    first_s, start = time.perf_counter() - start, time.perf_counter()
    for _ in range(10):
        assert len(fresh.recordings()) == 10_000
    again_s = (time.perf_counter() - start) / 10
    assert first_s < 5
    assert again_s < first_s / 20


def test_an_index_of_a_collection_is_that_of_a_manifest_of_the_same_files(hall: Collection, tmp_path: Path) -> None:
    """Facts, labels, guessed sessions and left-out SNRs; only paths and layout differ."""
    rows = ["path,label,machine,machine_id,snr_db,fault,group"]
    for number, (label, fault) in enumerate([("normal", ""), ("abnormal", "imbalance")] * 4):
        name, content = f"N{number // 4}_20251111_{number:04}.wav", sound(number)
        (tmp_path / name).write_bytes(content)
        put(hall, content, name, label=label, machine="fan", machine_id="id_00", snr_db=6, fault=fault)
        rows.append(f"{name},{label},fan,id_00,6,{fault},")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    of_manifest, of_collection = index(tmp_path / "manifest.csv"), index(hall.folder)
    assert (of_collection.layout, of_collection.name, of_collection.explicit_sessions) == ("collection", NAME, False)
    assert [(e.annotation, e.info) for e in of_collection.entries] == [
        (e.annotation, e.info) for e in of_manifest.entries
    ]
    assert {e.session for e in of_manifest.entries} == {"fan/id_00/N0", "fan/id_00/N1"}
    assert index(hall.folder).fingerprint == of_collection.fingerprint == hall.dataset().fingerprint
    with pytest.raises(DatasetEmpty, match="there are 6 dB"):
        index(hall.folder, snr_db=0)


def test_named_groups_of_a_collection_are_explicit(hall: Collection) -> None:
    """Where each recording has one."""
    put(hall, 1, label="normal", group="monday")
    assert hall.dataset().explicit_sessions
    put(hall, 2, label="normal")
    assert not hall.dataset().explicit_sessions


def test_an_index_reads_no_file_of_a_collection(hall: Collection) -> None:
    """The journal has the facts: a file of the same size with other bytes is not looked into; one of another is."""
    known = put(hall, 1, label="normal").recording
    file = hall.folder / known.path
    file.write_bytes(b"x" * known.info.bytes)
    assert index(hall.folder).entries[0].audio_hash == known.id
    file.write_bytes(b"x")
    with pytest.raises(DatasetEmpty, match="It has 1 bytes"):
        index(hall.folder)


def test_what_nobody_labelled_may_be_scored_and_is_not_trained_on(hall: Collection, tmp_path: Path) -> None:
    """An item without a label; a refusal of the dataset by name."""
    labelled = put(hall, 1, "a.wav", label="normal", group="g").recording
    open_ = put(hall, 2, "b.wav").recording
    lost = put(hall, 3, "c.wav", label="normal").recording
    (hall.folder / lost.path).unlink()
    assert [(r.path, r.code) for r in hall.dataset().refusals] == [
        (open_.path, "label_missing"),
        (lost.path, "file_missing"),
    ]
    items = list_items(tmp_path, NAME, hall.version)
    assert [(i.path, i.id, i.name, i.annotation.label, i.duration_s) for i in items[:2]] == [
        (labelled.path, labelled.id, "a.wav", "normal", 0.5),
        (open_.path, open_.id, "b.wav", None, 0.5),
    ]
    assert items[0].annotation.session == "g"
    assert (items[2].path, items[2].id) == (lost.path, None)
    assert items[2].error is not None
    assert items[2].error.startswith("file_missing: ")
    assert tuple(ScoringItem.from_dict(json.loads(json.dumps(item.to_dict()))) for item in items) == items


def test_items_and_datasets_are_those_of_a_version(hall: Collection, tmp_path: Path) -> None:
    """What a job began with, whatever was put in since."""
    put(hall, 1, label="normal")
    version = dataset_version(tmp_path, NAME)
    put(hall, 2, label="abnormal")
    assert version == "2"
    assert len(list_items(tmp_path, NAME, version)) == len(load_dataset(tmp_path, NAME, version).entries) == 1
    assert len(list_items(tmp_path, NAME, "3")) == len(load_dataset(tmp_path, NAME, "3").entries) == 2


def test_a_folder_laid_by_hand_is_a_dataset_that_is_only_read(tmp_path: Path) -> None:
    """Jobs use it; whoever would put in, label or remove anything is told what it is."""
    folder = datasets.write(tmp_path / "datasets" / NAME, "normal/1.wav", "abnormal/2.wav", "other.wav")
    assert dataset_names(tmp_path) == [NAME]
    version = dataset_version(tmp_path, NAME)
    assert version == index(folder).fingerprint
    assert load_dataset(tmp_path, NAME, version).fingerprint == version
    assert [(i.path, i.annotation.label, i.name) for i in list_items(tmp_path, NAME, "another")] == [
        ("abnormal/2.wav", "abnormal", "abnormal/2.wav"),
        ("normal/1.wav", "normal", "normal/1.wav"),
        ("other.wav", None, "other.wav"),
    ]
    assert all(item.id for item in list_items(tmp_path, NAME, version))
    by_hand = Collection(tmp_path, NAME)
    for act in (
        lambda: put(by_hand, 1),
        lambda: by_hand.relabel("x", {"label": "normal"}),
        lambda: by_hand.remove("x"),
        by_hand.delete,
        by_hand.recordings,
    ):
        with pytest.raises(DatasetReadOnly, match="laid there by hand"):
            act()
    with pytest.raises(DatasetExists):
        by_hand.create()
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.wav")) == [
        "abnormal/2.wav",
        "normal/1.wav",
        "other.wav",
    ]


def test_a_folder_that_tells_no_class_may_be_scored(tmp_path: Path) -> None:
    """Each readable file is an item, each other one an item with its error; nothing of it can be trained on."""
    folder = datasets.write(tmp_path / "datasets" / NAME, "line-1/a.wav", "line-2/b.wav")
    (folder / "line-2" / "c.wav").write_bytes(b"no sound")
    assert [
        (i.path, i.annotation.label, i.error and i.error.split(":")[0]) for i in list_items(tmp_path, NAME, "")
    ] == [
        ("line-1/a.wav", None, None),
        ("line-2/b.wav", None, None),
        ("line-2/c.wav", None, "audio_not_recognised"),
    ]
    version = dataset_version(tmp_path, NAME)
    assert version == dataset_version(tmp_path, NAME)
    datasets.write(folder, "line-1/d.wav")
    assert version != dataset_version(tmp_path, NAME)
    with pytest.raises(DatasetEmpty):
        load_dataset(tmp_path, NAME, version)


def test_a_manifest_laid_by_hand_is_read_from_where_its_files_are(tmp_path: Path) -> None:
    """Its paths may start in a folder below its own; those of the items never do."""
    folder = datasets.write(tmp_path / "datasets" / NAME, "recordings/a.wav")
    (folder / "manifest.csv").write_text("path,label\na.wav,normal\nb.wav,normal\n")
    items = list_items(tmp_path, NAME, "")
    assert [(i.path, i.annotation.label) for i in items] == [("recordings/a.wav", "normal"), ("recordings/b.wav", None)]
    assert item_file(tmp_path, NAME, items[0].path).is_file()


@pytest.mark.parametrize("path", ["../other", "/etc/passwd", "a/../../x", "link/x", "\0"])
def test_no_item_leads_out_of_its_dataset(hall: Collection, tmp_path: Path, path: str) -> None:
    """By no path, and by no link in it."""
    put(hall, 1)
    (hall.folder / "link").symlink_to(tmp_path)
    with pytest.raises(RecordingNotFound, match="leads out"):
        item_file(tmp_path, NAME, path)


def test_the_file_of_an_item_is_its_recording(hall: Collection, tmp_path: Path) -> None:
    """What a job opens is what was put in."""
    put(hall, 1)
    (item,) = list_items(tmp_path, NAME, hall.version)
    assert item_file(tmp_path, NAME, item.path).read_bytes() == sound(1)


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Path]:
    """A real disk that holds no more than this."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here: that takes root and CAP_SYS_ADMIN")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, left_kb: int) -> Path:
    """Leave so much room on a disk, in a file that can be removed."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = shutil.disk_usage(disk).free - left_kb * 1024
        file.write(b"\0" * max(0, free))
    return ballast


@pytest.mark.parametrize("left_kb", range(0, 24, 4))
def test_a_full_disk_is_said_and_leaves_nothing_half(tmp_path: Path, left_kb: int) -> None:
    """Whichever step it stops at: the recordings before are there, the new one is not, and it may come again."""
    with small_disk(tmp_path / "home", 256) as home:
        hall = Collection(home, NAME)
        before = put(hall, 1, "a.wav", label="normal").recording
        # So many lines that the next one begins a block of its own.
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
def test_a_full_disk_leaves_no_dataset_that_nobody_asked_for(tmp_path: Path, left_kb: int) -> None:
    """The first recording does not fit: there is no empty dataset afterwards."""
    with small_disk(tmp_path / "home", 256) as home:
        fill(home, left_kb)
        with pytest.raises(StorageFull):
            put(Collection(home, NAME), 1)
        assert dataset_names(home) == []
        assert [path for path in (home / "datasets").glob("*") if path.is_dir()] == []


def test_a_relabelling_on_a_full_disk_is_said_and_leaves_the_labels(tmp_path: Path) -> None:
    """The line did not fit: the labels are those before, and the journal is whole."""
    with small_disk(tmp_path / "home", 256) as home:
        hall = Collection(home, NAME)
        known = put(hall, 1, label="normal").recording
        fill(home, 0)
        while (hall.folder / "journal.jsonl").stat().st_size % 4096 < 3900:
            known = hall.relabel(known.id, {"group": f"{time.monotonic_ns()}"})
        with pytest.raises(StorageFull):
            hall.relabel(known.id, dict.fromkeys(("group", "machine", "machine_id"), "m" * 64))
        assert hall.recordings() == Collection(home, NAME).recordings() == (known,)
        assert read_state(hall.folder).damaged == 0


def test_recordings_are_plain_values(hall: Collection) -> None:
    """What is handed out does not change when more is put in."""
    put(hall, 1)
    then = hall.current_state()
    put(hall, 2)
    assert (len(then.recordings), len(hall.current_state().recordings)) == (1, 2)
