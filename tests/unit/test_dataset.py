"""Indexing a dataset: layouts, manifests, sessions, refusals and the cache."""

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ml.audio.decode import decode
from ml.audio.info import read_info
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.paths import dataset_folder
from ml.errors import AudioError, Cancelled, DatasetEmpty, DatasetNotFound, InvalidManifest, InvalidName
from ml.system.progress import Progress
from tests import sounds
from tests.unit.datasets import write

MIMII = [
    f"{snr}_dB_fan/fan/id_0{number}/{label}/0000000{n}.wav"
    for snr in (-6, 6)
    for number in (0, 2)
    for label in ("normal", "abnormal")
    for n in range(2)
]


LONG = "a" * 300 + ".wav"  # longer than a file name can be


def table(folder: Path, text: str, name: str = "manifest.csv", encoding: str = "utf-8") -> Path:
    """Write a manifest in ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


def sessions(dataset: Dataset) -> dict[str, int]:
    """How many recordings each session has."""
    return dict(Counter(entry.session for entry in dataset.entries))


def reasons(dataset: Dataset) -> dict[str, str]:
    """The code of each refusal by path."""
    return {refusal.path: refusal.code for refusal in dataset.refusals}


@pytest.mark.parametrize(
    ("below", "count", "snrs"),
    [
        ("", 16, {-6.0, 6.0}),
        ("6_dB_fan", 8, {6.0}),
        ("6_dB_fan/fan", 8, {6.0}),
        ("-6_dB_fan/fan/id_02", 4, {-6.0}),
    ],
)
def test_mimii_is_read_from_any_level(tmp_path: Path, below: str, count: int, snrs: set[float]) -> None:
    """Machine, id, SNR and label come from the folders, also from those above the dataset; an SNR is no session."""
    dataset = index(write(tmp_path / "mimii", *MIMII) / below)
    assert (dataset.layout, len(dataset.entries), dataset.explicit_sessions) == ("mimii", count, False)
    assert {entry.annotation.snr_db for entry in dataset.entries} == snrs
    assert {(entry.annotation.machine, entry.annotation.fault) for entry in dataset.entries} == {("fan", None)}
    assert set(sessions(dataset)) <= {"fan/id_00", "fan/id_02"}
    assert Counter(entry.label for entry in dataset.entries) == {"normal": count // 2, "abnormal": count // 2}


def test_a_folder_per_class_names_its_faults(tmp_path: Path) -> None:
    """Faults are folders below abnormal, or beside normal; a normal recording has none."""
    write(tmp_path, "normal/1.wav", "normal/2.FLAC", "abnormal/3.wav", "abnormal/clogging/4.wav", "imbalance/5.wav")
    dataset = index(tmp_path)
    assert dataset.layout == "folder per class"
    assert {(entry.path, entry.label, entry.annotation.fault) for entry in dataset.entries} == {
        ("normal/1.wav", "normal", None),
        ("normal/2.FLAC", "normal", None),
        ("abnormal/3.wav", "abnormal", None),
        ("abnormal/clogging/4.wav", "abnormal", "clogging"),
        ("imbalance/5.wav", "abnormal", "imbalance"),
    }


def test_a_flat_folder_has_normal_recordings_in_natural_order(tmp_path: Path) -> None:
    """Without folders all recordings are normal; 2 comes before 10."""
    dataset = index(write(tmp_path, "10.wav", "2.wav", "1.wav"))
    assert dataset.layout == "flat"
    assert [(entry.path, entry.label) for entry in dataset.entries] == [
        ("1.wav", "normal"),
        ("2.wav", "normal"),
        ("10.wav", "normal"),
    ]


def test_folders_without_a_class_are_not_taken_as_normal(tmp_path: Path) -> None:
    """Folders without one named normal or abnormal are refused, with the remedy."""
    write(tmp_path, "monday/1.wav", "tuesday/1.wav")
    with pytest.raises(DatasetEmpty, match=r"monday, tuesday.*normal or abnormal.*manifest\.csv"):
        index(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            [
                *("normal/N1_20251111_180218_0001.wav", "normal/N1_20251111_180303_0002.wav"),
                *("abnormal/A1_20251112_0001.wav", "abnormal/A1_20251112_0002.wav"),
            ],
            {"N1": 2, "A1": 2},
        ),
        (
            [
                *("normal/0000_cw_f8_01.wav", "normal/0000_cw_f8_02.wav"),
                *("broken/0001_cw_f8_01.wav", "broken/0001_cw_f8_02.wav"),
            ],
            {"0000_cw_f8": 2, "0001_cw_f8": 2},
        ),
        (["normal/0001.wav", "normal/0002.wav", "abnormal/0001.wav"], {"normal": 2, "abnormal": 1}),
        (["normal/a.wav", "normal/b.wav", "abnormal/c.wav"], {"normal": 2, "abnormal": 1}),
        (["normal/rec_1.wav", "normal/rec_2.wav", "abnormal/rec_1.wav"], {"normal": 2, "abnormal": 1}),
    ],
)
def test_sessions_are_guessed_from_names(tmp_path: Path, names: list[str], expected: dict[str, int]) -> None:
    """A file name without its counters is a session, if that gives several sessions of several files."""
    assert sessions(index(write(tmp_path, *names))) == expected


def test_a_manifest_has_all_facts(tmp_path: Path) -> None:
    """BOM, CRLF, blank lines, other columns, upper case and spaces are accepted."""
    write(tmp_path / "sounds", "deep/a.wav", "b.flac")
    file = table(
        tmp_path / "sounds",
        "Path,label,machine,machine_id,snr_db,fault,group,remark\r\n\r\n"
        "deep/a.wav, Abnormal ,fan,id_00,-6,clogging,monday,x\r\n\r\nb.flac,normal,fan,id_00,,clogging,tuesday\r\n",
        encoding="utf-8-sig",
    )
    for source in (file, file.parent):
        dataset = index(source)
        assert (dataset.layout, dataset.explicit_sessions, dataset.refusals) == ("manifest", True, ())
        b, a = dataset.entries
        assert (
            a.label,
            a.annotation.machine,
            a.annotation.machine_id,
            a.annotation.snr_db,
            a.annotation.fault,
            a.session,
        ) == (*("abnormal", "fan", "id_00", -6.0, "clogging", "monday"),)
        assert (b.label, b.annotation.snr_db, b.annotation.fault, b.session) == ("normal", None, None, "tuesday")
        assert dataset.file(a).is_file()


def test_rows_that_cannot_be_used_are_refused_one_by_one(tmp_path: Path) -> None:
    """A missing file, a path outside the folder, a wrong label or SNR, and a second row of a file each refuse one
    row."""
    write(tmp_path, "outside.wav", "sounds/good.wav", "sounds/odd.wav", "sounds/loud.wav")
    (tmp_path / "sounds" / "text.wav").write_text("no sound")
    (tmp_path / "sounds" / "link.wav").symlink_to(tmp_path / "outside.wav")
    file = table(
        tmp_path / "sounds",
        "path,label,snr_db\ngood.wav,normal,\nabsent.wav,normal,\n../outside.wav,normal,\n"
        f"{tmp_path}/outside.wav,normal,\nlink.wav,normal,\nodd.wav,out_of_domain,\nloud.wav,normal,loud\n"
        f"{LONG},normal,\n"
        "./good.wav,abnormal,\ntext.wav,normal,\n,normal,\n",
    )
    dataset = index(file, within=file.parent)
    assert [entry.path for entry in dataset.entries] == ["good.wav"]
    assert reasons(dataset) == {
        "absent.wav": "file_missing",
        LONG: "file_missing",
        "../outside.wav": "path_outside",
        f"{tmp_path}/outside.wav": "path_outside",
        "link.wav": "path_outside",
        "odd.wav": "dataset_manifest_invalid",
        "loud.wav": "dataset_manifest_invalid",
        "./good.wav": "dataset_manifest_invalid",
        "text.wav": "audio_not_recognised",
        "(no path)": "dataset_manifest_invalid",
    }
    assert not dataset.explicit_sessions


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", InvalidManifest, "path and label are needed"),
        (b"path:label\na.wav:normal\n", InvalidManifest, "commas"),
        (b"path,comment\na.wav,normal\n", InvalidManifest, "columns path, comment; label is needed.*for example"),
        (b"path,label\n", DatasetEmpty, "no rows"),
        (b"path,label\n\xff\xfe.wav,normal\n", InvalidManifest, "UTF-8"),
        (b"path,label\na.wav,normal\n", DatasetEmpty, r"a\.wav: The manifest lists it, but it does not exist"),
    ],
)
def test_an_invalid_manifest_is_refused(tmp_path: Path, content: bytes, error: type, message: str) -> None:
    """The message has what was found and what was expected."""
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(error, match=message):
        index(tmp_path / "list.csv")


def test_paths_of_a_manifest_may_start_in_recordings(tmp_path: Path) -> None:
    """If no path exists beside the manifest, the folder recordings is tried."""
    write(tmp_path / "recordings", "a.wav")
    dataset = index(table(tmp_path, "path,label\na.wav,normal\n"))
    assert (dataset.root, [entry.path for entry in dataset.entries]) == (tmp_path / "recordings", ["a.wav"])


def test_unreadable_files_are_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    """Refusals have the decoder's messages; what is no recording is passed over, links to outside included."""
    write(tmp_path, "outside.wav", "set/1.wav", "set/.hidden.wav", "set/.git/2.wav")
    data = tmp_path / "set"
    whole = (data / "1.wav").read_bytes()
    (data / "cut.wav").write_bytes(whole[:-100])
    (data / "empty.wav").touch()
    (data / "notes.txt").write_text("not a recording")
    (data / "away.wav").symlink_to(tmp_path / "outside.wav")
    (data / "dangling.wav").symlink_to(data / "nothing")
    (data / "inside.wav").symlink_to(data / "1.wav")
    os.mkfifo(data / "pipe.wav")
    dataset = index(data, within=data)
    assert [entry.path for entry in dataset.entries] == ["1.wav"]
    assert {each.path: each.code for each in dataset.passed_over} == {
        ".git": "hidden",
        ".hidden.wav": "hidden",
        "away.wav": "link_outside",
        "dangling.wav": "link_broken",
        "inside.wav": "same_file",
        "notes.txt": "not_a_recording",
        "pipe.wav": "not_a_file",
    }
    assert reasons(dataset) == {"cut.wav": "audio_truncated", "empty.wav": "audio_empty"}
    for refusal in dataset.refusals:
        with pytest.raises(AudioError) as refused:
            decode(data / refusal.path)
        assert str(refused.value) == refusal.reason


