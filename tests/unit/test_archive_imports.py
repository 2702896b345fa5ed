"""Imports of archives from elsewhere: nothing that is here changes, and what does not fit is refused by name."""

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.errors import BundleDamaged, BundleUnrecognised, InvalidClassLabels, ModelError
from ml.models import archives
from ml.models.archives import MAX_ALL_BYTES, MAX_OTHER_BYTES, REVISIONS_FILE
from ml.models.registry import Registry
from ml.models.thresholds import ThresholdRequest
from tests import sounds
from tests.unit.registries import NAMES

CREATED = "2026-11-01T10:00:00+00:00"


@pytest.fixture
def archive(registry: Registry, tmp_path: Path) -> Path:
    """An archive of the champion."""
    registry.export("champion", tmp_path / "model.zip")
    return tmp_path / "model.zip"


def rebuild(archive: Path, comment: bytes | None = b"", **changed: bytes) -> Path:
    """Write an archive again with other members, as an attacker can; names have "_json" for ".json"."""
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
        kept = opened.comment
    members |= {name.replace("_json", ".json"): content for name, content in changed.items()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        opened.comment = kept if comment is None else comment
    return archive


def labels_of(registry: Registry, *changes: Callable[[list[dict[str, Any]]], Any], numbers: Any = None) -> bytes:
    """Revisions of the champion's labels as JSON, one for each change."""
    entries = []
    for number, change in enumerate(changes, start=2):
        classes = registry.read("champion").content.labels.to_list()
        change(classes)
        revision = number if numbers is None else numbers[number - 2]
        entries.append({"revision": revision, "created": CREATED, "labels": classes})
    return json.dumps(entries).encode()


def threshold(number: int = 2, **values: Any) -> dict[str, Any]:
    """A revision of a threshold as plain values."""
    usual = {"revision": number, "created": CREATED, "threshold": 0.7, "false_alarm_rate": None, "basis": "set by hand"}
    return usual | {"sensitivity": None, "requested_rate": None} | values


def thresholds_of(*entries: dict[str, Any]) -> bytes:
    """Revisions of a threshold as JSON."""
    return json.dumps({"thresholds": entries}).encode()


def everything(home: Path) -> dict[str, bytes]:
    """Content of every file of a home, except the lock."""
    files = [path for path in home.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def rename(name: str, position: int = 0) -> Callable[[list[dict[str, Any]]], Any]:
    """Change the name of one class."""
    return lambda classes: classes[position].update(name=name)


# The version is here already


@pytest.mark.parametrize(
    "revisions",
    [
        lambda registry: labels_of(registry, rename("turned round")),
        lambda _: thresholds_of(threshold(threshold=1.0)),
        lambda _: thresholds_of(threshold(threshold=0.0), threshold(3, threshold=0.9)),
    ],
    ids=["labels", "never-an-alarm", "two-thresholds"],
)
def test_an_import_of_a_version_that_is_here_changes_nothing(
    registry: Registry, first: str, archive: Path, revisions: Callable[[Registry], bytes]
) -> None:
    """Other revisions in its archive are not used, and the import states it: the champion's verdict is the same."""
    rebuild(archive, renamed_json=revisions(registry))
    before, home = everything(registry.folder.parent), registry.folder.parent
    imported = registry.import_archive(archive)
    assert (imported.version, imported.is_new) == (first, False)
    assert imported.unused_revisions > 0
    assert everything(home) == before
    predictor = registry.load_predictor("champion")
    verdict = predictor.predict(predictor.decode(sounds.recording(sounds.fan(1))))
    assert (verdict.labels_revision, verdict.threshold_revision, verdict.threshold) == (1, 1, 0.5)


def test_the_same_revisions_again_are_not_reported(registry: Registry, tmp_path: Path) -> None:
    """An archive that agrees with this home has no unused revisions."""
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "model.zip")
    assert registry.import_archive(tmp_path / "model.zip").unused_revisions == 0


@pytest.mark.parametrize("left", ["alias", "labels"])
def test_revisions_of_a_version_that_was_here_are_not_taken(registry: Registry, archive: Path, left: str) -> None:
    """A lost folder is restored; while its alias or its labels are here, the archive decides neither."""
    version = registry.resolve("champion")
    if left == "labels":
        registry.rename_classes("champion", NAMES)
        (registry.folder / "aliases.json").unlink()
    (registry.folder / version).rename(registry.folder.parent / "lost")
    rebuild(archive, renamed_json=thresholds_of(threshold(threshold=1.0)))
    imported = registry.import_archive(archive)
    assert (imported.is_new, imported.unused_revisions) == (False, 1)
    assert registry.threshold_revisions(version)[-1].decision.threshold == 0.5
    assert len(registry.label_revisions(version)) == (2 if left == "labels" else 1)


def test_a_damaged_version_is_restored_with_its_own_revisions(registry: Registry, first: str, archive: Path) -> None:
    """Only the bundle comes from the archive."""
    registry.set_threshold(first, ThresholdRequest(threshold=0.8))
    (registry.folder / first / "network.tflite").write_bytes(b"damaged")
    rebuild(archive, renamed_json=thresholds_of(threshold(threshold=1.0)))
    assert registry.add_archive(archive) == first
    assert registry.load_predictor("champion").model.decision.threshold == 0.8
    assert not list(registry.folder.glob(".incoming-*"))


# Revisions that do not fit

SCORES = {
    "dataset": "d",
    "dataset_fingerprint": "f",
    "named": [0.1],
    "unnamed": [0.1],
    "session": [0],
    "odd": [False],
    "rate_holds_for": "new_session",
    "with_training": False,
    "odd_recordings": [],
    "left_out": {},
}
TEN = [threshold(number) for number in range(2, 12)]
WRONG_REVISIONS: dict[str, Callable[[Registry], bytes]] = {
    "one-class-less": lambda r: labels_of(r, lambda c: c.pop()),
    "another-meaning": lambda r: labels_of(r, lambda c: [each.update(anomalous=not each["anomalous"]) for each in c]),
    "a-fault-that-is-called-normal": lambda r: labels_of(
        r, lambda c: (c[0].update(name=c[1]["name"]), c[1].update(name="normal"))
    ),
    "a-fault-that-is-called-normal-in-two-steps": lambda r: labels_of(
        r,
        lambda c: (c[0].update(name="a"), c[1].update(name="b")),
        lambda c: (c[0].update(name="imbalance"), c[1].update(name="normal")),
    ),
    "a-fault-that-is-called-NORMAL": lambda r: labels_of(
        r, lambda c: (c[0].update(name="x"), c[1].update(name="\uff2eORMAL "))
    ),
    "a-number-twice": lambda r: labels_of(r, rename("a"), rename("b"), numbers=[2, 2]),
    "a-number-of-the-bundle": lambda r: labels_of(r, rename("a"), numbers=[1]),
    "a-number-left-out": lambda r: labels_of(r, rename("a"), numbers=[3]),
    "numbers-as-text": lambda r: labels_of(r, rename("a"), numbers=["2"]),
    "a-number-below-zero": lambda r: labels_of(r, rename("a"), numbers=[-2]),
    "no-time": lambda r: labels_of(r, rename("a")).replace(CREATED.encode(), b"yesterday"),
    "threshold-above-1": lambda _: thresholds_of(threshold(threshold=1.5)),
    "threshold-is-nan": lambda _: thresholds_of(threshold(threshold=float("nan"))),
    "threshold-is-true": lambda _: thresholds_of(threshold(threshold=True)),
    "threshold-is-text": lambda _: thresholds_of(threshold(threshold="0.5")),
    "rate-of-2": lambda _: thresholds_of(threshold(requested_rate=2)),
    "rate-of-200-percent": lambda _: thresholds_of(threshold(false_alarm_rate=2)),
    "unknown-sensitivity": lambda _: thresholds_of(threshold(sensitivity="extreme")),
    "scores-of-a-later-revision": lambda _: thresholds_of(threshold(calibration_revision=3), threshold(3)),
    "scores-of-no-revision": lambda _: thresholds_of(threshold(calibration_revision=0)),
    "scores-that-are-missing": lambda _: thresholds_of(threshold(), threshold(3, calibration_revision=2)),
    "scores-without-a-detector": lambda _: thresholds_of(threshold(recalibration=SCORES)),
    "numbers-in-another-order": lambda _: thresholds_of(*reversed(TEN)),
    "an-unknown-kind": lambda _: json.dumps({"aliases": {"champion": "x"}}).encode(),
    "no-json": lambda _: b"{",
    "nested-without-end": lambda _: b"[" * 100_000,
    "a-number": lambda _: b"5",
}


@pytest.mark.parametrize("revisions", list(WRONG_REVISIONS.values()), ids=list(WRONG_REVISIONS))
def test_revisions_that_do_not_fit_are_refused(
    registry: Registry, archive: Path, tmp_path: Path, revisions: Callable[[Registry], bytes]
) -> None:
    """They are refused by name before anything is written, also where the version is here."""
    rebuild(archive, renamed_json=revisions(registry))
    for chosen in (registry, Registry(tmp_path / "other")):
        before = everything(chosen.folder.parent)
        with pytest.raises(BundleDamaged, match="do not fit original"):
            chosen.import_archive(archive)
        assert everything(chosen.folder.parent) == before


def test_a_fault_cannot_be_called_normal_here_either(registry: Registry) -> None:
    """In one step or in two: an archive with such names would be refused elsewhere."""
    registry.rename_classes("champion", [("a", "A"), ("b", "B"), *NAMES[2:]])
    with pytest.raises(InvalidClassLabels, match="another meaning"):
        registry.rename_classes("champion", [("imbalance", "A"), ("normal", "B"), *NAMES[2:]])
    assert len(registry.label_revisions("champion")) == 2


def test_a_version_whose_revisions_have_wrong_numbers_is_damaged(registry: Registry, first: str) -> None:
    """Revisions on disk are checked like those in an archive; the message names the file."""
    registry.set_threshold(first, ThresholdRequest(threshold=0.7))
    (registry.folder / "thresholds" / f"{first}.json").write_text(json.dumps([threshold(7)]))
    with pytest.raises(BundleDamaged, match=f"thresholds/{first}.json"):
        registry.load_predictor("champion")


# Members


def with_member(archive: Path, name: str, content: bytes = b"{}", mode: int = 0) -> None:
    """Add a member to an archive."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(info, content)


@pytest.mark.parametrize(
    "name",
    [
        *("Spec.json", "SPEC.JSON", "./spec.json", "spec.json/", "spec.json\0", "\uff53pec.json", "..\\spec.json"),
        *(
            "aliases.json",
            "models/aliases.json",
            "training/x/report.html",
            ".lock",
            "signatures/x.json",
            "labels/x.json",
        ),
        *("C:spec.json", "//spec.json", " spec.json", "spec.json "),
    ],
)
def test_a_member_that_is_no_file_of_a_bundle_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    """Another spelling of a name, aliases, reports and paths are refused, and nothing is written."""
    stored = name.encode()
    with_member(archive, "p" * len(stored))  # the library itself would change some of the names
    archive.write_bytes(archive.read_bytes().replace(b"p" * len(stored), stored))
    other = Registry(tmp_path / "other")
    with pytest.raises(ModelError, match=r"no exported model|no readable zip"):
        other.import_archive(archive)
    assert everything(tmp_path / "other") == {}


@pytest.mark.parametrize("name", ["spec.json", "manifest.json"])
def test_a_member_twice_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    """Two readers could take different ones."""
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr(name, b"{}")
    with pytest.raises(BundleUnrecognised, match="more than once"):
        Registry(tmp_path / "other").import_archive(archive)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
def test_a_member_that_is_no_regular_file_is_refused(archive: Path, tmp_path: Path, kind: int) -> None:
    """A link could point anywhere."""
    with_member(archive, REVISIONS_FILE, b"/etc/passwd", kind | 0o777)
    with pytest.raises(BundleUnrecognised, match="a link or no regular file"):
        Registry(tmp_path / "other").import_archive(archive)


@pytest.mark.parametrize(("name", "size"), [(REVISIONS_FILE, MAX_OTHER_BYTES + 1), ("card.json", 2**20)])
def test_a_member_that_unpacks_to_too_much_is_not_unpacked(archive: Path, tmp_path: Path, name: str, size: int) -> None:
    """Its size is checked with the limit, and with the manifest, before it is unpacked."""
    rebuild(archive, **{name.replace(".json", "_json"): bytes(size)})
    with pytest.raises(BundleDamaged, match=rf"{name} unpacks to {size} bytes"):
        Registry(tmp_path / "other").import_archive(archive)


def test_all_members_together_have_a_limit(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large members do not fill the disk."""
    monkeypatch.setattr(archives, "MAX_ALL_BYTES", 10_000)
    assert MAX_ALL_BYTES > 2**29
    with pytest.raises(BundleDamaged, match="at most 10000 were expected"):
        Registry(tmp_path / "other").import_archive(archive)


# The seal


@pytest.mark.parametrize("changed", ["renamed_json", "card_json"])
def test_a_member_that_was_changed_after_the_export_is_refused(
    registry: Registry, tmp_path: Path, changed: str
) -> None:
    """The digests in the archive cover all its members, revisions included."""
    registry.set_threshold("champion", ThresholdRequest(threshold=0.7))
    registry.export("champion", tmp_path / "model.zip")
    content = thresholds_of(threshold(threshold=0.9)) if changed == "renamed_json" else b"{}\n"
    rebuild(tmp_path / "model.zip", comment=None, **{changed: content})
    with pytest.raises(BundleDamaged, match=changed.replace("_", r"\.")):
        Registry(tmp_path / "other").import_archive(tmp_path / "model.zip")


@pytest.mark.parametrize("comment", [b"{", b"made by a zip program", b"{}", b"[]", b"\xff", b'{"format": 5}'])
def test_an_archive_with_damaged_digests_is_refused(archive: Path, tmp_path: Path, comment: bytes) -> None:
    """It is not taken for an archive of an earlier version, which has none."""
    rebuild(archive, comment=comment)
    with pytest.raises(BundleDamaged, match="list of digests"):
        Registry(tmp_path / "other").import_archive(archive)


def test_an_archive_of_an_earlier_version_is_imported(registry: Registry, tmp_path: Path) -> None:
    """Without digests, its revisions are checked all the same, and used in a home that does not know the version."""
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "model.zip")
    imported = Registry(tmp_path / "other").import_archive(rebuild(tmp_path / "model.zip"))
    assert (imported.is_new, imported.unused_revisions, imported.signer) == (True, 0, None)
    assert len(Registry(tmp_path / "other").label_revisions(imported.version)) == 2


