"""Labels, machines and sides that names of files and folders state, and labels that they contradict."""

from collections import Counter
from pathlib import Path

import pytest

from ml.audio.info import read_info
from ml.dataset.collection.store import Collection
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.splitting.methods import split
from ml.errors import DatasetEmpty, LabelsContradictNames, SplitImpossible, TooFewRecordings
from ml.training.label_check import contradictions_note
from ml.training.options import TrainingOptions
from ml.training.split_stage import split_recordings
from tests import sounds
from tests.unit.datasets import write

DCASE_2020 = [
    *(f"train/normal_id_0{machine}_0000000{n}.wav" for machine in (0, 2) for n in range(6)),
    *(
        f"test/{label}_id_0{machine}_0000000{n}.wav"
        for label in ("normal", "anomaly")
        for machine in (0, 2)
        for n in (0, 1)
    ),
]
DCASE_2023 = [
    *(f"train/section_00_source_train_normal_000{n}_vel_6.wav" for n in range(6)),
    "train/section_00_target_train_normal_0000_vel_8.wav",
    "test/section_00_source_test_normal_0000_vel_6.wav",
    "test/section_00_target_test_anomaly_0001_vel_8.wav",
    "test/section_00_source_test_anomaly_0002.wav",
]


def below(folder: str, paths: list[str]) -> list[str]:
    """The paths in a folder."""
    return [f"{folder}/{path}" for path in paths]


def facts(dataset: Dataset, *names: str) -> Counter[tuple[object, ...]]:
    """How many recordings have each combination of values."""
    return Counter(tuple(entry.annotation.to_dict().get(name) for name in names) for entry in dataset.entries)


def contradicted(dataset: Dataset) -> list[str]:
    """Paths of the recordings whose labels names contradict."""
    return [each.path for each in dataset.contradictions]


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("fan", "."),
        ("fan", "fan"),
        ("dev_data/fan", "."),
        ("dev_data/raw/fan", "dev_data"),
        ("dev_data/fan", "dev_data/fan"),
    ],
)
def test_the_layout_of_dcase_2020_is_read(tmp_path: Path, folder: str, source: str) -> None:
    """Label, machine, id and side are in the names, at any level of the archive."""
    dataset = index(write(tmp_path, *below(folder, DCASE_2020)) / source)
    assert (dataset.layout, dataset.refusals, dataset.contradictions) == ("dcase", (), ())
    assert facts(dataset, "machine", "machine_id", "label", "split") == {
        **{("fan", machine, "normal", "train"): 6 for machine in ("id_00", "id_02")},
        **{("fan", machine, label, "test"): 2 for machine in ("id_00", "id_02") for label in ("normal", "abnormal")},
    }


def test_the_layout_of_dcase_since_2021_is_read(tmp_path: Path) -> None:
    """Section and domain are in the names, too; a session is of one domain."""
    dataset = index(write(tmp_path, *below("ToyCar", DCASE_2023), *below("valve", DCASE_2023)))
    assert dataset.layout == "dcase"
    assert (
        facts(dataset, "machine", "machine_id", "section", "domain", "label", "split")[
            "valve", "section_00", "00", "target", "abnormal", "test"
        ]
        == 1
    )
    assert facts(dataset, "machine", "label") == {
        (machine, label): count for machine in ("ToyCar", "valve") for label, count in (("normal", 8), ("abnormal", 2))
    }
    assert {entry.session for entry in dataset.entries if entry.annotation.machine == "valve"} == {
        "valve/section_00/source",
        "valve/section_00/target",
    }


