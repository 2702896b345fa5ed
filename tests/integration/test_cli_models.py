"""``signalml models``: import, list, label, promote and export versions; other files are refused."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import train
from ml.models.registry import Registry
from testing import keras2
from tests.commands import assert_one_sentence, signalml, succeeds
from tests.unit import bundles


def test_an_original_file_is_imported_promoted_and_rolled_back(home: Path, tmp_path: Path) -> None:
    """import prints only the version; --promote makes it champion; rollback restores the earlier champion."""
    before = Registry(home).resolve("champion")
    file = keras2.write(tmp_path / "weights.h5", seed=5)
    version = succeeds(home, "models", "import", file, "--promote", "--name", "fan-hall-3")
    assert version.startswith("fan-hall-3-")
    assert Registry(home).aliases() == {"champion": version, "previous": before}
    assert succeeds(home, "models", "rollback") == f"{before} is champion"
    assert Registry(home).aliases() == {"champion": before, "previous": version}


def test_the_report_of_a_training_is_printed_and_copied(home: Path, tmp_path: Path) -> None:
    """models report prints its path, or copies it; an imported version has no report."""
    assert_one_sentence(signalml(home, "models", "report"), "no report", Registry(home).resolve("champion"))
    page = home / "training" / Registry(home).resolve("champion") / "report.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(b"<!doctype html>")
    assert succeeds(home, "models", "report", "champion") == str(page)
    assert succeeds(home, "models", "report", "--output", tmp_path / "copy.html") == str(tmp_path / "copy.html")
    assert (tmp_path / "copy.html").read_bytes() == page.read_bytes()


def test_models_are_listed_shown_and_verified(home: Path) -> None:
    """list has version and alias; show prints JSON; verify checks each version with its golden clip."""
    version = Registry(home).resolve("champion")
    listed = succeeds(home, "models", "list")
    assert version in listed
    assert "champion" in listed
    shown = json.loads(succeeds(home, "models", "show"))
    assert (shown["version"], shown["aliases"]) == (version, ["champion"])
    assert json.loads(succeeds(home, "models", "show", version)) == shown
    assert succeeds(home, "models", "verify").startswith(version)


def test_an_exported_model_serves_in_another_home(home: Path, tmp_path: Path) -> None:
    """export prints the path of the archive; its import gives the same version, which can be promoted."""
    version = Registry(home).resolve("champion")
    archive = tmp_path / ("a-name-that-makes-this-path-longer-than-a-line-of-a-terminal-" + "x" * 40 + ".zip")
    assert succeeds(home, "models", "export", "champion", archive) == str(archive)
    other = tmp_path / "other"
    assert succeeds(other, "models", "import", archive, "--promote") == version
    assert Registry(other).aliases() == {"champion": version}
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_an_exported_model_keeps_its_labels(home: Path, tmp_path: Path) -> None:
    """Renamed classes and the earlier revisions are in the archive."""
    names = [c.name for c in Registry(home).label_revisions("champion")[-1].labels.classes]
    succeeds(home, "models", "label", "champion", *[f"{name}=Fan 3: {name}" for name in names])
    succeeds(home, "models", "export", "champion", tmp_path / "fan.zip")
    version = succeeds(tmp_path / "edge", "models", "import", tmp_path / "fan.zip")
    revisions = Registry(tmp_path / "edge").label_revisions(version)
    assert [r.revision for r in revisions] == [1, 2]
    assert [c.message for c in revisions[-1].labels.classes] == [f"Fan 3: {name}" for name in names]


def test_a_long_version_is_listed_in_full(home: Path, tmp_path: Path) -> None:
    """In a pipe, the output has no maximum width: scripts read whole versions."""
    registry = Registry(home)
    content = registry.read("champion").content
    version = bundles.add(registry, content, registry.path("champion") / "network.keras", name="x" * 48)
    assert version in succeeds(home, "models", "list")


def test_classes_are_renamed(home: Path) -> None:
    """label makes a new revision, which show prints; umlauts and equals signs are unchanged."""
    names = ["ok=Läuft", "imbalance=Unwucht: a=b", "clogging=Verstopft", "voltage=Netz"]
    assert succeeds(home, "models", "label", "champion", *names).startswith("revision 2")
    labels = json.loads(succeeds(home, "models", "show"))["labels"]
    assert [revision["revision"] for revision in labels] == [1, 2]
    assert [f"{c['name']}={c['message']}" for c in labels[-1]["classes"]] == names


def test_a_challenger_is_set_and_promoted(home: Path) -> None:
    """promote --alias challenger sets the alias; promote challenger makes this version champion."""
    version = bundles.further(Registry(home))
    assert succeeds(home, "models", "promote", version, "--alias", "challenger") == f"{version} is challenger"
    assert succeeds(home, "models", "promote", "challenger") == f"{version} is champion"


def test_demo_does_not_replace_a_champion_promoted_meanwhile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is promoted during the training stays the champion; the command prints only this."""
    registry = Registry(home)
    mine, champion = bundles.further(registry), registry.resolve("champion")
    (home / "models" / "aliases.json").unlink()

    def train_and_promote_another(*_: object, **__: object) -> tuple[SimpleNamespace, None]:
        registry.promote(champion)
        return SimpleNamespace(version=mine), None

    monkeypatch.setattr(train, "simulated_fans", nullcontext)
    monkeypatch.setattr(train, "_train", train_and_promote_another)
    printed = succeeds(home, "demo")
    assert Registry(home).aliases() == {"champion": champion}
    assert printed.startswith(f"The model answers no uploads: {champion} is the champion.\n")