def test_a_source_without_recordings_is_refused(tmp_path: Path) -> None:
    """No folder, another kind of file, an empty folder and a folder of broken files have four different messages."""
    (tmp_path / "file.wav").write_bytes(b"RIFF")
    with pytest.raises(DatasetNotFound, match="does not exist"):
        index(tmp_path / "absent")
    with pytest.raises(DatasetNotFound, match="another kind"):
        index(tmp_path / "file.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetEmpty, match=r"no \.wav or \.flac"):
        index(tmp_path / "empty")
    with pytest.raises(DatasetEmpty, match=r"None of the 1 .*file\.wav: "):
        index(tmp_path)


def test_one_snr_can_be_chosen(tmp_path: Path) -> None:
    """Recordings at other SNRs are not read; a missing SNR is refused, with those that exist."""
    write(tmp_path, *MIMII)
    assert {entry.annotation.snr_db for entry in index(tmp_path, snr_db=6).entries} == {6.0}
    with pytest.raises(DatasetEmpty, match="it has -6, 6 dB"):
        index(tmp_path, snr_db=0)


def test_the_same_samples_are_found_in_another_container(tmp_path: Path) -> None:
    """WAV, big-endian WAV, FLAC and 24 bits have equal samples; another sample, rate or channel makes another
    recording."""
    samples = np.round(sounds.noise(8000) * 2**15) / 2**15
    other = samples.copy()
    other[4000] += 2**-15
    files = {
        "a.wav": sounds.recording(samples),
        "b.flac": sounds.flac(samples),
        "c.wav": sounds.recording(samples, "pcm24"),
        "d.wav": sounds.recording(samples, container="RIFX"),
        "e.wav": sounds.recording(samples, "float32"),
        "other.wav": sounds.recording(other),
        "rate.wav": sounds.recording(samples, rate_hz=8000),
        "stereo.wav": sounds.recording(np.repeat(samples, 2, axis=1)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    ((*same,),) = index(tmp_path).duplicates
    assert [entry.path for entry in same] == ["a.wav", "b.flac", "c.wav", "d.wav", "e.wav"]


def test_the_facts_agree_with_the_decoder(tmp_path: Path) -> None:
    """Level, clipping and length are those of a verdict; the peak is the largest sample of any channel."""
    samples = sounds.noise(100_000, channels=3, level=0.2)
    samples[70_000, 1] = -1.0
    (tmp_path / "a.wav").write_bytes(sounds.recording(samples, "pcm24"))
    (tmp_path / "silent.flac").write_bytes(sounds.silent_flac(1, 2))
    facts, quality = read_info(tmp_path / "a.wav"), decode(tmp_path / "a.wav").quality
    assert facts.level_dbfs == pytest.approx(quality.level_dbfs, abs=1e-4)
    assert (facts.duration_s, facts.clipped_share) == (quality.duration_s, quality.clipped_share)
    assert (facts.peak_dbfs, facts.bits, facts.codec, facts.channels) == (0.0, 24, "pcm", 3)
    silent = read_info(tmp_path / "silent.flac")
    assert (silent.level_dbfs, silent.peak_dbfs, silent.codec) == (None, None, "flac")


def test_processes_do_not_change_the_index(tmp_path: Path) -> None:
    """One process and two give the same index."""
    write(tmp_path, *MIMII)
    assert index(tmp_path, processes=1) == index(tmp_path, processes=2)


def index_counting_reads(source: Path, cache: Path) -> tuple[Dataset, int]:
    """The index, and how many files were read for it."""
    reports: list[Progress] = []
    dataset = index(source, cache=cache, report=reports.append)
    return dataset, reports[-1].done if reports else 0


def test_a_second_index_reads_only_changed_files(tmp_path: Path) -> None:
    """The cache is keyed by path and content; it keeps refusals, and drops files that no longer exist."""
    data, cache = write(tmp_path / "data", "1.wav", "2.wav", "3.wav"), tmp_path / "deep" / "cache.jsonl"
    (data / "4.wav").write_text("no sound")
    first, read = index_counting_reads(data, cache)
    assert read == 4
    assert index_counting_reads(data, cache) == (first, 0)
    (data / "3.wav").write_bytes(sounds.recording(sounds.noise(6000, seed=9), rate_hz=8000))
    (data / "1.wav").unlink()
    changed, read = index_counting_reads(data, cache)
    assert (len(changed.entries), read) == (2, 1)
    assert "/1.wav" not in cache.read_text()
    assert changed.fingerprint != first.fingerprint


def test_a_cancelled_index_keeps_what_it_read(tmp_path: Path) -> None:
    """A cancelled index leaves a cache of the files that it had read."""
    data, cache = write(tmp_path / "data", "1.wav", "2.wav", "3.wav"), tmp_path / "cache.jsonl"

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        index(data, cache=cache, report=stop)
    assert index_counting_reads(data, cache)[1] == 2


@pytest.mark.parametrize("damage", [b"", b"\n", b"not json\n", b'{"format": 1}\n[1]\n', None])
def test_a_damaged_cache_is_ignored(tmp_path: Path, damage: bytes | None) -> None:
    """With a changed byte or other content, files are read again without an error."""
    data, cache = write(tmp_path / "data", "1.wav"), tmp_path / "cache.jsonl"
    dataset, _ = index_counting_reads(data, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole.replace(b"survey", b"Survey") if damage is None else damage)
    assert index_counting_reads(data, cache) == (dataset, 1)
    assert cache.read_bytes() == whole


def test_an_index_works_without_a_writable_cache(tmp_path: Path) -> None:
    """A cache that cannot be written is no error."""
    (tmp_path / "file").touch()
    assert len(index(write(tmp_path / "data", "1.wav"), cache=tmp_path / "file" / "cache").entries) == 1


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "Fans", "a" * 65, "..", "a\n", "/etc"])
def test_an_invalid_dataset_name_is_refused(tmp_path: Path, name: str) -> None:
    """Only a plain name becomes a folder."""
    with pytest.raises(InvalidName, match="is not a valid dataset name"):
        dataset_folder(tmp_path, name)
    assert dataset_folder(tmp_path, "fans-3.b_2") == tmp_path / "datasets" / "fans-3.b_2"


def test_real_recordings_in_three_layouts(data: Path) -> None:
    """The sessions of the development recordings are those of their manifest."""
    recordings = data / "recordings"
    assert sessions(index(recordings / "pc_fan")) == {"N1": 24, "N2": 50, "N3": 44, "N5": 126, "A1": 60, "A3": 59}
    uav = index(recordings / "uav_propeller")
    assert (len(uav.entries), len(sessions(uav))) == (95, 32)
    mimii = index(recordings / "mimii")
    assert (mimii.layout, len(mimii.entries), len(sessions(mimii))) == ("mimii", 182, 12)


def test_the_manifest_of_the_real_recordings(data: Path, tmp_path: Path) -> None:
    """Its environmental sounds are refused for their label; its sessions are used."""
    shutil.copy(data / "manifest.csv", tmp_path)
    (tmp_path / "recordings").mkdir()
    for name in ("esc50", "uav_propeller"):
        shutil.copytree(data / "recordings" / name, tmp_path / "recordings" / name)
    dataset = index(tmp_path)
    with (data / "manifest.csv").open(newline="") as table:
        rows = len(list(csv.DictReader(table)))
    assert (len(dataset.entries), dataset.explicit_sessions, dataset.root.name) == (95, True, "recordings")
    assert Counter(refusal.code for refusal in dataset.refusals) == {
        "dataset_manifest_invalid": 25,
        "file_missing": rows - 95 - 25,
    }