def test_folders_of_domains_and_sections_are_no_machines(tmp_path: Path) -> None:
    """DCASE 2021 and MIMII DUE have ``source_test`` and ``section_00`` below the machine."""
    write(tmp_path, "pump/id_00/test/abnormal_id_00_00000000.wav", "pump/id_00/train/normal_id_00_00000000.wav")
    for root in ("dev_data/fan", "dev_data/gearbox/section_00"):
        names = [f"{domain}_test/section_00_{domain}_test_anomaly_0000.wav" for domain in ("source", "target")]
        write(tmp_path, *below(root, [*names, "train/section_00_source_train_normal_0000_a.wav"]))
    assert facts(index(tmp_path), "machine", "split") == {
        **{(machine, side): count for machine in ("fan", "gearbox") for side, count in (("test", 2), ("train", 1))},
        ("pump", "test"): 1,
        ("pump", "train"): 1,
    }


def test_one_part_of_dcase_is_a_dataset(tmp_path: Path) -> None:
    """The machine is the folder above; the side stays known."""
    dataset = index(write(tmp_path, *below("pump", DCASE_2020)) / "pump" / "test")
    assert facts(dataset, "machine", "label") == {("pump", "normal"): 4, ("pump", "abnormal"): 4}


@pytest.mark.parametrize("name", ["section_03_0000.wav", "section_03_source_test_0000.wav", "id_05_00000000.wav"])
def test_evaluation_data_of_dcase_are_not_taken_as_normal(tmp_path: Path, name: str) -> None:
    """Their names state no label, so no training uses them."""
    write(tmp_path, *below("fan", DCASE_2020), f"fan/test/{name}")
    dataset = index(tmp_path)
    assert [(refusal.path, refusal.code) for refusal in dataset.refusals] == [(f"fan/test/{name}", "class_unknown")]
    (alone := tmp_path / "eval" / "test").mkdir(parents=True)
    (tmp_path / "fan" / "test" / name).rename(alone / name)
    with pytest.raises(DatasetEmpty):
        index(alone)


def test_supplemental_data_of_dcase_are_not_taken_as_normal(tmp_path: Path) -> None:
    """Clean sound of the machine or noise alone has no label."""
    extra = "supplemental/section_00_supplemental_noise_0001_attribute.wav"
    dataset = index(write(tmp_path, *DCASE_2023, extra))
    assert [(refusal.path, refusal.code) for refusal in dataset.refusals] == [(extra, "class_unknown")]


@pytest.mark.parametrize(
    ("training", "testing"),
    [("train", "test"), ("training", "testing"), ("Train", "Test"), ("train", "eval"), ("fan/train", "fan/test")],
)
def test_folders_of_a_split_are_no_machines(tmp_path: Path, training: str, testing: str) -> None:
    """Classes below train and test, or beside normal, are read without them; the sides are known."""
    dataset = index(write(tmp_path, f"{training}/normal/1.wav", f"{testing}/normal/2.wav", f"{testing}/abnormal/3.wav"))
    machine = "fan" if "/" in training else None
    assert facts(dataset, "machine_id", "label", "fault", "split") == {
        (machine, "normal", None, "train"): 1,
        (machine, "normal", None, "test"): 1,
        (machine, "abnormal", None, "test"): 1,
    }


@pytest.mark.parametrize(
    ("training", "testing"), [("train_set", "test_data"), ("TrainSet", "Test-Set"), ("source_train", "target_test")]
)
def test_a_split_has_longer_names(tmp_path: Path, training: str, testing: str) -> None:
    """``train_set`` is a side; ``test_1`` can be a machine."""
    dataset = index(write(tmp_path, f"{training}/normal/1.wav", f"{testing}/abnormal/2.wav", "test_1/normal/3.wav"))
    assert facts(dataset, "machine_id", "split") == {(None, "train"): 1, (None, "test"): 1, ("test_1", None): 1}


@pytest.mark.parametrize("order", ["{side}_{label}", "{label}-{side}", "{label}_{side}_data"])
def test_one_folder_states_side_and_label(tmp_path: Path, order: str) -> None:
    """``train_normal`` beside ``test_abnormal``."""
    names = [order.format(side=side, label=label) for side in ("train", "test") for label in ("normal", "abnormal")]
    dataset = index(write(tmp_path, *(f"{name}/{n}.wav" for n, name in enumerate(names))))
    assert facts(dataset, "label", "fault", "split") == {
        (label, None, side): 1 for label in ("normal", "abnormal") for side in ("train", "test")
    }
    assert dataset.contradictions == ()


