"""The examples in the docstrings of the numeric packages: each public function has one, and each example is right."""

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

ROOMS = ("ml.audio", "ml.features", "ml.detectors", "ml.evaluation")
SINGLE_MODULES = ("ml.machines.drift",)
MODULES = [
    importlib.import_module(name)
    for name in [
        *(
            found.name
            for room in ROOMS
            for found in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}.")
            # It loads Keras when it is imported: its examples are run where Keras is loaded anyway.
            if found.name != "ml.detectors.engines.dense_fitting"
        ),
        *SINGLE_MODULES,
    ]
]


def test_every_public_function_has_an_example() -> None:
    """So that its shapes and units can be seen at work."""
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
    """Each example prints what stands below it."""
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not failed
