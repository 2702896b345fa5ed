"""Another recording with the name, size and time of an earlier one: memory cards give every file one date."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from ml.audio.info import read_info
from ml.dataset.catalog import dataset_version, list_items, load_dataset
from ml.dataset.collection.store import Collection
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.errors import RecordingChanged
from ml.features.feature_specs import spec_for
from ml.features.store import FeatureStore
from ml.system.progress import Progress
from ml.training.options import TrainingOptions
from ml.training.training_result import cache_key
from tests import sounds
from tests.unit.datasets import write

CARD_TIME = (315_532_800, 315_532_800)  # 1980-01-01, the first date of FAT


def replace_unnoticed(file: Path, *, seed: int = 99, keep_inode: bool = False) -> str:
    """Replace a recording by another one of the same size, with the same time; returns the new hash of its samples."""
    before = file.stat()
    samples = sounds.noise(4000, seed=seed)
    content = sounds.recording(samples, rate_hz=8000)
    assert len(content) == before.st_size
    if keep_inode:
        file.write_bytes(content)
    else:
        (new := file.with_name("new.tmp")).write_bytes(content)
        new.rename(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    return read_info(file).audio_hash


def on_card(folder: Path, *paths: str) -> Path:
    """Recordings that all have the date of a card whose clock was never set."""
    write(folder, *paths)
    for file in folder.rglob("*.wav"):
        os.utime(file, CARD_TIME)
    return folder


def hashes(dataset: Dataset) -> dict[str, str]:
    """The hash of the samples of each recording."""
    return {entry.path: entry.audio_hash for entry in dataset.entries}


@pytest.mark.parametrize("keep_inode", [True, False])
@pytest.mark.parametrize("as_manifest", [True, False])
def test_another_recording_of_the_same_name_size_and_time_is_read(
    tmp_path: Path, keep_inode: bool, as_manifest: bool
) -> None:
    """The cache of the index trusts content; so does the key of a training, which would find the old model."""
    data, cache = on_card(tmp_path / "data", "normal/1.wav", "normal/2.wav"), tmp_path / "cache"
    if as_manifest:
        (data / "manifest.csv").write_text("path,label\nnormal/1.wav,normal\nnormal/2.wav,normal\n")
    first = index(data, cache=cache)
    new = replace_unnoticed(data / "normal" / "1.wav", keep_inode=keep_inode)
    second = index(data, cache=cache)
    assert hashes(second) == hashes(first) | {"normal/1.wav": new}
    assert second.fingerprint != first.fingerprint
    options = TrainingOptions(source=data, name="fan")
    spec = spec_for(first.entries, "spectrum")
    assert cache_key(first, spec, options) != cache_key(second, spec, options)
    assert hashes(index(data, cache=cache)) == hashes(second)


def test_two_exchanged_recordings_are_noticed(tmp_path: Path) -> None:
    """Names that are given again after a card was emptied keep sizes and times, and exchange contents."""
    data, cache = on_card(tmp_path / "data", "normal/1.wav", "abnormal/2.wav"), tmp_path / "cache"
    first = hashes(index(data, cache=cache))
    one, other = data / "normal" / "1.wav", data / "abnormal" / "2.wav"
    one.rename(held := tmp_path / "held")
    other.rename(one)
    held.rename(other)
    assert hashes(index(data, cache=cache)) == {
        "normal/1.wav": first["abnormal/2.wav"],
        "abnormal/2.wav": first["normal/1.wav"],
    }


def test_a_refused_file_that_was_repaired_is_read(tmp_path: Path) -> None:
    """A refusal is kept for its content only."""
    data, cache = on_card(tmp_path / "data", "1.wav", "2.wav"), tmp_path / "cache"
    good = (data / "1.wav").read_bytes()
    (data / "1.wav").write_bytes(b"\0" * len(good))
    os.utime(data / "1.wav", CARD_TIME)
    assert [refusal.path for refusal in index(data, cache=cache).refusals] == ["1.wav"]
    (data / "1.wav").write_bytes(good)
    os.utime(data / "1.wav", CARD_TIME)
    assert len(index(data, cache=cache).entries) == 2


def test_files_that_did_not_change_are_not_decoded_again(tmp_path: Path) -> None:
    """New times, and a link in place of the folder, change nothing: only the content counts."""
    data, cache = on_card(tmp_path / "data", "1.wav", "2.wav"), tmp_path / "cache"
    first = index(data, cache=cache)
    for file in data.iterdir():
        os.utime(file)
    (tmp_path / "link").symlink_to(data)
    reports: list[Progress] = []
    assert index(tmp_path / "link", cache=cache, report=reports.append).entries == first.entries
    assert reports == []


def test_folders_of_the_service_are_read_again(tmp_path: Path) -> None:
    """Version and recordings of a job are those of the new content."""
    data = on_card(tmp_path / "datasets" / "hall", "normal/1.wav", "normal/2.wav")
    version = dataset_version(tmp_path, "hall")
    new = replace_unnoticed(data / "normal" / "1.wav")
    assert dataset_version(tmp_path, "hall") != version
    assert hashes(load_dataset(tmp_path, "hall", version))["normal/1.wav"] == new


def test_a_replaced_upload_is_refused(tmp_path: Path) -> None:
    """Its journal has the facts of the upload: another recording in its file is used by no job, and is named."""
    collection = Collection(tmp_path, "hall")
    for number in range(2):
        content = sounds.recording(sounds.noise(4000, seed=number), rate_hz=8000)
        collection.add(content, read_info(content), f"{number}.wav", {"label": "normal"})
    first, second = collection.recordings()
    replace_unnoticed(collection.folder / first.path)
    dataset = load_dataset(tmp_path, "hall", collection.version)
    assert [entry.audio_hash for entry in dataset.entries] == [second.id]
    assert [(refusal.path, refusal.code) for refusal in dataset.refusals] == [(first.path, "recording_changed")]
    errors = {item.path: item.error for item in list_items(tmp_path, "hall", collection.version)}
    assert (errors[second.path], str(errors[first.path])[:18]) == (None, "recording_changed:")


def test_a_reversed_recording_is_not_stored_as_the_indexed_one(tmp_path: Path) -> None:
    """It has the size, length, level and range of the indexed one; features under a wrong hash are never noticed."""
    data = on_card(tmp_path / "data", "1.wav")
    samples = sounds.noise(4000, seed=1)
    (data / "1.wav").write_bytes(sounds.recording(samples, rate_hz=8000))
    dataset = index(data)
    (data / "1.wav").write_bytes(sounds.recording(np.ascontiguousarray(samples[::-1]), rate_hz=8000))
    store = FeatureStore(tmp_path / "features")
    with pytest.raises(RecordingChanged, match="has changed since it was indexed"):
        store.extract(dataset, dataset.entries, spec_for(dataset.entries, "spectrum"), processes=1)


def test_the_index_reads_a_replaced_file_while_it_is_cached(tmp_path: Path) -> None:
    """The digest in the cache is that of the content in the file."""
    data, cache = on_card(tmp_path / "data", "1.wav"), tmp_path / "cache"
    index(data, cache=cache)
    content = (data / "1.wav").read_bytes()
    assert hashlib.sha256(content).hexdigest()[:32] in cache.read_text()
