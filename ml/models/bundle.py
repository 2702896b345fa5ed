"""A model version on disk: everything that decides how a sound becomes an answer, in one folder.

::

    manifest.json    format, version, and size and SHA-256 of each other file
    spec.json        how a sound becomes the network's input (FeatureSpec)
    labels.json      the classes, their messages, and which of them are anomalies
    decision.json    the threshold on the score, and what is known of its false-alarm rate; with a detector beside it
                     also the classifier's own
    card.json        where the model comes from and what it was measured on
    network.tflite   the network as it is served
    network.keras    the same network, for training on
    detector.json    what a detector of novelty is made of
    detector.npz     what its engines have learned, as plain arrays
    golden.wav       a clip, and in golden.json what it must be answered with

The network or the detector may be missing, not both.

Nothing is executed to read one: JSON, a flatbuffer, and a Keras archive of which only the list of layers is read.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ml.detectors.detector import Detector
from ml.errors import BundleDamaged, BundleUnrecognised, InvalidClassLabels, SpecError
from ml.features.spec import FeatureSpec
from ml.models import keras_archive
from ml.models.labels import ClassLabels
from ml.models.names import NAME_PATTERN, VERSION_PATTERN
from ml.system.atomic import sync_folder, to_json, write_atomic
from ml.system.zip_members import ZIP_ERRORS, read_member

FORMAT = "signalml-bundle"
# 2 is that of a bundle with a detector; one without is written as it always was, and older services read it.
CLASSIFIER_FORMAT, DETECTOR_FORMAT = 1, 2
MANIFEST, SPEC, LABELS, DECISION, CARD = "manifest.json", "spec.json", "labels.json", "decision.json", "card.json"
LITERT, KERAS, GOLDEN_CLIP, GOLDEN_ANSWER = "network.tflite", "network.keras", "golden.wav", "golden.json"
DETECTOR_FACTS, DETECTOR_ARRAYS = "detector.json", "detector.npz"
REVISIONS_FILE = "renamed.json"  # in archives only: labels and thresholds change, and a version does not
REQUIRED = frozenset({SPEC, LABELS, DECISION, CARD, GOLDEN_CLIP, GOLDEN_ANSWER})
CLASSIFIER, DETECTOR = frozenset({LITERT, KERAS}), frozenset({DETECTOR_FACTS, DETECTOR_ARRAYS})
KNOWN = REQUIRED | CLASSIFIER | DETECTOR
# What a version's name digests: all that decides an answer. Not the Keras archive and the card, which carry times.
DIGESTED_FILES = (SPEC, LABELS, DECISION, LITERT, GOLDEN_CLIP, GOLDEN_ANSWER, DETECTOR_FACTS, DETECTOR_ARRAYS)
FAULT_RULE_KEY, NOVELTY = "naming", "novelty"  # keys of decision.json and golden.json
NO_LIMIT = 1.0
MAX_FILE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class DecisionThreshold:
    """From score to verdict: anomalous above ``threshold`` (0 to 1).

    ``false_alarm_rate`` is the share of healthy recordings above it, None where nobody has measured it; ``basis`` says
    in words where the threshold comes from.
    """

    threshold: float
    false_alarm_rate: float | None
    basis: str

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not (self.false_alarm_rate is None or 0 <= self.false_alarm_rate <= 1):
            raise BundleDamaged(f"Decision: {self} holds a number outside 0 to 1.")


@dataclass(frozen=True, slots=True)
class FaultRule:
    """What it takes, beside a detector, to name a known fault.

    Attributes:
        threshold: what the classifier's own score must be above, 0 to 1.
        basis: where that comes from, in words.
        max_named_distance: the detector's score, 0 to 1, beyond which no fault that was learned lies: what is farther from
            healthy is none of them, however sure the classifier is. 1, which no score exceeds, is no limit.
    """

    threshold: float
    basis: str
    max_named_distance: float = NO_LIMIT

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and 0 <= self.max_named_distance <= 1):
            raise BundleDamaged(f"Naming: {self} holds a number outside 0 to 1.")

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; what was written without a limit has none."""
        return cls(facts["threshold"], facts["basis"], facts.get("farthest", NO_LIMIT))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised; ``farthest`` is the name that the limit has on disk."""
        return {"threshold": self.threshold, "basis": self.basis, "farthest": self.max_named_distance}


@dataclass(frozen=True, slots=True)
class GoldenClip:
    """A recording, and what the model must answer it with wherever it runs.

    Attributes:
        wav: the recording.
        probabilities: of the classifier; none where there is no classifier.
        novelty_score: the detector's score, 0 to 1; None where there is no detector.
    """

    wav: bytes
    probabilities: tuple[float, ...]
    novelty_score: float | None = None


@dataclass(frozen=True, slots=True)
class BundleContent:
    """What a bundle holds.

    Attributes:
        spec: how a sound becomes the classifier's input, and how it is cut into windows.
        labels: the classes; of a detector alone, ``normal`` and ``unknown_fault``.
        decision: the threshold on the score: the detector's where there is one, else the classifier's.
        card: where the model comes from.
        litert: the network, None without a classifier.
        golden_clip: the golden clip.
        detector: what hears novelty, None without one.
        fault_rule: beside a detector, what it takes to name a known fault.
    """

    spec: FeatureSpec
    labels: ClassLabels
    decision: DecisionThreshold
    card: dict[str, Any]
    litert: bytes | None
    golden_clip: GoldenClip
    detector: Detector | None = None
    fault_rule: FaultRule | None = None

    def __post_init__(self) -> None:
        if self.litert is None and self.detector is None:
            raise BundleDamaged("Bundle: there is neither a network nor a detector; one of them was expected.")
        if (self.fault_rule is None) != (self.litert is None or self.detector is None):
            raise BundleDamaged("Bundle: a classifier's own threshold belongs where there is a detector beside it.")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified version, read into memory."""

    version: str
    created: str
    content: BundleContent

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Verify ``folder`` and read it.

        Raises:
            BundleForeign, BundleDamaged
        """
        manifest = verify(folder)
        try:
            golden, decisions = _json(folder / GOLDEN_ANSWER), _json(folder / DECISION)
            naming = decisions.pop(FAULT_RULE_KEY, None)
            there = manifest["files"]
            content = BundleContent(
                spec=FeatureSpec.from_dict(_json(folder / SPEC)),
                labels=ClassLabels.from_list(_json(folder / LABELS)),
                decision=DecisionThreshold(**decisions),
                card=_json(folder / CARD),
                litert=(folder / LITERT).read_bytes() if LITERT in there else None,
                golden_clip=GoldenClip(
                    (folder / GOLDEN_CLIP).read_bytes(),
                    tuple(map(float, golden["probabilities"])),
                    float(golden[NOVELTY]) if NOVELTY in golden else None,
                ),
                detector=_detector(folder) if DETECTOR_FACTS in there else None,
                fault_rule=None if naming is None else FaultRule.from_dict(naming),
            )
            if not isinstance(content.card, dict):
                raise TypeError("the card is no mapping")
        except (SpecError, InvalidClassLabels, TypeError, ValueError, KeyError, AttributeError) as error:
            raise BundleDamaged(f"Bundle {folder.name}: {error}") from error
        return cls(version=manifest["version"], created=manifest["created"], content=content)


def write(folder: Path, name: str, content: BundleContent, keras_file: Path | None) -> str:
    """Write a bundle into an empty ``folder``, its manifest last.

    Args:
        folder: an empty folder that exists.
        name: what the version's name begins with; lower-case letters, digits, dot, dash, underscore.
        content: what to write.
        keras_file: the ``.keras`` archive, which is moved into the folder; None without a classifier.

    Returns:
        The version: ``name`` and a digest of all that decides an answer. The same model has the same version.

    Raises:
        ValueError: an unusable name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a model: lower-case letters, digits, '.', '_' and '-', at most 48.")
    write_atomic(folder / SPEC, to_json(content.spec.to_dict()))
    write_atomic(folder / LABELS, to_json(content.labels.to_list()))
    naming = {} if content.fault_rule is None else {FAULT_RULE_KEY: content.fault_rule.to_dict()}
    write_atomic(folder / DECISION, to_json(asdict(content.decision) | naming))
    write_atomic(folder / CARD, to_json(content.card))
    write_atomic(folder / GOLDEN_CLIP, content.golden_clip.wav)
    novelty = {} if content.golden_clip.novelty_score is None else {NOVELTY: content.golden_clip.novelty_score}
    write_atomic(folder / GOLDEN_ANSWER, to_json({"probabilities": list(content.golden_clip.probabilities)} | novelty))
    files = set(REQUIRED)
    if content.litert is not None and keras_file is not None:
        write_atomic(folder / LITERT, content.litert)
        shutil.move(keras_file, folder / KERAS)
        files |= CLASSIFIER
    if content.detector is not None:
        facts, arrays = content.detector.to_bytes()
        write_atomic(folder / DETECTOR_FACTS, facts)
        write_atomic(folder / DETECTOR_ARRAYS, arrays)
        files |= DETECTOR
    version = f"{name}-{_digest(folder)}"
    manifest = {
        "format": FORMAT,
        "format_version": CLASSIFIER_FORMAT if content.detector is None else DETECTOR_FORMAT,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {file: _facts(folder / file) for file in sorted(files)},
    }
    write_atomic(folder / MANIFEST, to_json(manifest))
    sync_folder(folder)
    return version


