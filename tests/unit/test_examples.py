"""Docstring examples of the numeric packages: each public function has one, and each is right."""

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

AREAS = ("ml.audio", "ml.features", "ml.detectors", "ml.evaluation")
SINGLE_MODULES = ("ml.machines.drift",)
MODULES = [
    importlib.import_module(name)
    for name in [
        *(
            found.name
            for area in AREAS
            for found in pkgutil.walk_packages(importlib.import_module(area).__path__, f"{area}.")
            # Its examples need Keras and are marked +SKIP.
            if found.name != "ml.detectors.engines.dense_fitting"
        ),
        *SINGLE_MODULES,
    ]
]


def test_every_public_function_has_an_example() -> None:
    """The example shows shapes and units."""
    assert not [
        f"{module.__name__}.{name}"
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isroutine)
        if not name.startswith("_")
        and getattr(function, "__module__", None) == module.__name__
        and ">>>" not in (inspect.getdoc(function) or "")
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_are_right(module: ModuleType) -> None:
    """Each example prints the output below it."""
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not failed
