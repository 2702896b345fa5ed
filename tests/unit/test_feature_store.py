"""The feature store, with real files, processes and kills."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.errors import Cancelled, FeaturesMissing, RecordingChanged, StorageFull
from ml.features.augmentation import Augmentation
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from ml.features.store import FeatureStore, StoredFeatures
from ml.system.progress import Progress, cancellable, ignore_progress
from testing.servers import PATIENCE_S, wait_until

SPEC = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, n_fft=512, hop_length=256, n_mels=16, clip_frames=20)
AUGMENTATION = Augmentation.everything(copies=2, seed=3)
EXTRACTION = """
import sys
from pathlib import Path
from ml.features.augmentation import Augmentation
from ml.dataset.indexing.build import index
from ml.features.store import FeatureStore
from ml.features.spec import FeatureSpec

if __name__ == "__main__":
    dataset = index(Path(sys.argv[1]), processes=1)
    spec, augmentation = FeatureSpec.original(), Augmentation.everything(copies=2, seed=3)
    FeatureStore(Path(sys.argv[2])).extract(dataset, dataset.entries, spec, augmentation, processes=2)
"""
MEMORY = """
import resource
from pathlib import Path
import numpy as np
from ml.dataset.indexing.build import index
from ml.features.store import FeatureStore
from ml.features.spec import FeatureSpec

