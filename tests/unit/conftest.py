"""Registries, bundles and datasets for one test to change."""

import shutil
from pathlib import Path

import pytest

from ml.dataset.collection.store import Collection
from ml.models.registry import Registry
from tests.unit import bundles
from tests.unit.recordings import NAME


@pytest.fixture
def registry(home: Path) -> Registry:
    """A registry with one version, the champion."""
    return Registry(home)


@pytest.fixture
def first(registry: Registry) -> str:
    """The champion's version."""
    return registry.aliases()["champion"]


@pytest.fixture
def second(registry: Registry, first: str) -> str:
    """A second version, to which no alias points."""
    return bundles.further(registry)


@pytest.fixture(scope="session")
def champion(original_home: Path) -> Path:
    """The folder of an undamaged bundle. For reading; to change one take ``folder``."""
    return Registry(original_home).path("champion")


@pytest.fixture
def folder(champion: Path, tmp_path: Path) -> Path:
    """A copy of an undamaged bundle for one test to damage."""
    return Path(shutil.copytree(champion, tmp_path / champion.name))


@pytest.fixture
def hall(tmp_path: Path) -> Collection:
    """A collection that does not exist yet."""
    return Collection(tmp_path, NAME)
