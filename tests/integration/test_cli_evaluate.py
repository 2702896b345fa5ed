"""``signalml evaluate``: its three formats, the recordings that count, and refusals."""

import csv
import io
import json
from pathlib import Path

import pytest

from ml.dataset.indexing.build import index
from ml.evaluation.results import Evaluation
from ml.models.registry import Registry
from tests import sounds
from tests.commands import Done, assert_one_sentence, signalml


def run(home: Path, *arguments: object) -> Done:
    """Run ``signalml evaluate``."""
    return signalml(home, "evaluate", *arguments)


@pytest.fixture(scope="module")
def fans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fans, with four normal and four abnormal recordings each."""
    folder = tmp_path_factory.mktemp("data") / "fans"
    for number, (machine_id, label) in enumerate(
        (machine_id, label) for machine_id in ("id_00", "id_02") for label in ("normal", "abnormal")
    ):
        place = folder / "fan" / machine_id / label
        place.mkdir(parents=True)
        for each in range(4):
            sound = sounds.fan(1.0, seed=10 * number + each, blade_hz=120 if label == "normal" else 90)
            (place / f"{each:08d}.wav").write_bytes(sounds.recording(sound))
    return folder


def record_split(home: Path, sides: dict[str, str]) -> None:
    """Write the recorded split of a training: the side of each recording, by audio hash."""
    folder = home / "training" / Registry(home).resolve("champion")
    folder.mkdir(parents=True)
    lines = [f"{audio_hash},{side},somewhere.wav\n" for audio_hash, side in sides.items()]
    (folder / "split.csv").write_text("audio_hash,side,path\n" + "".join(lines))


def test_json_has_the_evaluation_the_version_and_the_dataset(home: Path, fans: Path) -> None:
    """The JSON can be read as an Evaluation; it also has the version and the fingerprint of the dataset."""
    done = run(home, "champion", fans, "--format", "json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    evaluation = Evaluation.from_dict(values)
    assert values["version"] == Registry(home).resolve("champion")
    assert values["dataset_fingerprint"] == index(fans).fingerprint
    assert [(each.name, each.normal, each.abnormal) for each in evaluation.slices] == [
        ("pooled", 8, 8),
        ("fan id_00", 4, 4),
        ("fan id_02", 4, 4),
    ]
    assert evaluation.auc_gain_randomised.value is not None


def test_csv_has_a_row_for_each_slice(home: Path, fans: Path) -> None:
    """Each figure has its interval; without random gain, its columns are empty."""
    done = run(home, "champion", fans, "--format", "csv", "--gain-db", 0)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["name"] for row in rows] == ["pooled", "fan id_00", "fan id_02"]
    for row in rows:
        assert float(row["auc_low"]) <= float(row["auc"]) <= float(row["auc_high"])
        assert row["auc_gain_randomised"] == ""


def test_the_table_shows_slices_confusion_and_notes(home: Path, fans: Path) -> None:
    """The table has figures per machine, confusion matrix, and notes."""
    done = run(home, "champion", fans)
    assert done.returncode == 0, done.stderr
    assert "XNNPACK" not in done.stderr
    for fragment in (
        "AUC, level only",
        "fan id_02",
        "harmonic mean",
        "Rows: true class. Columns: predicted class. A score above 0.5 is anomalous.",
        "- The training recordings of this model are not known here: some of them may be counted.",
        "- Intervals are 95 %",
    ):
        assert fragment in done.stdout


def test_recordings_of_the_models_training_do_not_count(home: Path, fans: Path) -> None:
    """Recordings left out of the split do not count either; --all counts both, and its first note is a warning."""
    hashes = [entry.audio_hash for entry in index(fans).entries]
    sides = ["train", "train", "validation", "left out", "test", *["train"] * 3]
    record_split(home, dict(zip(hashes, sides, strict=False)))
    held_out = json.loads(run(home, "champion", fans, "--format", "json", "--gain-db", 0).stdout)
    assert held_out["slices"][0]["n"] == 9
    note = "7 recordings of the model's own training left out (left out: 1, train: 5, validation: 1)."
    assert held_out["notes"][0] == note
    everything = json.loads(run(home, "champion", fans, "--format", "json", "--gain-db", 0, "--all").stdout)
    assert everything["slices"][0]["n"] == 16
    assert everything["notes"][0].startswith("NOT HELD OUT")


def test_a_dataset_of_training_recordings_only_is_refused(home: Path, fans: Path) -> None:
    """No recording remains; the message has the sides of the recordings."""
    record_split(home, {entry.audio_hash: "train" for entry in index(fans).entries})
    done = run(home, "champion", fans)
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to the model's own training (train: 16)" in done.stderr


def test_copies_count_once(home: Path, fans: Path, tmp_path: Path) -> None:
    """A recording with a copy counts once, and a note has the number of copies."""
    copies = tmp_path / "copies"
    for label in ("normal", "abnormal"):
        (copies / label).mkdir(parents=True)
        content = (fans / "fan" / "id_00" / label / "00000000.wav").read_bytes()
        for name in ("a.wav", "b.wav"):
            (copies / label / name).write_bytes(content)
    values = json.loads(run(home, "champion", copies, "--format", "json", "--gain-db", 0).stdout)
    assert values["slices"][0]["n"] == 2
    assert "2 exact copies of other recordings left out." in values["notes"]


def test_an_unknown_model_is_one_sentence(home: Path, fans: Path) -> None:
    """The message has the name; no recording is read."""
    assert_one_sentence(run(home, "nobody-0123456789", fans), "nobody-0123456789")
