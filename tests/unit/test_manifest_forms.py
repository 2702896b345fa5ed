"""Manifests as people have them: encodings, delimiters, names of columns, values and paths."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from ml.dataset.catalog import load_dataset
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.errors import DatasetEmpty, DatasetNotFound, InvalidManifest
from tests.unit.datasets import write


def labels(dataset: Dataset) -> dict[str, str]:
    """The label of each recording."""
    return {entry.path: entry.label for entry in dataset.entries}


def table(folder: Path, *lines: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    """Write a table beside two recordings."""
    write(folder, "a.wav", "b.wav")
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return folder / name


AS_EXPECTED = {"a.wav": "normal", "b.wav": "abnormal"}


@pytest.mark.parametrize(
    "lines",
    [
        ("path;label", "a.wav;normal", "b.wav;abnormal"),
        ("path\tlabel", "a.wav\tnormal", "b.wav\tabnormal"),
        ("path|label", "a.wav|normal", "b.wav|abnormal"),
        ("sep=;", "path;label", "a.wav;normal", "b.wav;abnormal"),
        ('"path","label"', '"a.wav","normal"', '"b.wav", abnormal'),
        ("path;label;remark", 'a.wav;normal;"x;y, z"', "b.wav;abnormal;1,5"),
        ("a.wav,normal", "b.wav,abnormal"),
        ("1;ng;b.wav", "2;ok;a.wav"),
    ],
)
def test_delimiters_are_found(tmp_path: Path, lines: Sequence[str]) -> None:
    """Commas, semicolons as of a German Excel, tabs, quotes, and a table without a header; as file and in a folder."""
    assert labels(index(table(tmp_path, *lines))) == AS_EXPECTED
    assert labels(index(tmp_path)) == AS_EXPECTED


def test_a_manifest_that_is_not_read_has_a_reason(tmp_path: Path) -> None:
    """If the folders state no labels either, the message has the columns that were found and an example."""
    write(tmp_path, "hall/1.wav")
    (tmp_path / "manifest.csv").write_text("recorder,remark\nx,y\n")
    with pytest.raises(DatasetEmpty, match=r"columns recorder, remark; path and label are needed.*for example"):
        index(tmp_path)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom", "utf-16-le", "utf-16-be"]
)
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    """UTF-8 with and without a mark, and the Unicode text of Excel, which has tabs."""
    text = "path\tlabel\tmachine\na.wav\tnormal\tLüfter\nb.wav\tabnormal\tLüfter\n"
    file = table(tmp_path)
    bom = "\ufeff" if encoding.endswith("bom") else ""
    file.write_bytes((bom + text).encode(encoding.removesuffix("-bom")))
    dataset = index(tmp_path)
    assert labels(dataset) == AS_EXPECTED
    assert {entry.annotation.machine for entry in dataset.entries} == {"Lüfter"}


def test_a_table_with_tabs_has_its_own_suffix(tmp_path: Path) -> None:
    """``.tsv`` is a manifest, too."""
    assert labels(index(table(tmp_path, "file\tclass", "a.wav\tok", "b.wav\tng", name="list.tsv"))) == AS_EXPECTED


def test_a_decimal_comma_is_read(tmp_path: Path) -> None:
    """As Excel writes numbers in many countries."""
    file = table(tmp_path, "path;label;snr_db", "a.wav;normal;-6,5", "b.wav;abnormal;6")
    assert [entry.annotation.snr_db for entry in index(file).entries] == [-6.5, 6.0]


@pytest.mark.parametrize(
    "path", ["file", "filename", "file_name", "File Name", "filepath", "wav", "audio", "Path", "Dateiname", "fichier"]
)
def test_other_names_of_the_paths_are_read(tmp_path: Path, path: str) -> None:
    """Upper case, spaces and underscores do not matter."""
    assert labels(index(table(tmp_path, f"n,{path},label", "1,a.wav,normal", "2,b.wav,abnormal"))) == AS_EXPECTED


@pytest.mark.parametrize(
    ("column", "normal", "abnormal"),
    [
        *(("class", "normal", "anomaly"), ("target", "OK", "NG"), ("condition", "healthy", "faulty")),
        *(("status", "good", "bad"), ("label", "Normal", "Defective"), ("y", "normal", "broken")),
        *(
            ("anomaly", "0", "1"),
            ("is_anomaly", "False", "True"),
            ("Is Anomaly", "no", "yes"),
            ("abnormal", "0.0", "1.0"),
        ),
        *(("normal", "1", "0"), ("is_normal", "true", "false"), ("healthy", "yes", "no")),
        *(("Klasse", "gut", "defekt"), ("Étiquette", "sain", "Défaut"), ("Zustand", "i.O.", "n.i.O.")),
    ],
)
def test_other_names_and_values_of_the_labels_are_read(tmp_path: Path, column: str, normal: str, abnormal: str) -> None:
    """A number or a Boolean is read where the name of the column states what it means."""
    file = table(tmp_path, f"path,{column}", f"a.wav,{normal}", f"b.wav,{abnormal}")
    assert labels(index(file)) == AS_EXPECTED


@pytest.mark.parametrize("column", ["label", "target", "class", "y"])
@pytest.mark.parametrize(("one", "other"), [("0", "1"), ("True", "False")])
def test_a_number_that_can_mean_both_is_refused(tmp_path: Path, column: str, one: str, other: str) -> None:
    """1 is a fault in some tables and health in others, so the column must state it."""
    file = table(tmp_path, f"path,{column}", f"a.wav,{one}", f"b.wav,{other}")
    with pytest.raises(InvalidManifest, match=rf"{one}.*in the column {column}.*is_anomaly or is_normal"):
        index(file)


def test_the_table_of_the_original_project_is_read(tmp_path: Path) -> None:
    """Its metadata pipeline writes absolute paths, and True for abnormal; machine and SNR are in the paths."""
    paths = [
        f"{folder}/fan/id_0{machine}/{label}/00000000.wav"
        for folder in ("data0db", "data66db")
        for machine in (0, 2)
        for label in ("normal", "abnormal")
    ]
    write(tmp_path / "hall", *paths)
    rows = [f"{tmp_path}/hall/{path},{'abnormal' in path}" for path in paths]
    (tmp_path / "Meta.csv").write_text("\n".join(["filePath,label", *rows]))
    dataset = index(tmp_path / "Meta.csv")
    assert len(dataset.entries) == 8
    assert all(("/abnormal/" in entry.path) == (entry.label == "abnormal") for entry in dataset.entries)
    assert {(entry.machine_name, entry.annotation.snr_db) for entry in dataset.entries} == {
        (f"fan/id_0{machine}", snr_db) for machine in (0, 2) for snr_db in (0.0, -6.0)
    }
    assert dataset.contradictions == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("path,class,target", "a.wav,ok,ok"), "columns path, class, target; class and target can each be the label"),
        (("path,label,label", "a.wav,normal,ng"), "label and label can each be the label"),
        (("file,wav,label", "a.wav,b.wav,ok"), "file and wav can each be the path"),
        (("id,length,rpm", "1,2,3"), "columns id, length, rpm; path and label are needed.*for example"),
        (("file_name,rpm", "a.wav,3"), "columns file_name, rpm; label is needed"),
    ],
)
def test_a_table_that_is_not_plain_is_refused_with_an_example(
    tmp_path: Path, lines: Sequence[str], message: str
) -> None:
    """The message has the columns that were found."""
    with pytest.raises(InvalidManifest, match=message):
        index(table(tmp_path, *lines, name="list.csv"))


def test_the_usual_columns_come_first(tmp_path: Path) -> None:
    """With path and label, further columns of similar names are ignored, as before."""
    file = table(tmp_path, "path,label,file,class,anomaly", "a.wav,normal,x,3,0.7", "b.wav,abnormal,y,4,0.1")
    assert labels(index(file)) == AS_EXPECTED


def test_any_file_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    """By an absolute path, by a path that leads out, from the folder above, and with backslashes."""
    write(tmp_path, "far/a.wav", "hall/normal/b.wav")
    file = tmp_path / "hall" / "list.csv"
    file.write_text(f"path,label\n{tmp_path}/far/a.wav,normal\n{tmp_path}\\hall\\normal\\b.wav,normal\n")
    assert set(labels(index(file))) == {f"{tmp_path}/far/a.wav", "normal/b.wav"}
    file.write_text("path,label\n../far/a.wav,normal\nnormal\\b.wav,normal\n")
    dataset = index(file)
    assert set(labels(dataset)) == {"../far/a.wav", "normal/b.wav"}
    assert all(dataset.file(entry).is_file() for entry in dataset.entries)
    file.write_text("path,label\nhall/normal/b.wav,normal\nfar/a.wav,normal\n")
    assert set(labels(index(file))) == {"hall/normal/b.wav", "far/a.wav"}


def test_a_manifest_of_the_service_stays_in_its_dataset(tmp_path: Path) -> None:
    """Absolute paths into the dataset are read; others, and links that lead out, are refused."""
    hall = tmp_path / "datasets" / "hall"
    write(tmp_path, "secret.wav", "datasets/hall/a.wav", "datasets/other/c.wav")
    (hall / "link.wav").symlink_to(tmp_path / "secret.wav")
    paths = [f"{hall}/a.wav", f"{tmp_path}/secret.wav", "../other/c.wav", "link.wav"]
    (hall / "manifest.csv").write_text("\n".join(["path,label", *(f"{path},normal" for path in paths)]))
    dataset = load_dataset(tmp_path, "hall", "")
    assert list(labels(dataset)) == ["a.wav"]
    assert {refusal.path: refusal.code for refusal in dataset.refusals} == dict.fromkeys(paths[1:], "path_outside")


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_another_normal_form_are_found(tmp_path: Path, on_disk: str, in_table: str) -> None:
    """A Mac writes decomposed letters; folders and files are found, and the exact name comes first."""
    folder, name = "Prüfstand", "Lüfter größer.wav"
    write(tmp_path, unicodedata.normalize(on_disk, f"{folder}/{name}"))  # type: ignore[arg-type]  # a literal
    text = unicodedata.normalize(in_table, f"path,label\n{folder}/{name},normal\n")  # type: ignore[arg-type]  # a literal
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    assert list(labels(index(tmp_path))) == [unicodedata.normalize(on_disk, f"{folder}/{name}")]  # type: ignore[arg-type]  # a literal


def test_the_exact_name_comes_first(tmp_path: Path) -> None:
    """Where both forms are on the disk, each is its own file."""
    names = [unicodedata.normalize("NFC", "ü.wav"), unicodedata.normalize("NFD", "ü.wav")]
    write(tmp_path, *names)
    text = f"path,label\n{names[0]},normal\n{names[1]},abnormal\n"
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    assert labels(index(tmp_path)) == dict(zip(names, ("normal", "abnormal"), strict=True))


def test_the_given_split_of_a_manifest_is_known(tmp_path: Path) -> None:
    """The column split has the sides; other values are ignored."""
    file = table(tmp_path, "path,label,split,domain", "a.wav,normal,Training,source", "b.wav,abnormal,fold3,")
    assert [(e.annotation.split, e.annotation.domain) for e in index(file).entries] == [
        ("train", "source"),
        (None, None),
    ]


def test_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    """Text of another encoding and files of another kind have a message, not a wrong table."""
    file = table(tmp_path, "path,label", "ü.wav,normal", name="list.csv", encoding="latin-1")
    with pytest.raises(InvalidManifest, match="UTF-8"):
        index(file)
    with pytest.raises(DatasetNotFound, match=r"manifest \(\.csv\) was expected"):
        index(table(tmp_path, "x", name="list.xlsx"))
    with pytest.raises(DatasetEmpty, match="a header but no rows"):
        index(table(tmp_path, "file;class", name="empty.csv"))