@pytest.mark.parametrize("order", ["{side}/{label}", "{label}/{side}", "fan/{side}/{label}", "{side}/fan/{label}"])
def test_a_split_can_be_at_any_level(tmp_path: Path, order: str) -> None:
    """``abnormal/test`` is no fault called test, and validation is a side."""
    names = [
        order.format(side=side, label=label) for side in ("train", "val", "test") for label in ("normal", "abnormal")
    ]
    dataset = index(write(tmp_path, *(f"{name}/{n}.wav" for n, name in enumerate(names))))
    assert facts(dataset, "label", "fault", "split") == {
        (label, None, side): 1 for label in ("normal", "abnormal") for side in ("train", "validation", "test")
    }


def test_faults_can_be_folders_of_the_test_side(tmp_path: Path) -> None:
    """``test/broken_large`` beside ``train/normal`` is a fault."""
    dataset = index(write(tmp_path, "train/normal/1.wav", "test/normal/2.wav", "test/broken_large/3.wav"))
    assert facts(dataset, "label", "fault", "split")["abnormal", "broken_large", "test"] == 1


@pytest.mark.parametrize(
    ("normal", "abnormal"),
    [
        ("healthy", "faulty"),
        ("OK", "NG"),
        ("good", "bad"),
        ("NormalSound_IND", "AnomalousSound_IND"),
        ("normal", "abnormal"),
        ("ok", "abnormal"),
        *(
            ("gut", "defekt"),
            ("iO", "niO"),
            ("i.O.", "n.i.O."),
            ("sain", "défaut"),
            ("buono", "guasto"),
            ("正常", "異常"),
        ),
    ],
)
def test_other_names_of_the_classes_are_read(tmp_path: Path, normal: str, abnormal: str) -> None:
    """Folders of healthy and faulty recordings have many names."""
    dataset = index(write(tmp_path, f"{normal}/1.wav", f"{normal}/2.wav", f"{abnormal}/3.wav"))
    assert facts(dataset, "label", "fault") == {("normal", None): 2, ("abnormal", None): 1}
    assert dataset.contradictions == ()


def test_labels_in_all_file_names_are_read(tmp_path: Path) -> None:
    """Where every name states a label, the names are the labels."""
    dataset = index(write(tmp_path, "ok_1.wav", "ok_2.wav", "fan_NG_3.wav", "line2/anomaly4.wav"))
    assert (dataset.layout, dataset.contradictions) == ("names", ())
    assert facts(dataset, "label") == {("normal",): 2, ("abnormal",): 2}


@pytest.mark.parametrize(
    "name",
    [
        *("anomaly_3.wav", "fan-abnormal-3.wav", "Fault3.wav", "motorBroken.wav", "NG.wav", "x_defective.wav"),
        *("bad 3.wav", "not_ok.wav", "n.OK.wav", "nok3.wav", "leak.wav", "fan_without_defect.wav", "failure2.wav"),
        *(
            "defekt_1.wav",
            "Fehler 2.wav",
            "de\u0301faut.wav",
            "défaut.wav",
            "fan_n.i.O._3.wav",
            "nicht_io.wav",
            "异常.wav",
        ),
        *(
            "NOTOK1.wav",
            "unnormal_3.wav",
            "nonnormal.wav",
            "fanabnormal01.wav",
            "isanomaly2.wav",
            "faultypump.wav",
            "defekter_Motor.wav",
        ),
    ],
)
def test_a_name_among_normal_recordings_that_states_a_fault_is_asked_about(tmp_path: Path, name: str) -> None:
    """In a folder called normal, in a flat folder, and in a manifest; a word is a whole word."""
    for number, paths in enumerate(([f"normal/{name}", "abnormal/9.wav"], [name, "1.wav"])):
        dataset = index(write(tmp_path / str(number), *paths))
        assert contradicted(dataset) == [paths[0]]
        assert "Its label is normal, and its name has the word" in dataset.contradictions[0].reason
    (tmp_path / "1" / "manifest.csv").write_text(f"path,label\n{name},normal\n1.wav,normal\n")
    assert contradicted(index(tmp_path / "1")) == [name]