dataset = index(Path(FOLDER), processes=1)
store = FeatureStore(Path(FOLDER + "-features"))
features = store.extract(dataset, dataset.entries, FeatureSpec.original(), processes=1)
for entry in dataset.entries:
    np.array(features.clips(entry))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def recordings(folder: Path, count: int, seconds: float = 0.5) -> Dataset:
    (folder / "normal").mkdir(parents=True)
    for number in range(count):
        noise = np.random.Generator(np.random.PCG64(number)).standard_normal((int(16_000 * seconds), 2)) * 0.05
        soundfile.write(folder / "normal" / f"{number:04}.wav", noise, 16_000, "PCM_16")
    return index(folder, processes=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return recordings(tmp_path_factory.mktemp("clips") / "fans", 6)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.npy")}


def test_stored_features_are_those_of_the_extractor(dataset: Dataset, tmp_path: Path) -> None:
    """Clips are cut and features computed as for a recording that is judged."""
    features = FeatureStore(tmp_path).extract(dataset, dataset.entries, SPEC)
    extractor = FeatureExtractor(SPEC)
    for entry in dataset.entries:
        samples = soundfile.read(dataset.file(entry), dtype="float32")[0].mean(axis=1)
        resampled = extractor.resample(samples, 16_000)
        expected = [extractor(resampled[start:stop]) for start, stop in SPEC.clip_spans(len(resampled))]
        assert len(expected) > 1
        np.testing.assert_allclose(features.clips(entry), np.stack(expected), atol=1e-3)


def test_one_process_and_two_write_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    """Neither the number of processes nor the order of the recordings changes a bit."""
    at_8_khz = FeatureSpec.from_dict(SPEC.to_dict() | {"sample_rate_hz": 8000, "fmax_hz": 4000.0})
    for spec in (SPEC, FeatureSpec.original(), at_8_khz):
        FeatureStore(tmp_path / "a").extract(dataset, dataset.entries, spec, AUGMENTATION, processes=1)
        FeatureStore(tmp_path / "b").extract(dataset, dataset.entries[::-1], spec, AUGMENTATION, processes=2)
    assert len(contents(tmp_path / "a")) == 54
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_nothing_is_computed_twice(dataset: Dataset, tmp_path: Path) -> None:
    """A second extraction writes nothing; more copies write only the new ones."""
    store = FeatureStore(tmp_path)
    store.extract(dataset, dataset.entries, SPEC, AUGMENTATION)
    before = states(tmp_path)
    reports: list[Progress] = []
    store.extract(dataset, dataset.entries, SPEC, AUGMENTATION, report=reports.append)
    assert (states(tmp_path), reports) == (before, [])
    store.extract(dataset, dataset.entries, SPEC, Augmentation.everything(copies=3, seed=3))
    after = states(tmp_path)
    assert len(after) == len(before) + 6
    assert before.items() <= after.items()


def test_another_spec_computes_anew(dataset: Dataset, tmp_path: Path) -> None:
    """Another spec has its own folder, with the spec in it."""
    other = FeatureSpec.from_dict(SPEC.to_dict() | {"n_mels": 15})
    for spec in (SPEC, other):
        FeatureStore(tmp_path).extract(dataset, dataset.entries, spec)
    assert len(contents(tmp_path)) == 12
    assert (tmp_path / other.fingerprint / "spec.json").is_file()


def test_duplicates_are_computed_once(tmp_path: Path) -> None:
    """Recordings with the same samples share their features."""
    source = recordings(tmp_path / "fans", 1)
    (tmp_path / "fans" / "normal" / "copy.wav").write_bytes(source.file(source.entries[0]).read_bytes())
    twice = index(tmp_path / "fans", processes=1)
    reports: list[Progress] = []
    FeatureStore(tmp_path / "s").extract(twice, twice.entries, SPEC, report=reports.append)
    assert (len(twice.entries), len(contents(tmp_path / "s")), reports[-1].total) == (2, 1, 1)


def test_several_augmentations_are_numbered_in_order(dataset: Dataset, tmp_path: Path) -> None:
    """The original's three copies come from one decoding, and equal those of each augmentation alone."""
    three = Augmentation.original(seed=1)
    together = FeatureStore(tmp_path / "a").extract(dataset, dataset.entries, SPEC, three)
    for number, one in enumerate(three, 1):
        alone = FeatureStore(tmp_path / "b").extract(dataset, dataset.entries, SPEC, one)
        for entry in dataset.entries:
            assert np.array_equal(together.clips(entry, number), alone.clips(entry, 1))
            assert not np.array_equal(together.clips(entry, number), together.clips(entry))


@pytest.mark.parametrize("kept", [0, 100, -4])
def test_a_truncated_file_is_refused_and_then_computed_again(dataset: Dataset, tmp_path: Path, kept: int) -> None:
    """A truncated file, as after a power failure, is found by its size."""
    store, entry = FeatureStore(tmp_path), dataset.entries[0]
    features = store.extract(dataset, dataset.entries, SPEC)
    path = features.file(entry)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.raises(FeaturesMissing, match="extract"):
        features.clips(entry)
    store.extract(dataset, dataset.entries, SPEC)
    assert path.read_bytes() == whole


def test_missing_features_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    """Missing features and a missing copy have different messages."""
    features = StoredFeatures(tmp_path, SPEC, AUGMENTATION)
    with pytest.raises(FeaturesMissing, match="No complete features"):
        features.clips(dataset.entries[0])
    with pytest.raises(FeaturesMissing, match="there are 2"):
        features.clips(dataset.entries[0], 3)


@pytest.mark.parametrize("how", ["gone", "other sound", "other length", "no recording"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_recording_that_changed_since_it_was_indexed_is_named(tmp_path: Path, how: str, processes: int) -> None:
    """No features are stored under an outdated hash; features of the other recordings stay."""
    source = recordings(tmp_path / "fans", 3)
    path = source.file(source.entries[1])
    samples, rate_hz = soundfile.read(path)
    if how == "gone":
        path.unlink()
    elif how == "no recording":
        path.write_bytes(b"x" * source.entries[1].info.bytes)
    else:
        soundfile.write(path, samples * 0.9 if how == "other sound" else samples[:-8], rate_hz, "PCM_16")
    with pytest.raises(RecordingChanged, match=r"0001\.wav"):
        FeatureStore(tmp_path / "s").extract(source, source.entries, SPEC, processes=processes)
    features = StoredFeatures(tmp_path / "s", SPEC)
    assert (features.missing(source.entries[0]), features.missing(source.entries[1])) == ((), (0,))


def test_too_little_free_space_is_reported_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the necessary and the free space."""
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr("ml.system.atomic.shutil.disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(StorageFull, match="MB"):
        FeatureStore(tmp_path / "s").extract(dataset, dataset.entries, SPEC)
    assert not (tmp_path / "s").exists()


def test_a_full_disk_leaves_no_partial_file(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write is StorageFull, and its file is removed."""

    def write_half(file: object, clips: object, **_: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]  # an open file, as np.save gets it
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ml.features.store.np.save", write_half)
    with pytest.raises(StorageFull, match="filled up"):
        FeatureStore(tmp_path).extract(dataset, dataset.entries, SPEC, processes=1)
    assert list(tmp_path.rglob("*.npy")) == []


def test_leftovers_of_a_killed_run_are_removed(dataset: Dataset, tmp_path: Path) -> None:
    """The next extraction removes them if no other is running."""
    incomplete = tmp_path / ".incomplete"
    incomplete.mkdir()
    (incomplete / "0.npy").write_bytes(b"half")
    FeatureStore(tmp_path).extract(dataset, dataset.entries, SPEC)
    assert list(incomplete.iterdir()) == []


def test_a_cancelled_extraction_stops_and_continues_later(dataset: Dataset, tmp_path: Path) -> None:
    """Finished files stay."""
    seen: list[Progress] = []
    report = cancellable(seen.append, lambda: len(seen) >= 3)
    with pytest.raises(Cancelled):
        FeatureStore(tmp_path).extract(dataset, dataset.entries, SPEC, processes=1, report=report)
    before = states(tmp_path)
    assert 0 < len(before) < 6
    FeatureStore(tmp_path).extract(dataset, dataset.entries, SPEC, report=ignore_progress)
    assert before.items() <= states(tmp_path).items()
    assert len(states(tmp_path)) == 6


def test_a_killed_extraction_continues_later(tmp_path: Path) -> None:
    """After SIGKILL its processes end, finished files are not written again, and the result is that of an
    undisturbed run."""
    source = recordings(tmp_path / "fans", 100, seconds=5)
    script = tmp_path / "extraction.py"
    script.write_text(EXTRACTION)
    command = [sys.executable, str(script), str(tmp_path / "fans")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    started = subprocess.Popen([*command, str(tmp_path / "killed")], env=environment)
    wait_until(lambda: len(finished(tmp_path / "killed")) >= 30 or started.poll() is not None)
    children = psutil.Process(started.pid).children(recursive=True)
    started.send_signal(signal.SIGKILL)
    started.wait()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert (len(gone) >= 2, alive) == (True, [])
    before = {path: state for path, state in states(tmp_path / "killed").items() if ".incomplete" not in path}
    assert 30 <= len(before) < 300
    for name in ("killed", "undisturbed"):
        subprocess.run([*command, str(tmp_path / name)], env=environment, check=True)
    assert before.items() <= states(tmp_path / "killed").items()
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")
    assert len(contents(tmp_path / "killed")) == 3 * len(source.entries)


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """Ten times as many recordings need no more memory; all their features would be 31 MB a copy."""
    peaks_mb = []
    for count in (50, 500):
        recordings(tmp_path / str(count), count)
        code = MEMORY.replace("FOLDER", repr(str(tmp_path / str(count))))
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks_mb.append(float(done.stdout))
    assert peaks_mb[1] - peaks_mb[0] < 12, peaks_mb


def finished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.npy") if path.parent.name != ".incomplete"]
