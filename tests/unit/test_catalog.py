"""Datasets that jobs read by name: index, items and files, and none outside the dataset."""

import json
from pathlib import Path

import pytest

from ml.dataset.catalog import ScoringItem, dataset_names, dataset_version, item_file, list_items, load_dataset
from ml.dataset.collection.store import Collection
from ml.dataset.entries import Entry
from ml.dataset.indexing.build import index
from ml.errors import DatasetEmpty, DatasetExists, DatasetNotFound, DatasetReadOnly, RecordingNotFound
from tests.unit import datasets
from tests.unit.recordings import NAME, put, sound


def test_a_collection_and_a_manifest_of_the_same_files_give_the_same_index(hall: Collection, tmp_path: Path) -> None:
    """Facts, labels, guessed sessions and SNRs are equal; only paths and layout differ."""
    rows = ["path,label,machine,machine_id,snr_db,fault,group"]
    for number, (label, fault) in enumerate([("normal", ""), ("abnormal", "imbalance")] * 4):
        name, content = f"N{number // 4}_20251111_{number:04}.wav", sound(number)
        (tmp_path / name).write_bytes(content)
        put(hall, content, name, label=label, machine="fan", machine_id="id_00", snr_db=6, fault=fault)
        rows.append(f"{name},{label},fan,id_00,6,{fault},")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    of_manifest, of_collection = index(tmp_path / "manifest.csv"), index(hall.folder)
    assert (of_collection.layout, of_collection.name, of_collection.explicit_sessions) == ("collection", NAME, False)
    facts = [(entry.annotation, entry.info) for entry in of_manifest.entries]
    assert [(entry.annotation, entry.info) for entry in of_collection.entries] == facts
    assert set(Entry.__slots__) == {"path", "annotation", "info"}
    assert {entry.session for entry in of_manifest.entries} == {"fan/id_00/N0", "fan/id_00/N1"}
    assert index(hall.folder).fingerprint == of_collection.fingerprint == hall.dataset().fingerprint
    with pytest.raises(DatasetEmpty, match="it has 6 dB"):
        index(hall.folder, snr_db=0)


def test_named_sessions_of_a_collection_are_explicit(hall: Collection) -> None:
    """Sessions are explicit if each recording has one."""
    put(hall, 1, label="normal", group="monday")
    assert hall.dataset().explicit_sessions
    put(hall, 2, label="normal")
    assert not hall.dataset().explicit_sessions


def test_an_index_reads_no_file_of_a_collection(hall: Collection) -> None:
    """The journal has the facts: a file with other bytes but the same size is not read; one of another size is
    refused."""
    known = put(hall, 1, label="normal").recording
    file = hall.folder / known.path
    file.write_bytes(b"x" * known.info.bytes)
    assert index(hall.folder).entries[0].audio_hash == known.id
    file.write_bytes(b"x")
    with pytest.raises(DatasetEmpty, match="It has 1 bytes"):
        index(hall.folder)


def test_an_unlabelled_recording_can_be_scored_and_is_not_trained_on(hall: Collection, tmp_path: Path) -> None:
    """It is an item without a label, and a refusal of the dataset."""
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
    """A job reads the version that it began with, also after additions."""
    put(hall, 1, label="normal")
    version = dataset_version(tmp_path, NAME)
    put(hall, 2, label="abnormal")
    assert version == "2"
    assert len(list_items(tmp_path, NAME, version)) == len(load_dataset(tmp_path, NAME, version).entries) == 1
    assert len(list_items(tmp_path, NAME, "3")) == len(load_dataset(tmp_path, NAME, "3").entries) == 2


def test_a_plain_folder_is_a_read_only_dataset(tmp_path: Path) -> None:
    """Jobs can use it; adding, labelling and removing are refused with the reason."""
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
    plain = Collection(tmp_path, NAME)
    for act in (
        lambda: put(plain, 1),
        lambda: plain.relabel("x", {"label": "normal"}),
        lambda: plain.remove("x"),
        plain.delete,
        plain.recordings,
    ):
        with pytest.raises(DatasetReadOnly, match="is a plain folder, not a collection"):
            act()
    with pytest.raises(DatasetExists):
        plain.create()
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.wav")) == [
        "abnormal/2.wav",
        "normal/1.wav",
        "other.wav",
    ]


def test_a_folder_without_classes_can_be_scored(tmp_path: Path) -> None:
    """Each readable file is an item, each other file an item with an error; nothing of it can be trained on."""
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


def test_a_manifest_in_a_plain_folder_is_read_from_its_files_folder(tmp_path: Path) -> None:
    """Its paths may start in a folder below its own; the paths of items never do."""
    folder = datasets.write(tmp_path / "datasets" / NAME, "recordings/a.wav")
    (folder / "manifest.csv").write_text("path,label\na.wav,normal\nb.wav,normal\n")
    items = list_items(tmp_path, NAME, "")
    assert [(i.path, i.annotation.label) for i in items] == [("recordings/a.wav", "normal"), ("recordings/b.wav", None)]
    assert item_file(tmp_path, NAME, items[0].path).is_file()


@pytest.mark.parametrize("path", ["../other", "/etc/passwd", "a/../../x", "link/x", "\0"])
def test_an_item_outside_its_dataset_is_refused(hall: Collection, tmp_path: Path, path: str) -> None:
    """Neither a path nor a link in it leads outside."""
    put(hall, 1)
    (hall.folder / "link").symlink_to(tmp_path)
    with pytest.raises(RecordingNotFound, match="is outside the dataset hall-3"):
        item_file(tmp_path, NAME, path)


def test_the_file_of_an_item_is_its_recording(hall: Collection, tmp_path: Path) -> None:
    """A job opens the bytes that were added."""
    put(hall, 1)
    (item,) = list_items(tmp_path, NAME, hall.version)
    assert item_file(tmp_path, NAME, item.path).read_bytes() == sound(1)


def test_work_on_a_removed_dataset_names_no_other_one(tmp_path: Path) -> None:
    """The message becomes the error of a job, which a key that is bound to this dataset may read."""
    (tmp_path / "datasets" / "of-others").mkdir(parents=True)
    with pytest.raises(DatasetNotFound) as caught:
        dataset_version(tmp_path, "removed")
    assert str(caught.value) == "There is no dataset 'removed'."