def verify(folder: Path) -> dict[str, Any]:
    """Hold ``folder`` against its manifest: each file there, whole and unchanged, and none besides.

    Returns:
        The manifest.

    Raises:
        BundleForeign: no manifest, or one of another format.
        BundleDamaged: a file is missing, changed, truncated or too many; or the Keras archive holds a layer that could
            run code.
    """
    manifest = _manifest(folder)
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    expected = _expected(manifest)
    for file in sorted(expected | set(listed) | there):
        if file not in there:
            raise BundleDamaged(f"Bundle {folder.name}: the file {file} is missing.")
        if file not in listed or file not in expected or (folder / file).is_symlink() or not (folder / file).is_file():
            raise BundleDamaged(f"Bundle {folder.name}: the file {file} does not belong to it.")
        facts = _facts(folder / file)
        if facts["bytes"] != listed[file].get("bytes"):
            raise BundleDamaged(
                f"Bundle {folder.name}: {file} has {facts['bytes']} bytes, not {listed[file].get('bytes')} as listed."
            )
        if facts["sha256"] != listed[file].get("sha256"):
            raise BundleDamaged(f"Bundle {folder.name}: {file} was changed: its SHA-256 is not the manifest's.")
    if not manifest["version"].endswith(f"-{_digest(folder)}"):
        raise BundleDamaged(f"Bundle {folder.name}: its content is not that of the version {manifest['version']}.")
    if KERAS in listed:
        keras_archive.require_safe(folder / KERAS)
    return manifest


