"""Registry: the versions of a home's models, and the aliases that point to them.

::

    <home>/models/<version>/                 bundle, never changed after it was added
    <home>/models/labels/<version>.json      later revisions of its labels
    <home>/models/thresholds/<version>.json  later revisions of its threshold
    <home>/models/signatures/<version>.json  its signature, if it was imported with one or signed here
    <home>/models/aliases.json               champion, challenger, previous, and the history of their changes

For the folders see :mod:`ml.models.version_folders`, for the aliases :mod:`ml.models.aliases`.

Writers hold a lock between processes. Readers need none, because every file is replaced in one step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from ml.errors import (
    AliasNotSet,
    AliasReserved,
    BundleDamaged,
    BundleUnrecognised,
    ChampionChanged,
    InvalidParameter,
    ModelInUse,
    ModelNotFound,
)
from ml.models import archives
from ml.models.aliases import ALIASES, HINTS, Alias, AliasChange, AliasStore
from ml.models.bundle import Bundle
from ml.models.golden import load_verified
from ml.models.predictor import Predictor
from ml.models.recalibration import Recalibration, recalibrated
from ml.models.revision_store import RevisionStore
from ml.models.revisions import (
    ClassLabelsRevision,
    ThresholdRevision,
    recalibration_in_force,
    unpack,
)
from ml.models.seals import SealStore
from ml.models.served import ServedModel, with_calibration_in_force
from ml.models.signing import SigningKey
from ml.models.thresholds import ThresholdRequest, request_in_force, resolve_threshold
from ml.models.version_folders import VersionFolders
from ml.system.atomic import file_lock, make_folder, sync_folder
from ml.system.audit import record_change
from ml.system.names import child
from ml.system.validation import MAX_SHOWN_LENGTH, shorten

# Value of expected_version: the alias may point to any version. No version has this name.
ANY_VERSION = "*"


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
        self._folders = VersionFolders(self.folder)
        self._aliases = AliasStore(self.folder)
        self._revisions = RevisionStore(self.folder)
        self._seals = SealStore(home, self.folder)

    # Reading

    def versions(self) -> list[str]:
        """Return all versions, the newest first."""
        return self._folders.versions()

    def aliases(self) -> dict[Alias, str]:
        """Return the aliases that are set, and their versions."""
        return self._aliases.pointed()

    def history(self) -> list[AliasChange]:
        """Return the changes of aliases, the oldest first; damaged entries are logged and left out."""
        return self._aliases.history()

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
        if self._folders.has(reference):
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
        return with_calibration_in_force(found, self._revisions.threshold_revisions(found))

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
        return ServedModel.of(found, self._revisions.label_revisions(found), self._revisions.threshold_revisions(found))

    def label_revisions(self, reference: str, found: Bundle | None = None) -> list[ClassLabelsRevision]:
        """Return all revisions of a version's labels, the current one last."""
        return self._revisions.label_revisions(found or self.read(reference))

    def threshold_revisions(self, reference: str, found: Bundle | None = None) -> list[ThresholdRevision]:
        """Return all revisions of a version's threshold, the current one last."""
        return self._revisions.threshold_revisions(found or self.read(reference))

    def reference_stamp(self, reference: str) -> tuple[object, ...]:
        """Return a value that changes with the version of a reference, its labels or its threshold.

        It is cheap enough to poll.

        Raises:
            ModelNotFound, BundleUnrecognised
        """
        if reference in ALIASES:
            version = self.aliases().get(reference)
            return (version, self._stamp(self._aliases.file), version and self.stamp(version))
        version = self.resolve(reference)
        return (version, None, self.stamp(version))

    def stamp(self, version: str) -> tuple[object, ...]:
        """Return a value that changes with the labels or the threshold of a version."""
        return tuple(map(self._stamp, self._revisions.files(version)))

    # Writing

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Provide an empty folder for a bundle; it is deleted afterwards unless :meth:`add` has moved it."""
        with self._folders.incoming() as folder:
            yield folder

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
            with archives.name_in_errors(archive, folder):
                unpacked = archives.unpack(archive, folder)
                found = Bundle.read(folder)
            signer = self._seals.check(unpacked.seal, archive.name)
            revisions = unpack(unpacked.revisions, found, archive.name)
            load_verified(ServedModel.of(found, revisions.labels, revisions.thresholds))
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
            self._record("model.sign", version, after=key.name)
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
            before = self.aliases().get(alias)
            if before == version:
                return version
            if expected_version not in (ANY_VERSION, before):
                raise ChampionChanged(
                    f"{before or 'No model'} is {alias} now; {expected_version or 'no model'} was expected: "
                    f"{version} was not promoted."
                )
            before_write()
            self._aliases.point(alias, version)
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
            raise InvalidParameter(f"confirm is {confirm[:MAX_SHOWN_LENGTH]!r}; {version} was expected, to remove it.")
        with self._write_lock():
            self.require_removable(version)
            require_unused()
            self._folders.hide(version)
            for file in (*self._revisions.files(version), self._seals.file(version)):
                file.unlink(missing_ok=True)
            sync_folder(self.folder)
            self._record("model.remove", version)
        self._folders.delete_leftovers()

    def require_removable(self, version: str) -> None:
        """Check that there is a version of exactly this name, and that no alias points to it.

        Raises:
            ModelNotFound, ModelInUse
        """
        if not self._folders.has(version):
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
        if self._folders.place(folder, version):
            self._record("model.add", version)

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        make_folder(self.folder)
        with file_lock(self.folder / ".lock"):
            yield

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns)