@pytest.mark.parametrize("name", ["normal_3.wav", "healthy.wav", "fan OK.wav", "GoodFan.wav"])
def test_a_name_among_abnormal_recordings_that_states_health_is_asked_about(tmp_path: Path, name: str) -> None:
    """The reverse is a contradiction, too; a negation is none."""
    dataset = index(write(tmp_path, "normal/1.wav", f"abnormal/{name}", "abnormal/not_ok.wav", "abnormal/no_good.wav"))
    assert contradicted(dataset) == [f"abnormal/{name}"]


@pytest.mark.parametrize(
    "name",
    [
        *("fan_unabated1", "goodwill", "default", "banging", "ngram7"),
        *("0a1bad9fdefec7", "4f2a0000-bad1-4e1f-8000-00000badbad1", "leakproofing", "brokenness"),
    ],
)
def test_a_part_of_a_word_is_no_contradiction(tmp_path: Path, name: str) -> None:
    """Neither are the letters of a hash."""
    assert contradicted(index(write(tmp_path, f"normal/{name}.wav", "abnormal/1.wav"))) == []


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["broken_hill/normal/1.wav", "broken_hill/abnormal/2.wav"], []),
        (["broken_hill/normal/1.wav", "sydney/normal/2.wav"], []),
        (["faulty/normal/1.wav", "faulty/abnormal/2.wav"], []),
        (["faulty/normal/1.wav", "hall/abnormal/2.wav"], ["faulty/normal/1.wav"]),
        (["normal/ng/1.wav", "normal/2.wav"], ["normal/ng/1.wav"]),
        (["abnormal/normal/1.wav", "normal/2.wav"], ["abnormal/normal/1.wav"]),
        (["abnormal/clogging/1.wav", "imbalance/2.wav", "normal/3.wav"], []),
    ],
)
def test_folders_contradict_too_but_names_of_machines_do_not(
    tmp_path: Path, paths: list[str], found: list[str]
) -> None:
    """A folder above the class folder is a machine, unless its whole name is the name of another class."""
    assert contradicted(index(write(tmp_path, *paths))) == found


def test_the_name_of_a_flat_folder_counts(tmp_path: Path) -> None:
    """A folder called faulty has abnormal recordings; a folder called broken_fans is asked about."""
    assert facts(index(write(tmp_path / "faulty", "1.wav")), "label") == {("abnormal",): 1}
    assert contradicted(index(write(tmp_path / "broken_fans", "1.wav"))) == ["1.wav"]


@pytest.mark.parametrize("folder", ["abnormal/fan_1", "faulty/fan_1/train", "NG/ch1"])
def test_the_class_folder_above_a_flat_folder_counts(tmp_path: Path, folder: str) -> None:
    """A folder above that only describes a project does not."""
    assert contradicted(index(write(tmp_path / folder, "1.wav"))) == ["1.wav"]
    assert contradicted(index(write(tmp_path / "fault_detection" / "anomaly_data" / "fan", "1.wav"))) == []


def test_a_name_without_the_label_of_the_others_is_asked_about(tmp_path: Path) -> None:
    """``rumble_1`` beside ``fan_normal_1``; a number alone, or words that a normal name has too, are not."""
    names = ["fan_normal_1.wav", "fan_2.wav", "3.wav", "fan_rumble_1.wav"]
    assert contradicted(index(write(tmp_path / "a", *names))) == ["fan_rumble_1.wav"]
    assert contradicted(index(write(tmp_path / "b", "fan_2.wav", "3.wav", "fan_rumble_1.wav"))) == []


