"""Registry: the versions of a home's models, and the aliases that point to them.

::

    <home>/models/<version>/                 bundle, never changed after it was added
    <home>/models/labels/<version>.json      later revisions of its labels
    <home>/models/thresholds/<version>.json  later revisions of its threshold
    <home>/models/aliases.json               champion, challenger, previous, and the history of their changes
    <home>/models/.incoming-*/               bundle that is being added; leftovers are deleted after a day

Writers hold a lock between processes. Readers need none, because every file is replaced in one step.
"""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ml.errors import (
    AliasNotSet,
    AliasReserved,
    BundleDamaged,
    BundleUnrecognised,
    ChampionChanged,
    ModelError,
    ModelNotFound,
)
from ml.models import bundle
from ml.models.bundle import Bundle
from ml.models.golden import load_verified
from ml.models.names import VERSION_PATTERN
from ml.models.predictor import Predictor
from ml.models.recalibration import Recalibration, recalibrated
from ml.models.revisions import (
    ClassLabelsRevision,
    RevisionStore,
    ThresholdRevision,
    recalibration_in_force,
    unpack,
)
from ml.models.served import ServedModel
from ml.models.thresholds import ThresholdRequest, request_in_force, resolve_threshold
from ml.system.atomic import file_lock, make_folder, sync_folder, to_json, write_atomic
from ml.system.clock import timestamp

Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = get_args(Alias)
HINTS = {
    "champion": " Import one with  signalml models import FILE --promote",
    "previous": " There is nothing to roll back to: no champion has been replaced yet.",
}
# Value of expected_version: the alias may point to any version. No version has this name.
ANY_VERSION = "*"
HISTORY_KEPT = 200
INCOMING = ".incoming-"
INCOMING_KEPT_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias; the history keeps the last :data:`HISTORY_KEPT` changes."""

    at: str
    alias: str
    version: str
    before: str | None


class Registry:
    """Registry of the models of one home.

    Args:
        home: folder that contains ``models/``; created with the first write.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self._aliases_file = self.folder / "aliases.json"
        self._revisions = RevisionStore(self.folder)

    # Reading

    def versions(self) -> list[str]:
        """Return all versions, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.is_dir() and VERSION_PATTERN.fullmatch(path.name)]
        return [
            path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        ]

    def aliases(self) -> dict[Alias, str]:
        """Return the aliases that are set, and their versions."""
        pointed: dict[str, str] = self._read_alias_file()["aliases"]
        return {alias: pointed[alias] for alias in ALIASES if alias in pointed}

    def history(self) -> list[AliasChange]:
        """Return the changes of aliases, the oldest first."""
        return [AliasChange(**entry) for entry in self._read_alias_file()["history"]]

    def resolve(self, reference: str) -> str:
        """Return the version of a reference: a version, an alias, or a model name for its newest version.

        Raises:
            AliasNotSet, ModelNotFound
        """
        if reference in ALIASES:
            version = self.aliases().get(reference)
            if version is None:
                raise AliasNotSet(f"No model is {reference} in {self.folder}.{HINTS.get(reference, '')}")
            return version
        if VERSION_PATTERN.fullmatch(reference) and (self.folder / reference).is_dir():
            return reference
        versions = self.versions()
        for version in versions:
            if version.rpartition("-")[0] == reference:
                return version
        newest = ", ".join(versions[:5]) or "none"
        raise ModelNotFound(f"There is no model {reference!r}; the newest versions are: {newest}.")

    def path(self, reference: str) -> Path:
        """Return the folder of a version, an alias or a model name."""
        return self.folder / self.resolve(reference)

    def read(self, reference: str) -> Bundle:
        """Verify and read a version.

        Raises:
            AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        folder = self.path(reference)
        if not folder.is_dir():
            raise ModelNotFound(f"The model {folder.name} no longer exists: its folder was removed.")
        found = Bundle.read(folder)
        if found.version != folder.name:
            raise BundleDamaged(f"The folder {folder.name} contains the bundle {found.version}; they must be the same.")
        return found

    def read_calibrated(self, reference: str) -> Bundle:
        """Read a version as :meth:`read` does, with the calibration that its current threshold comes from."""
        found = self.read(reference)
        return _with_calibration_in_force(found, self._revisions.threshold_revisions(found))

    def load_predictor(self, reference: str) -> Predictor:
        """Load a version with its current labels and threshold, and verify its golden clip.

        Raises:
            AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged, GoldenClipFailed
        """
        return load_verified(self.read_served(reference))

    def read_served(self, reference: str) -> ServedModel:
        """Read a version with its current labels and threshold.

        Raises:
            AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        found = self.read(reference)
        labels, thresholds = self._revisions.label_revisions(found)[-1], self._revisions.threshold_revisions(found)
        threshold = thresholds[-1]
        return ServedModel(
            bundle=_with_calibration_in_force(found, thresholds),
            labels=labels.labels,
            labels_revision=labels.revision,
            decision=threshold.decision,
            threshold_revision=threshold.revision,
        )

    def label_revisions(self, reference: str, found: Bundle | None = None) -> list[ClassLabelsRevision]:
        """Return all revisions of a version's labels, the current one last."""
        return self._revisions.label_revisions(found or self.read(reference))

    def threshold_revisions(self, reference: str, found: Bundle | None = None) -> list[ThresholdRevision]:
        """Return all revisions of a version's threshold, the current one last."""
        return self._revisions.threshold_revisions(found or self.read(reference))

    def champion_stamp(self) -> tuple[object, ...]:
        """Return a value that changes with the champion, its labels or its threshold; cheap enough to poll."""
        champion = self.aliases().get("champion")
        return (champion, self._stamp(self._aliases_file), champion and self.stamp(champion))

    def stamp(self, version: str) -> tuple[object, ...]:
        """Return a value that changes with the labels or the threshold of a version."""
        return tuple(map(self._stamp, self._revisions.files(version)))

    # Writing

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Provide an empty folder for a bundle; it is deleted afterwards unless :meth:`add` has moved it."""
        make_folder(self.folder)
        self._delete_leftovers()
        folder = self.folder / f"{INCOMING}{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, folder: Path) -> str:
        """Verify a bundle in an :meth:`incoming` folder and add it; an intact bundle of that version stays.

        Returns:
            The version.

        Raises:
            BundleUnrecognised, BundleDamaged, GoldenClipFailed
        """
        found = Bundle.read(folder)
        load_verified(ServedModel.as_written(found))
        with self._write_lock():
            target = self.folder / found.version
            if not _is_intact(target):
                shutil.rmtree(target, ignore_errors=True)
                folder.rename(target)
                sync_folder(self.folder)
        return found.version

    def add_archive(self, archive: Path) -> str:
        """Add a bundle from an archive of :meth:`export`.

        Raises:
            BundleUnrecognised, BundleDamaged, GoldenClipFailed
        """
        with self.incoming() as folder:
            bundle.unpack(archive, folder)
            packed = folder / bundle.REVISIONS_FILE
            revisions = unpack(packed)
            packed.unlink(missing_ok=True)
            version = self.add(folder)
        with self._write_lock():
            self._revisions.import_missing(version, revisions)
        return version

    def export(self, reference: str, target: Path) -> None:
        """Pack a version into one archive, with all revisions of its labels and its threshold."""
        version = self.resolve(reference)
        bundle.pack(self.folder / version, target, self._revisions.pack(version))

    def promote(
        self,
        reference: str,
        alias: Alias = "champion",
        *,
        expected_version: str | None = ANY_VERSION,
        before_write: Callable[[], None] = lambda: None,
    ) -> str:
        """Point ``alias`` to a version, after verifying its golden clip; the former champion becomes previous.

        Args:
            reference: version, alias or model name. If ``alias`` points to it already, nothing is changed.
            alias: alias to set.
            expected_version: version that ``alias`` must point to before; None if it must not be set.
            before_write: called under the lock right before the alias is written; if it raises, nothing is written.

        Returns:
            The version.

        Raises:
            AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged, GoldenClipFailed, AliasReserved
            ChampionChanged: the alias points to another version than ``expected_version``.
        """
        if alias == "previous":
            raise AliasReserved("The registry itself sets the alias previous: promote another champion, or roll back.")
        with self._write_lock():
            version = self.resolve(reference)
            self.load_predictor(version)
            state = self._read_alias_file()
            pointed: dict[str, str] = state["aliases"]
            before = pointed.get(alias)
            if before == version:
                return version
            if expected_version not in (ANY_VERSION, before):
                raise ChampionChanged(
                    f"{before or 'No model'} is {alias} now; {expected_version or 'no model'} was expected: "
                    f"{version} was not promoted."
                )
            before_write()
            if alias == "champion":
                if before is not None:
                    pointed["previous"] = before
                if pointed.get("challenger") == version:
                    del pointed["challenger"]
            pointed[alias] = version
            change = AliasChange(timestamp(), alias, version, before)
            state["history"] = [*state["history"], asdict(change)][-HISTORY_KEPT:]
            write_atomic(self._aliases_file, to_json(state))
        return version

    def rollback(self) -> str:
        """Make the previous champion the champion again, and the present champion the previous one.

        Raises:
            AliasNotSet: there is no previous champion.
        """
        return self.promote("previous")

    def rename_classes(self, reference: str, names: Sequence[tuple[str, str]]) -> ClassLabelsRevision:
        """Give a version's classes new names and messages, as a new revision; earlier revisions are kept.

        Args:
            reference: version, alias or model name.
            names: name and message of each class, in the order of the classes.

        Raises:
            InvalidClassLabels, AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        with self._write_lock():
            return self._revisions.rename(self.read(reference), names)

    def set_threshold(self, reference: str, request: ThresholdRequest) -> ThresholdRevision:
        """Move a version's threshold, without training, as a new revision; earlier revisions are kept.

        A reset returns to the calibration of the bundle too.

        Args:
            reference: version, alias or model name.
            request: requested threshold.

        Raises:
            InvalidParameter, ModelNotCalibrated, AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        with self._write_lock():
            found = self.read(reference)
            scores = None if request.reset else recalibration_in_force(self._revisions.threshold_revisions(found))
            return self._move_threshold(found, request, scores)

    def recalibrate(
        self,
        reference: str,
        recalibration: Recalibration,
        request: ThresholdRequest | None = None,
        *,
        before_write: Callable[[], None] = lambda: None,
    ) -> ThresholdRevision:
        """Give a version another calibration, as a new revision of its threshold; earlier revisions are kept.

        Args:
            reference: version, alias or model name.
            recalibration: the scores.
            request: requested threshold; None keeps the requested rate or, if there is none, the threshold.
            before_write: called under the lock right before the revision is written; if it raises, nothing is written.

        Raises:
            InvalidParameter: the requested rate is not known, or the requested threshold is invalid.
            ModelNotCalibrated, AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        with self._write_lock():
            found = self.read(reference)
            request = request or request_in_force(found.content, self._revisions.threshold_revisions(found))
            before_write()
            return self._move_threshold(found, request, recalibration)

    def _move_threshold(
        self, found: Bundle, request: ThresholdRequest, scores: Recalibration | None
    ) -> ThresholdRevision:
        decision = resolve_threshold(recalibrated(found.content, scores), request)
        if scores is not None:
            decision = replace(decision, basis=f"recalibrated with {scores.dataset}, {decision.basis}")
        return self._revisions.move(
            found,
            decision,
            sensitivity=request.sensitivity,
            limit=request.limit,
            requested_rate=request.rate,
            recalibration=scores,
        )

    # Files

    def _read_alias_file(self) -> dict[str, Any]:
        try:
            state = json.loads(self._aliases_file.read_bytes())
            pointed = state["aliases"].values()
            if not all(isinstance(v, str) and VERSION_PATTERN.fullmatch(v) for v in pointed):
                raise TypeError("an alias does not point to a version")
            if not isinstance(state["history"], list):
                raise TypeError("the history is not a list")
        except FileNotFoundError:
            return {"aliases": {}, "history": []}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleUnrecognised(
                f"{self._aliases_file.name} is damaged ({error}): remove it and promote again."
            ) from error
        return dict(state)

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        make_folder(self.folder)
        with file_lock(self.folder / ".lock"):
            yield

    def _delete_leftovers(self) -> None:
        for left in self.folder.glob(f"{INCOMING}*"):
            with suppress(FileNotFoundError):  # another process may delete it at the same time
                if time.time() - left.stat().st_mtime > INCOMING_KEPT_S:
                    shutil.rmtree(left, ignore_errors=True)

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns)


def _with_calibration_in_force(found: Bundle, revisions: Sequence[ThresholdRevision]) -> Bundle:
    return replace(found, content=recalibrated(found.content, recalibration_in_force(revisions)))


def _is_intact(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except ModelError:
        return False
    return True
