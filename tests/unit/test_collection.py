"""Collections: adding, labelling, correcting and removing recordings, and safe names."""

from pathlib import Path

import pytest

from ml.audio.info import read_info
from ml.dataset.catalog import dataset_names, dataset_version, item_file
from ml.dataset.collection.store import Collection
from ml.errors import DatasetExists, DatasetNotFound, InvalidName, InvalidRecordingLabels, RecordingNotFound
from tests import sounds
from tests.unit.recordings import NAME, files, put, sound


def test_an_added_recording_is_stored_with_its_facts(hall: Collection) -> None:
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
    """The order does not depend on file names; numbers are not used again after a removal."""
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
def test_the_same_samples_are_stored_once(hall: Collection, again: bytes) -> None:
    """The same samples in any file give the stored recording, and nothing is written."""
    # The WAV's decoded samples, so that the FLAC has the same samples.
    first = put(hall, sounds.recording(sounds.read_with_soundfile(sound(1)), rate_hz=8000), "a.wav", label="normal")
    version = hall.version
    same = put(hall, again, "other.wav", label="normal")
    assert (same.added, same.relabelled) == (False, False)
    assert same.recording == first.recording
    assert (hall.version, len(files(hall))) == (version, 1)


def test_a_second_upload_with_other_labels_is_a_relabelling(hall: Collection) -> None:
    """Given labels replace the old ones, and labels that are not given stay."""
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
    """Each revision has time, request and changed fields; a change to the present labels adds no revision."""
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
    ("given", "message"),
    [
        ({"label": "broken"}, "normal or abnormal"),
        ({"label": "Normal"}, "normal or abnormal"),
        ({"fault": "imbalance"}, "not given"),
        ({"label": "normal", "fault": "imbalance"}, "label abnormal"),
        ({"snr_db": "loud"}, "number in dB"),
        ({"snr_db": "inf"}, "number in dB"),
        ({"snr_db": "nan"}, "number in dB"),
        ({"machine": "x" * 65}, "64 characters"),
        ({"machine_id": "a\nb"}, "control characters"),
        ({"group": "a\0b"}, "control characters"),
        ({"group": "a\u2028b"}, "control characters"),
        ({"group": "a\n"}, "control characters"),
        ({"colour": "red"}, "machine_id"),
    ],
)
def test_invalid_labels_are_refused(hall: Collection, given: dict[str, str], message: str) -> None:
    """An upload and a correction are refused by name; nothing is made or changed."""
    with pytest.raises(InvalidRecordingLabels, match=message):
        put(hall, 1, **given)
    assert not hall.folder.exists()
    known = put(hall, 1).recording
    with pytest.raises(InvalidRecordingLabels, match=message):
        hall.relabel(known.id, given)
    assert hall.recordings() == (known,)


def test_empty_labels_change_nothing_and_null_clears(hall: Collection) -> None:
    """An empty text counts as not given, null removes a label; spaces around a text are removed."""
    known = put(hall, 1, machine=" fan ", machine_id="ファン　3", label="", snr_db="").recording
    assert (known.annotation.machine, known.annotation.machine_id, known.annotation.label) == ("fan", "ファン　3", None)
    labels = hall.relabel(known.id, {"machine": None, "machine_id": ""}).annotation
    assert (labels.machine, labels.machine_id) == (None, "ファン　3")


def test_a_removed_recording_is_deleted_with_its_file(hall: Collection) -> None:
    """It is not found, and it can be added again, with a new number and a new history."""
    known = put(hall, 1, label="normal").recording
    hall.remove(known.id)
    assert (hall.recordings(), files(hall)) == ((), set())
    for act in (hall.recording, hall.file, hall.remove, lambda known_id: hall.relabel(known_id, {})):
        with pytest.raises(RecordingNotFound):
            act(known.id)
    again = put(hall, 1)
    assert (again.added, again.recording.number, len(again.recording.history)) == (True, 2, 1)


def test_a_recording_whose_file_was_lost_can_be_added_again(hall: Collection) -> None:
    """It is new, at the end, and keeps its labels."""
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


def test_removing_a_dataset_leaves_nothing(hall: Collection, tmp_path: Path) -> None:
    """Leftovers of an interrupted removal go too; a dataset of the same name can be made at once."""
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
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    """Collections, dataset versions and item files refuse such a name."""
    with pytest.raises(InvalidName):
        Collection(tmp_path, name)
    for ask in (lambda: dataset_version(tmp_path, name), lambda: item_file(tmp_path, name, "x")):
        with pytest.raises(InvalidName):
            ask()


@pytest.mark.parametrize("file_name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\x.wav", "a\0b.wav", "x" * 5000])
def test_a_clients_file_name_is_never_a_path(hall: Collection, tmp_path: Path, file_name: str) -> None:
    """The file name is stored for display only, at most 255 characters of it."""
    recording = put(hall, 1, file_name).recording
    assert recording.file_name == file_name[-255:]
    assert files(hall) == {recording.path}
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_recordings_are_plain_values(hall: Collection) -> None:
    """A state that was read does not change when a recording is added."""
    put(hall, 1)
    then = hall.current_state()
    put(hall, 2)
    assert (len(then.recordings), len(hall.current_state().recordings)) == (1, 2)