def test_a_manifest_is_checked_too(tmp_path: Path) -> None:
    """Folders, a fault of a normal recording, and a file with two labels; a folder of both labels states nothing."""
    write(tmp_path, "abnormal/1.wav", "hall_fault/2.wav", "hall_fault/3.wav", "4.wav", "5.wav", "bad_hill/6.wav")
    (tmp_path / "manifest.csv").write_text(
        "path,label,fault\nabnormal/1.wav,normal,\nhall_fault/2.wav,normal,\nhall_fault/3.wav,abnormal,\n"
        "4.wav,normal,clogging\n5.wav,normal,none\n5.wav,abnormal,\nbad_hill/6.wav,normal,-\n"
    )
    dataset = index(tmp_path)
    assert {each.path: each.reason.rpartition(", and ")[2] for each in dataset.contradictions} == {
        "abnormal/1.wav": "it is in the folder 'abnormal'.",
        "4.wav": "the column fault has 'clogging'.",
        "5.wav": "again as abnormal.",
        "bad_hill/6.wav": "it is in the folder 'bad_hill'.",
    }


def test_a_table_beside_a_flat_folder_is_checked(tmp_path: Path) -> None:
    """A folder with labels.csv, as data hubs publish it: without the table, its faults would count as normal."""
    data = write(tmp_path / "data", "1.wav", "2.wav", "3.wav")
    (data / "labels.csv").write_text("file_name;is_anomaly\n1.wav;0\n2.wav;1\nabsent.wav;1\n")
    (data / "results.csv").write_text("file_name,score\n3.wav,0.9\n")
    dataset = index(data)
    assert {each.path: each.reason for each in dataset.contradictions} == {
        "2.wav": "Its label normal is a guess, and labels.csv states abnormal."
    }
    assert facts(index(data / "labels.csv"), "label") == {("normal",): 1, ("abnormal",): 1}


def test_other_columns_of_labels_are_checked(tmp_path: Path) -> None:
    """The column label counts, and another column that states the other label is asked about; a fault is no label."""
    write(tmp_path, "1.wav", "2.wav", "3.wav")
    (tmp_path / "manifest.csv").write_text(
        "path,label,is_anomaly,class\n1.wav,normal,1,\n2.wav,abnormal,1,ok\n3.wav,abnormal,true,bearing\n"
    )
    assert {each.path: each.reason for each in index(tmp_path).contradictions} == {
        "1.wav": "Its label is normal, and the column is_anomaly has '1'.",
        "2.wav": "Its label is abnormal, and the column class has 'ok'.",
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,label\n1.wav,0\n2.wav,1\n"),
        ("ground_truth.csv", "1.wav,0\n2.wav,1\n"),
        ("labels.csv", "name;Ergebnis\ndata/1.wav;gut\ndata/2.wav;defekt\n"),
        ("labels.csv", "file,fault\n1.wav,none\n2.wav,bearing\n"),
        ("labels.csv", "id,name,is_faulty\n1,1,0\n2,2,1\n"),
        ("labels.csv", "file,label\n1,normal\n2,abnormal\n"),
        ("manifest.csv", "recorder,remark\nx,y\n"),
        ("Manifest.csv", "recorder,remark\nx,y\n"),
    ],
)
def test_a_table_that_cannot_be_read_beside_a_flat_folder_is_asked_about(tmp_path: Path, name: str, text: str) -> None:
    """Its labels must not be passed over. A table of another kind can be anything."""
    data = write(tmp_path / "data", "1.wav", "2.wav")
    (data / "notes.csv").write_text("recorder,remark\nx,y\n")
    (data / "times.csv").write_text("file,seconds,channel\n1.wav,10,1\n2.wav,10,1\n")
    (data / "of_others.csv").write_text("file,label\n3.wav,normal\n4.wav,abnormal\n")
    assert contradicted(index(data)) == []
    (data / name).write_text(text)
    found = index(data).contradictions
    assert [each.path for each in found] == ["1.wav", "2.wav"]
    assert "a table beside it is not read" in found[0].reason


