"""Bundle: a model version on disk, one folder with everything that decides an answer.

::

    manifest.json    format, version, and size and SHA-256 of each other file
    spec.json        how samples become the network's input (FeatureSpec)
    labels.json      the classes, their messages, and which of them are anomalous
    decision.json    the threshold and its false-alarm rate; with classifier and detector also the fault rule
    card.json        origin, figures and limits of the model
    network.tflite   the network that answers
    network.keras    the same network, for further training
    calibration.json scores of normal recordings by a classifier, for its threshold; older classifiers have none
    detector.json    settings of the detector
    detector.npz     fitted values of its engines, as plain arrays
    golden.wav       the golden clip
    golden.json      the answer that it must get

The network or the detector may be missing, but not both.

Reading a bundle executes nothing: it reads JSON, a flatbuffer, and the list of layers of the Keras archive.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ml.detectors.calibration import RateHoldsFor
from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.errors import BundleDamaged, BundleUnrecognised, InvalidClassLabels, SpecError
from ml.features.spec import FeatureSpec
from ml.models import keras_archive
from ml.models.labels import ClassLabels
from ml.models.names import LONGEST_NAME, NAME_PATTERN, VERSION_PATTERN
from ml.models.normal_scores import NormalScores
from ml.system.atomic import sync_file, sync_folder, to_json, write_atomic

FORMAT = "signalml-bundle"
# 1 is a classifier, 2 a bundle with a detector, 3 a classifier with scores of normal recordings.
CLASSIFIER_FORMAT, DETECTOR_FORMAT, CALIBRATED_FORMAT = FORMATS = 1, 2, 3
MANIFEST, SPEC, LABELS, DECISION, CARD = "manifest.json", "spec.json", "labels.json", "decision.json", "card.json"
LITERT, KERAS, GOLDEN_CLIP, GOLDEN_ANSWER = "network.tflite", "network.keras", "golden.wav", "golden.json"
DETECTOR_FACTS, DETECTOR_ARRAYS, CALIBRATION = "detector.json", "detector.npz", "calibration.json"
REQUIRED = frozenset({SPEC, LABELS, DECISION, CARD, GOLDEN_CLIP, GOLDEN_ANSWER})
CLASSIFIER, DETECTOR = frozenset({LITERT, KERAS}), frozenset({DETECTOR_FACTS, DETECTOR_ARRAYS})
KNOWN = REQUIRED | CLASSIFIER | DETECTOR | {CALIBRATION}
# The digest in a version's name covers all files that decide an answer, not the Keras archive and the card: both
# contain times.
DIGESTED_FILES = (
    *(SPEC, LABELS, DECISION, LITERT, GOLDEN_CLIP, GOLDEN_ANSWER, DETECTOR_FACTS, DETECTOR_ARRAYS),
    CALIBRATION,
)
FAULT_RULE_KEY, NOVELTY = "naming", "novelty"  # keys of decision.json and golden.json
NO_LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class DecisionThreshold:
    """Threshold of the score (0 to 1): a recording with a higher score is anomalous.

    ``false_alarm_rate`` is the share of normal recordings above it, None if it was not measured. ``basis`` is a text
    about the origin of the threshold.
    """

    threshold: float
    false_alarm_rate: float | None
    basis: str

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not (self.false_alarm_rate is None or 0 <= self.false_alarm_rate <= 1):
            raise BundleDamaged(f"Decision: {self} contains a number outside 0 to 1.")


@dataclass(frozen=True, slots=True)
class FaultRule:
    """Conditions for a fault name from the classifier, in a model with a detector.

    Attributes:
        threshold: the classifier's score must be above this, 0 to 1.
        basis: text about the origin of the threshold.
        max_named_distance: highest detector score, 0 to 1, at which a fault is named. Known faults are not farther from
            normal, so a higher score means an unknown fault, for any classifier score. 1 is no limit.
    """

    threshold: float
    basis: str
    max_named_distance: float = NO_LIMIT

    def __post_init__(self) -> None:
        if not (0 <= self.threshold <= 1 and 0 <= self.max_named_distance <= 1):
            raise BundleDamaged(f"Fault rule: {self} contains a number outside 0 to 1.")

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Create a fault rule from the values of :meth:`to_dict`; a missing ``farthest`` is no limit."""
        return cls(facts["threshold"], facts["basis"], facts.get("farthest", NO_LIMIT))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for serialisation; on disk, ``max_named_distance`` is called ``farthest``."""
        return {"threshold": self.threshold, "basis": self.basis, "farthest": self.max_named_distance}


@dataclass(frozen=True, slots=True)
class GoldenClip:
    """Recording with the answer that the model must give on every computer.

    Attributes:
        wav: the recording, as a WAV file.
        probabilities: probabilities of the classifier; empty without a classifier.
        novelty_score: score of the detector, 0 to 1; None without a detector.
    """

    wav: bytes
    probabilities: tuple[float, ...]
    novelty_score: float | None = None


@dataclass(frozen=True, slots=True)
class BundleContent:
    """Content of a bundle.

    Attributes:
        spec: how samples become the classifier's input, and how a recording is cut into clips.
        labels: the classes; for a detector alone, ``normal`` and ``unknown_fault``.
        decision: threshold of the detector's score or, without a detector, of the classifier's score.
        card: model card.
        litert: the network; None without a classifier.
        golden_clip: the golden clip.
        detector: the detector; None without one.
        fault_rule: the fault rule, if there are both a classifier and a detector; else None.
        normal_scores: scores of normal recordings by a classifier without a detector; None if it has none.
    """

    spec: FeatureSpec
    labels: ClassLabels
    decision: DecisionThreshold
    card: dict[str, Any]
    litert: bytes | None
    golden_clip: GoldenClip
    detector: Detector | None = None
    fault_rule: FaultRule | None = None
    normal_scores: NormalScores | None = None

    def __post_init__(self) -> None:
        if self.litert is None and self.detector is None:
            raise BundleDamaged("Bundle: it has neither a network nor a detector; at least one was expected.")
        if (self.fault_rule is None) != (self.litert is None or self.detector is None):
            raise BundleDamaged("Bundle: a fault rule was expected with both a network and a detector, and only then.")
        if self.normal_scores is not None and self.detector is not None:
            raise BundleDamaged("Bundle: normal scores were expected without a detector only, which has its own.")

    @property
    def rate_holds_for(self) -> RateHoldsFor | None:
        """Whether a false-alarm rate holds for new sessions; None without scores of normal recordings."""
        if self.detector is not None:
            return self.detector.calibration.rate_holds_for
        return None if self.normal_scores is None else self.normal_scores.rate_holds_for


@dataclass(frozen=True, slots=True)
class Bundle:
    """Verified version, read into memory."""

    version: str
    created: str
    content: BundleContent

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Verify ``folder`` and read it.

        Raises:
            BundleUnrecognised, BundleDamaged
        """
        manifest = verify(folder)
        try:
            golden, decisions = _read_json(folder / GOLDEN_ANSWER), _read_json(folder / DECISION)
            rule = decisions.pop(FAULT_RULE_KEY, None)
            files = manifest["files"]
            content = BundleContent(
                spec=FeatureSpec.from_dict(_read_json(folder / SPEC)),
                labels=ClassLabels.from_list(_read_json(folder / LABELS)),
                decision=DecisionThreshold(**decisions),
                card=_read_json(folder / CARD),
                litert=(folder / LITERT).read_bytes() if LITERT in files else None,
                golden_clip=GoldenClip(
                    (folder / GOLDEN_CLIP).read_bytes(),
                    tuple(map(float, golden["probabilities"])),
                    float(golden[NOVELTY]) if NOVELTY in golden else None,
                ),
                detector=_read_detector(folder) if DETECTOR_FACTS in files else None,
                fault_rule=None if rule is None else FaultRule.from_dict(rule),
                normal_scores=_read_normal_scores(folder) if CALIBRATION in files else None,
            )
            if not isinstance(content.card, dict):
                raise TypeError("the card is not a mapping")
        except (SpecError, InvalidClassLabels, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise BundleDamaged(f"Bundle {folder.name}: {error}") from error
        return cls(version=manifest["version"], created=manifest["created"], content=content)


def write(folder: Path, name: str, content: BundleContent, keras_file: Path | None) -> str:
    """Write a bundle into an empty ``folder``, its manifest last.

    Args:
        folder: existing, empty folder.
        name: first part of the version's name: lower-case letters, digits, dot, dash, underscore.
        content: content to write.
        keras_file: ``.keras`` archive, which is moved into the folder; None without a classifier.

    Returns:
        The version: ``name`` and a digest of all that decides an answer. The same model has the same version.

    Raises:
        ValueError: the name is not allowed.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(
            f"{name!r} is no valid model name: at most {LONGEST_NAME} lower-case letters, digits, '.', '_' and '-' "
            "were expected, beginning with a letter or a digit."
        )
    write_atomic(folder / SPEC, to_json(content.spec.to_dict()))
    write_atomic(folder / LABELS, to_json(content.labels.to_list()))
    rule = {} if content.fault_rule is None else {FAULT_RULE_KEY: content.fault_rule.to_dict()}
    write_atomic(folder / DECISION, to_json(asdict(content.decision) | rule))
    write_atomic(folder / CARD, to_json(content.card))
    write_atomic(folder / GOLDEN_CLIP, content.golden_clip.wav)
    novelty = {} if content.golden_clip.novelty_score is None else {NOVELTY: content.golden_clip.novelty_score}
    write_atomic(folder / GOLDEN_ANSWER, to_json({"probabilities": list(content.golden_clip.probabilities)} | novelty))
    files = set(REQUIRED)
    if content.litert is not None and keras_file is not None:
        write_atomic(folder / LITERT, content.litert)
        shutil.move(keras_file, folder / KERAS)
        sync_file(folder / KERAS)
        files |= CLASSIFIER
    if content.detector is not None:
        facts, arrays = detector_to_bytes(content.detector)
        write_atomic(folder / DETECTOR_FACTS, facts)
        write_atomic(folder / DETECTOR_ARRAYS, arrays)
        files |= DETECTOR
    if content.normal_scores is not None:
        write_atomic(folder / CALIBRATION, to_json(content.normal_scores.to_dict()))
        files |= {CALIBRATION}
    version = f"{name}-{_digest(folder)}"
    manifest = {
        "format": FORMAT,
        "format_version": _format_of(content),
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {file: _size_and_hash(folder / file) for file in sorted(files)},
    }
    write_atomic(folder / MANIFEST, to_json(manifest))
    sync_folder(folder)
    return version


def _format_of(content: BundleContent) -> int:
    if content.detector is not None:
        return DETECTOR_FORMAT
    return CLASSIFIER_FORMAT if content.normal_scores is None else CALIBRATED_FORMAT


def verify(folder: Path) -> dict[str, Any]:
    """Compare ``folder`` with its manifest: all listed files must exist unchanged, and no other file.

    Returns:
        The manifest.

    Raises:
        BundleUnrecognised: there is no manifest, or it has another format.
        BundleDamaged: a file is missing, changed, truncated or unexpected; or the Keras archive could run code.
    """
    manifest = read_manifest(folder)
    listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    expected = _expected_files(manifest)
    for file in sorted(expected | set(listed) | present):
        if file not in present:
            raise BundleDamaged(f"Bundle {folder.name}: the file {file} is missing.")
        if file not in listed or file not in expected or (folder / file).is_symlink() or not (folder / file).is_file():
            raise BundleDamaged(f"Bundle {folder.name}: the file {file} does not belong to it.")
        facts = _size_and_hash(folder / file)
        if facts["bytes"] != listed[file].get("bytes"):
            raise BundleDamaged(
                f"Bundle {folder.name}: {file} has {facts['bytes']} bytes; {listed[file].get('bytes')} were expected."
            )
        if facts["sha256"] != listed[file].get("sha256"):
            raise BundleDamaged(f"Bundle {folder.name}: {file} was changed: its SHA-256 differs from the manifest.")
    if not manifest["version"].endswith(f"-{_digest(folder)}"):
        raise BundleDamaged(f"Bundle {folder.name}: its content does not match the version {manifest['version']}.")
    if KERAS in listed:
        keras_archive.require_safe(folder / KERAS)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder; its files are not compared with it.

    Raises:
        BundleUnrecognised, BundleDamaged
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleUnrecognised(f"{folder.name} is no bundle: it has no {MANIFEST}.")
    manifest = _read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleUnrecognised(f"{folder.name} is no bundle: its {MANIFEST} does not have the format {FORMAT}.")
    # The texts are compared, because JSON's true equals 1.
    if repr(manifest.get("format_version")) not in map(repr, FORMATS):
        raise BundleUnrecognised(
            f"Bundle {folder.name} has format {manifest.get('format_version')}; this program reads "
            f"{', '.join(map(str, FORMATS))}."
        )
    version, files = manifest.get("version"), manifest.get("files")
    named = isinstance(version, str) and VERSION_PATTERN.fullmatch(version)
    listed = isinstance(files, dict) and all(isinstance(facts, dict) for facts in files.values())
    if not named or not listed or not isinstance(manifest.get("created"), str):
        raise BundleDamaged(f"Bundle {folder.name}: its {MANIFEST} lacks a version, a date or a list of files.")
    return manifest


def _expected_files(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Return the files that this format must have; with a detector, the classifier is optional."""
    if manifest["format_version"] != DETECTOR_FORMAT:
        calibrated = manifest["format_version"] == CALIBRATED_FORMAT
        return REQUIRED | CLASSIFIER | ({CALIBRATION} if calibrated else set())
    return REQUIRED | DETECTOR | (CLASSIFIER if CLASSIFIER & set(manifest["files"]) else frozenset())


def _read_detector(folder: Path) -> Detector:
    return detector_from_bytes((folder / DETECTOR_FACTS).read_bytes(), (folder / DETECTOR_ARRAYS).read_bytes())


def _read_normal_scores(folder: Path) -> NormalScores:
    return NormalScores.from_dict(_read_json(folder / CALIBRATION))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BundleDamaged(f"{path.parent.name}/{path.name} is not JSON: {error}") from error


def _size_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest(folder: Path) -> str:
    """Return the end of a version's name: ten hexadecimal digits from all files that decide an answer."""
    files = [folder / file for file in DIGESTED_FILES if (folder / file).exists()]
    parts = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(parts).hexdigest()[:10]