@pytest.fixture(scope="module")
def archive(original_home: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An exported model."""
    target = tmp_path_factory.mktemp("export") / "model.zip"
    Registry(original_home).export("champion", target)
    return target.read_bytes()


def flipped(content: bytes, at: float) -> bytes:
    """Return the content with one bit flipped."""
    changed = bytearray(content)
    changed[round(len(content) * at)] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("kind", ["cut.zip", "flip-1.zip", "flip-2.zip", "flip-3.zip", "text.zip", "cut.hdf5", "a.txt"])
def test_an_invalid_model_file_is_refused_in_one_sentence(
    tmp_path: Path, archive: bytes, original_file: Path, kind: str
) -> None:
    """Damaged, truncated or another format: one sentence with the file name, exit status 1, and no version."""
    contents = {
        "cut.zip": archive[: len(archive) // 2],
        "flip-1.zip": flipped(archive, 0.1),
        "flip-2.zip": flipped(archive, 0.4),
        "flip-3.zip": flipped(archive, 0.7),
        "text.zip": b"This is no archive.",
        "cut.hdf5": original_file.read_bytes()[:60_000],
        "a.txt": b"",
    }
    (tmp_path / kind).write_bytes(contents[kind])
    assert_one_sentence(signalml(tmp_path / "home", "models", "import", tmp_path / kind, "--promote"), kind)
    assert Registry(tmp_path / "home").versions() == []
    assert Registry(tmp_path / "home").aliases() == {}


def test_an_invalid_model_name_is_refused_before_any_work(home: Path, original_file: Path) -> None:
    """The exit status is 2, and the message has the name."""
    done = signalml(home, "models", "import", str(original_file), "--name", "Fan 3")
    assert done.returncode == 2
    assert "Fan 3" in done.stderr


def test_verify_and_promote_refuse_a_damaged_version(home: Path) -> None:
    """Both messages have the name of the changed file."""
    registry = Registry(home)
    version = bundles.further(registry)
    network = registry.path(version) / "network.tflite"
    network.write_bytes(flipped(network.read_bytes(), 0.5))
    assert_one_sentence(signalml(home, "models", "verify", version), "network.tflite", "SHA-256")
    assert_one_sentence(signalml(home, "models", "promote", version), "network.tflite", "SHA-256")
    assert registry.resolve("champion") != version


def test_a_damaged_version_does_not_hide_others(home: Path) -> None:
    """models list shows every version, and the reason for damaged ones; models verify has exit status 1."""
    damaged = next((home / "models").glob("*-*/network.tflite"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    whole = f"{damaged.parent.name[:-10]}0123456789"
    (home / "models" / whole).mkdir()
    listed = succeeds(home, "models", "list")
    assert damaged.parent.name in listed
    assert whole in listed
    assert listed.count("damaged:") == 2
    done = signalml(home, "models", "verify")
    assert done.returncode == 1
    assert "network.tflite" in done.stderr
    assert "no manifest.json" in done.stderr