# Interrupted


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_import_leaves_what_was_here(
    registry: Registry, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """Ctrl-C while the folder is renamed: no revisions and no parts of the version stay, and a repetition works."""
    registry.rename_classes("champion", NAMES)
    registry.export("champion", tmp_path / "model.zip")
    other = Registry(tmp_path / "other")
    if damaged:
        other.add_archive(tmp_path / "model.zip")
        (other.folder / first / "card.json").write_bytes(b"damaged")
    before, real = everything(tmp_path / "other"), Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == first and (self / "card.json").read_bytes() != b"damaged":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            other.add_archive(tmp_path / "model.zip")
    assert everything(tmp_path / "other") == before
    assert other.add_archive(tmp_path / "model.zip") == first
    assert len(other.label_revisions(first)) == 2


@pytest.mark.parametrize("changed", [{"manifest_json": b"["}, {"manifest_json": b"{}"}, {"labels_json": b"[]"}])
def test_a_refusal_names_the_archive(registry: Registry, archive: Path, changed: dict[str, bytes]) -> None:
    """A person knows the file, and not the hidden folder into which it is unpacked."""
    with pytest.raises(ModelError) as refused:
        registry.import_archive(rebuild(archive, **changed))
    assert "model.zip" in str(refused.value)
    assert "incoming" not in str(refused.value)