def test_the_names_of_uploads_are_checked(tmp_path: Path) -> None:
    """The client's file name counts, not the name under which it is stored."""
    collection = Collection(tmp_path, "hall")
    for number, (name, label) in enumerate((("anomaly_1.wav", "normal"), ("a.wav", "normal"), ("ok.wav", "abnormal"))):
        content = sounds.recording(sounds.noise(4000, seed=number), rate_hz=8000)
        collection.add(content, read_info(content), name, {"label": label})
    assert [each.label for each in collection.dataset().contradictions] == ["normal", "abnormal"]


def test_a_training_refuses_contradicted_labels_until_they_are_confirmed(tmp_path: Path) -> None:
    """The message has examples and what to do; confirming does not change the key of the training."""
    names = [*(f"normal/{n}.wav" for n in range(8)), "normal/anomaly_9.wav"]
    dataset = index(write(tmp_path / "hall", *names))
    options = TrainingOptions(source=tmp_path / "hall", name="hall", learn="detector")
    with pytest.raises(
        LabelsContradictNames, match=r"1 recordings: normal/anomaly_9\.wav: .*'anomaly'.*--confirm-labels"
    ):
        split_recordings(dataset, options)
    confirmed = options.with_changes(confirm_labels=True)
    assert len(split_recordings(dataset, confirmed).entries()) > 0
    assert confirmed.to_dict() == options.to_dict()
    assert len(contradictions_note(dataset)) == 1


def test_a_given_split_is_used_where_it_is_complete(tmp_path: Path) -> None:
    """The training part is learned from, a block of it validates, and the test part is only tested."""
    dataset = index(write(tmp_path, *below("fan", DCASE_2020)))
    sides = split_recordings(dataset, TrainingOptions(source=tmp_path, name="fan", learn="detector"))
    assert sides.method == "given"
    assert {entry.annotation.split for entry in sides.train + sides.validation} == {"train"}
    assert {entry.annotation.split for entry in sides.test} == {"test"}
    assert (len(sides.test), bool(sides.validation)) == (8, True)


def test_a_given_validation_side_is_used(tmp_path: Path) -> None:
    """With three given sides, none is cut; without a label on the training side, another method is chosen."""
    names = [
        f"{side}/{label}/{side[0]}{n}.wav"
        for side in ("train", "val", "test")
        for label in ("normal", "abnormal")
        for n in (1, 2)
    ]
    sides = split(index(write(tmp_path / "all", *names)))
    assert (sides.method, [len(side) for side in (sides.train, sides.validation, sides.test)]) == ("given", [4, 4, 4])
    names = [*(f"train/normal/{n}.wav" for n in range(8)), *(f"test/abnormal/{n}.wav" for n in range(8))]
    assert split(index(write(tmp_path / "one", *names))).method == "blocks"


def test_a_given_split_that_leaves_no_validation_side_is_not_chosen(tmp_path: Path) -> None:
    """Another method is chosen then, as before; if it is requested, it is refused."""
    sizes = {"train": 2, "test": 8}
    names = [
        f"{side}/{label}/{n}.wav" for side in sizes for label in ("normal", "abnormal") for n in range(sizes[side])
    ]
    dataset = index(write(tmp_path, *names))
    with pytest.raises(TooFewRecordings, match="the validation side has none"):
        split(dataset, method="given")
    assert split(dataset).method == "blocks"


def test_an_incomplete_given_split_is_refused_if_it_is_requested(tmp_path: Path) -> None:
    """The message names a recording without a side."""
    dataset = index(write(tmp_path, "train/normal/1.wav", "normal/2.wav", "abnormal/3.wav"))
    with pytest.raises(SplitImpossible, match=r"2 recordings have no given side \(abnormal/3\.wav"):
        split(dataset, method="given")
