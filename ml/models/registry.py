"""Registry: the versions of a home's models, and the aliases that point to them.

::

    <home>/models/<version>/                 bundle, never changed after it was added
    <home>/models/labels/<version>.json      later revisions of its labels
    <home>/models/thresholds/<version>.json  later revisions of its threshold
    <home>/models/signatures/<version>.json  its signature, if it was imported with one or signed here
    <home>/models/aliases.json               champion, challenger, previous, and the history of their changes
    <home>/models/.incoming-*/               bundle that is being added; leftovers are deleted after a day
    <home>/models/.removed-*/                removed version; deleted at once, or before the next bundle is added

Writers hold a lock between processes. Readers need none, because every file is replaced in one step.
"""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ml.errors import (
    AliasNotSet,
    AliasReserved,
    BundleDamaged,
    BundleUnrecognised,
    ChampionChanged,
    InvalidParameter,
    ModelError,
    ModelInUse,
    ModelNotFound,
)
from ml.models import archives, bundle
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
from ml.models.seals import SealStore
from ml.models.served import ServedModel
from ml.models.signing import SigningKey
from ml.models.thresholds import ThresholdRequest, request_in_force, resolve_threshold
from ml.system.atomic import file_lock, lock_folder, make_folder, sync_folder, to_json, write_atomic
from ml.system.audit import record_change
from ml.system.clock import timestamp
from ml.system.names import child
from ml.system.validation import shorten

logger = logging.getLogger("signalml.registry")
Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = get_args(Alias)
# The three ways to a first model, for every message about a missing one.
FIRST_MODEL = (
    "`signalml demo` trains a demonstration model in about a minute, `signalml train FOLDER --promote` trains on "
    "recordings, `signalml models import FILE --promote` imports a model."
)
HINTS = {
    "champion": f" {FIRST_MODEL}",
    "previous": " There is nothing to roll back to: no champion has been replaced yet.",
}
# Value of expected_version: the alias may point to any version. No version has this name.
ANY_VERSION = "*"
HISTORY_KEPT = 200
INCOMING, REMOVED = ".incoming-", ".removed-"
MAX_CONFIRM = 64
INCOMING_KEPT_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class AliasChange:
    """One change of an alias; the history keeps the last :data:`HISTORY_KEPT` changes."""

    at: str
    alias: str
    version: str
    before: str | None


def _alias_change(entry: Any) -> AliasChange:
    change = AliasChange(**entry)
    if not all(isinstance(text, str) for text in (change.at, change.alias, change.version, change.before or "")):
        raise TypeError(f"{entry} has a value that is no text")
    return change


class ImportedModel(NamedTuple):
    """Result of an import.

    Attributes:
        version: the version.
        is_new: whether this home did not know it before.
        unused_revisions: number of revisions in the archive that were not used, because the version was known and has
            other ones.
        signer: name of the trusted key that signed the archive; None without one.
    """

    version: str
    is_new: bool
    unused_revisions: int
    signer: str | None


