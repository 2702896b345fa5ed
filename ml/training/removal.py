"""Removal of a model version, together with the records of its training."""

import shutil
from collections.abc import Callable
from pathlib import Path

from ml.models.registry import Registry
from ml.training.paths import records_folder


def remove_model(home: Path, version: str, confirm: str, require_unused: Callable[[], None] = lambda: None) -> None:
    """Remove a version, its revisions, and the records of its training: report, split and figures.

    Records in the machines' history keep the name of the version.

    Args:
        home: folder of the models.
        version: full name of the version.
        confirm: the same name again.
        require_unused: called right before the removal; if it raises, nothing is removed.

    Raises:
        ModelNotFound: there is no version of exactly this name.
        InvalidParameter: ``confirm`` is another name.
        ModelInUse: an alias points to the version.
    """
    Registry(home).remove(version, confirm, require_unused)
    # Nothing finds them without the model: a training that is killed here leaves no wrong state.
    shutil.rmtree(records_folder(home, version), ignore_errors=True)