def pack(folder: Path, target: Path, revisions: bytes | None = None) -> None:
    """Put a bundle into one zip archive, for a machine without a network, and what its classes were renamed to."""
    files = sorted(verify(folder)["files"])
    aside = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in (MANIFEST, *files):
                archive.write(folder / file, file)
            if revisions is not None:
                archive.writestr(REVISIONS_FILE, revisions)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def unpack(archive_file: Path, folder: Path) -> None:
    """Take the files of a bundle, and nothing else, out of an archive into ``folder``; the caller verifies.

    Raises:
        BundleForeign: not a zip archive of a bundle.
        BundleDamaged: a file is too large or does not unpack.
    """
    try:
        with zipfile.ZipFile(archive_file) as archive:
            names = {info.filename: info for info in archive.infolist()}
            if MANIFEST not in names or not set(names) <= KNOWN | {MANIFEST, REVISIONS_FILE}:
                raise BundleUnrecognised(
                    f"{archive_file.name} is no exported model: it holds {sorted(names)[:5]}; "
                    f"a {MANIFEST} and its files were expected."
                )
            for name, info in names.items():
                if info.file_size > MAX_FILE_BYTES:
                    raise BundleDamaged(
                        f"{archive_file.name}: {name} unpacks to {info.file_size} bytes, which is too many."
                    )
                write_atomic(folder / name, read_member(archive, info))
    except ZIP_ERRORS as error:
        raise BundleUnrecognised(f"{archive_file.name} is no readable zip archive: {error}") from error


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleUnrecognised(f"{folder.name} is no bundle: it has no {MANIFEST}.")
    manifest = _json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleUnrecognised(f"{folder.name} is no bundle: its {MANIFEST} is not of the format {FORMAT}.")
    # By its text: JSON's true equals 1.
    if repr(manifest.get("format_version")) not in map(repr, (CLASSIFIER_FORMAT, DETECTOR_FORMAT)):
        raise BundleUnrecognised(
            f"Bundle {folder.name} has format {manifest.get('format_version')}; this version reads "
            f"{CLASSIFIER_FORMAT} and {DETECTOR_FORMAT}."
        )
    version, files = manifest.get("version"), manifest.get("files")
    named = isinstance(version, str) and VERSION_PATTERN.fullmatch(version)
    listed = isinstance(files, dict) and all(isinstance(facts, dict) for facts in files.values())
    if not named or not listed or not isinstance(manifest.get("created"), str):
        raise BundleDamaged(f"Bundle {folder.name}: its {MANIFEST} lacks a version, a date or a list of files.")
    return manifest


def _expected(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The files that a bundle of this format has; one with a detector may do without a classifier."""
    if manifest["format_version"] == CLASSIFIER_FORMAT:
        return REQUIRED | CLASSIFIER
    return REQUIRED | DETECTOR | (CLASSIFIER if CLASSIFIER & set(manifest["files"]) else frozenset())


def _detector(folder: Path) -> Detector:
    return Detector.from_bytes((folder / DETECTOR_FACTS).read_bytes(), (folder / DETECTOR_ARRAYS).read_bytes())


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleDamaged(f"{path.parent.name}/{path.name} is not JSON: {error}") from error


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest(folder: Path) -> str:
    """Ten hexadecimal digits of all that decides an answer: what a version's name ends in."""
    there = [folder / file for file in DIGESTED_FILES if (folder / file).exists()]
    parts = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in there)
    return hashlib.sha256(parts).hexdigest()[:10]