class Registry:
    """Registry of the models of one home.

    Args:
        home: folder that contains ``models/``; created with the first write.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self._aliases_file = self.folder / "aliases.json"
        self._revisions = RevisionStore(self.folder)
        self._seals = SealStore(home, self.folder)

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
        """Return the changes of aliases, the oldest first; damaged entries are logged and left out."""
        found = []
        for entry in self._read_alias_file()["history"]:
            try:
                found.append(_alias_change(entry))
            except TypeError as error:
                logger.warning("an entry in the history of %s is damaged: %s", self._aliases_file.name, error)
        return found

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
        raise ModelNotFound(f"There is no model {shorten(reference)!r}; the newest versions are: {newest}.")

    def path(self, reference: str) -> Path:
        """Return the folder of a version, an alias or a model name."""
        return child(self.folder, self.resolve(reference))

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
            SignatureMissing, SignatureInvalid, SignerUnknown: this process serves only models that a trusted key has
                signed.
        """
        found = self.read(reference)
        self._seals.require(found.version)
        return _served(found, self._revisions.label_revisions(found), self._revisions.threshold_revisions(found))

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
        with lock_folder(folder):
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
            self._place(folder, found.version)
        return found.version

    def add_archive(self, archive: Path) -> str:
        """Add a bundle from an archive of :meth:`export`; return its version. See :meth:`import_archive`."""
        return self.import_archive(archive).version

    def import_archive(self, archive: Path) -> ImportedModel:
        """Add a bundle from an archive of :meth:`export`, and what the import found.

        Nothing that is here changes: for a known version, the revisions in the archive are not used. A version is known
        if it is here, an alias points to it, or it has revisions here. Only a damaged bundle is replaced.

        Raises:
            BundleUnrecognised, BundleDamaged, GoldenClipFailed
            SignatureInvalid: the signature does not match.
            SignatureMissing, SignerUnknown: this process accepts only models that a trusted key has signed.
        """
        with self.incoming() as folder:
            unpacked = archives.unpack(archive, folder)
            found = Bundle.read(folder)
            signer = self._seals.check(unpacked.seal, archive.name)
            revisions = unpack(unpacked.revisions, found, archive.name)
            load_verified(_served(found, revisions.labels, revisions.thresholds))
            with self._write_lock():
                is_known = self._is_known(found.version)
                unused = revisions.n_later if is_known and not self._revisions.has(found, revisions) else 0
                if not is_known:
                    self._revisions.add_imported(found.version, revisions)
                try:
                    self._place(folder, found.version)
                except BaseException:  # also Ctrl-C: no revisions without their version stay
                    if not is_known:
                        self._revisions.remove(found.version)
                    raise
                self._seals.keep(found.version, unpacked.seal)
        return ImportedModel(found.version, not is_known, unused, signer)

    def export(self, reference: str, target: Path, key: SigningKey | None = None) -> None:
        """Pack a version into one archive, with all revisions of its labels and its threshold.

        Args:
            reference: version, alias or model name.
            target: archive to write.
            key: key that signs the archive; None for no signature.
        """
        version = self.resolve(reference)
        archives.pack(self.folder / version, target, self._revisions.pack(version), key)

    def sign(self, reference: str, key: SigningKey) -> str:
        """Sign a version in this home, so that it is served where only signed models are; return the version.

        Raises:
            AliasNotSet, ModelNotFound, BundleUnrecognised, BundleDamaged
        """
        version = self.read(reference).version
        with self._write_lock():
            self._seals.sign(version, key)
        return version

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
            self._record("model.promote", alias, before=before, after=version)
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
            found = self.read(reference)
            before = self._revisions.label_revisions(found)[-1]
            revision = self._revisions.rename(found, names)
            self._record("model.labels", found.version, before=before.labels.to_list(), after=revision.labels.to_list())
            return revision

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
        before = self._revisions.threshold_revisions(found)[-1]
        revision = self._revisions.move(
            found,
            decision,
            sensitivity=request.sensitivity,
            limit=request.limit,
            requested_rate=request.rate,
            recalibration=scores,
        )
        if revision.revision != before.revision:
            self._record(
                "model.threshold", found.version, before=asdict(before.decision), after=asdict(revision.decision)
            )
        return revision

    def _record(self, action: str, target: str, *, before: Any = None, after: Any = None) -> None:
        record_change(self.folder.parent, action, target, before=before, after=after)

    def remove(self, version: str, confirm: str, require_unused: Callable[[], None] = lambda: None) -> None:
        """Remove a version with all its revisions; it disappears in one step.

        Args:
            version: name of the version; no alias, and with its hash.
            confirm: the same name again.
            require_unused: called under the lock right before the removal; if it raises, nothing is removed.

        Raises:
            ModelNotFound: there is no version of exactly this name.
            InvalidParameter: ``confirm`` is another name.
            ModelInUse: an alias points to the version.
        """
        self.require_removable(version)
        if confirm != version:
            raise InvalidParameter(f"confirm is {confirm[:MAX_CONFIRM]!r}; {version} was expected, to remove it.")
        with self._write_lock():
            self.require_removable(version)
            require_unused()
            hidden = self.folder / f"{REMOVED}{uuid.uuid4().hex}"
            (self.folder / version).rename(hidden)
            for file in (*self._revisions.files(version), self._seals.file(version)):
                file.unlink(missing_ok=True)
            sync_folder(self.folder)
            self._record("model.remove", version)
        self._delete_leftovers()

    def require_removable(self, version: str) -> None:
        """Check that there is a version of exactly this name, and that no alias points to it.

        Raises:
            ModelNotFound, ModelInUse
        """
        if not VERSION_PATTERN.fullmatch(version) or not (self.folder / version).is_dir():
            resolved = self.resolve(version)
            raise ModelNotFound(f"{version!r} is not the full name of a version: {resolved} was expected.")
        if using := [alias for alias, pointed in self.aliases().items() if pointed == version]:
            raise ModelInUse(
                f"{version} is {' and '.join(using)}, and cannot be removed: promote another version first."
            )

    # Files

    def _is_known(self, version: str) -> bool:
        """Return whether this home has a version, an alias to it, or revisions of it."""
        with suppress(BundleUnrecognised):  # damaged aliases, which may point to it
            if version not in self.aliases().values():
                return (self.folder / version).exists() or self._revisions.exist(version)
        return True

    def _place(self, folder: Path, version: str) -> None:
        """Make a verified folder the folder of a version; an intact one stays, a damaged one is replaced."""
        target = child(self.folder, version)
        if _is_intact(target):
            return
        replaced = self.folder / f"{INCOMING}{uuid.uuid4().hex}"
        if target.exists():
            target.rename(replaced)
        try:
            folder.rename(target)
        except BaseException:  # also Ctrl-C: the folder that was here stays
            if replaced.exists():
                replaced.rename(target)
            raise
        sync_folder(self.folder)
        shutil.rmtree(replaced, ignore_errors=True)
        self._record("model.add", version)

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
        """Delete old folders that no process holds. Age alone is no reason: the clock can be set forward."""
        for left in self.folder.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self.folder.glob(f"{INCOMING}*"):
            # Another process may delete it at the same time, or still write into it.
            with suppress(FileNotFoundError, BlockingIOError):
                if time.time() - left.stat().st_mtime > INCOMING_KEPT_S:
                    with lock_folder(left):
                        shutil.rmtree(left, ignore_errors=True)

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns)


def _served(
    found: Bundle, labels: Sequence[ClassLabelsRevision], thresholds: Sequence[ThresholdRevision]
) -> ServedModel:
    """Return a bundle with the last revisions of its labels and its threshold."""
    return ServedModel(
        bundle=_with_calibration_in_force(found, thresholds),
        labels=labels[-1].labels,
        labels_revision=labels[-1].revision,
        decision=thresholds[-1].decision,
        threshold_revision=thresholds[-1].revision,
    )


def _with_calibration_in_force(found: Bundle, revisions: Sequence[ThresholdRevision]) -> Bundle:
    return replace(found, content=recalibrated(found.content, recalibration_in_force(revisions)))


def _is_intact(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except ModelError:
        return False
    return True
