"""Who may import whom, and what a serving process never loads."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("ml", "worker", "api", "cli")
# What each room may import of its siblings: whole rooms, or the modules named.
ALLOWED = {
    "ml": set(),
    "worker": {"ml"},
    "api": {"ml", "worker.jobs", "worker.store", "worker.queue", "worker.records", "worker.results"},
    "cli": {"ml", "worker", "api"},
}
TRAINING_LIBRARIES = {"keras", "tensorflow", "h5py"}
# The rooms that may name those at all.
TRAINING_ROOMS = {
    "ml/classifier/network.py",
    "ml/classifier/stream.py",
    "ml/classifier/fitting.py",
    "ml/importing.py",
    "ml/novelty/dense_fitting.py",
    "ml/publishing.py",
}
# Those that load them when they are imported: nothing outside the classifier does the like.
KERAS_ROOMS = {"ml.classifier.network", "ml.classifier.stream", "ml.classifier.fitting"}

MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere below, ``from a import b`` as ``a.b``; those for types alone left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node)


def at_import(tree: ast.AST) -> Iterator[str]:
    """Those that are imported when the module itself is, and not only when a function is called."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield from imports(ast.Module([node], []))
            elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                yield from at_import(node)


def parsed(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """The path within the repository, with slashes."""
    return path.relative_to(ROOT).as_posix()


def test_every_room_is_looked_at() -> None:
    """The rules below are held over modules that exist."""
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(ROOMS)


def test_every_module_is_on_the_map() -> None:
    """Each module of the service, the worker and the command line, and each room or module of ml, by its room."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    map_of = dict(re.findall(r"^(\w+)/(.*?)(?=^\S)", page, re.S | re.M))
    places = {_place(path.relative_to(ROOT)) for path in MODULES if path.name != "__init__.py"}
    unnamed = [
        f"{room}: {place}"
        for room, place in sorted(places)
        if re.search(rf"(?<![\w.]){re.escape(place)}", map_of[room]) is None
    ]
    assert not unnamed


def _place(path: Path) -> tuple[str, str]:
    """The room of a module, and its name there; of the rooms within ml, theirs."""
    room, *within = path.parts
    return room, f"{within[0]}/" if room == "ml" and len(within) > 1 else within[-1]


@each_module
def test_imports_go_one_way(path: Path) -> None:
    """ml imports no sibling, worker only ml, api only ml and the worker's contract: never its tasks."""
    room = path.relative_to(ROOT).parts[0]
    siblings = [name for name in imports(parsed(path)) if name.split(".")[0] in set(ROOMS) - {room}]
    forbidden = [
        name
        for name in siblings
        if not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[room])
    ]
    assert not forbidden


@each_module
def test_imports_are_absolute(path: Path) -> None:
    """No import is relative, so that the rule above sees them all."""
    relative = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative


@each_module
def test_only_training_rooms_name_keras(path: Path) -> None:
    """Keras, TensorFlow and h5py are imported where models are made, and nowhere else."""
    named = {name.split(".")[0] for name in imports(parsed(path))} & TRAINING_LIBRARIES
    assert not named or name_of(path) in TRAINING_ROOMS


@each_module
def test_training_is_imported_late(path: Path) -> None:
    """No module but the classifier itself loads Keras, or the classifier, when it is imported."""
    late = TRAINING_LIBRARIES | KERAS_ROOMS
    early = [
        name
        for name in at_import(parsed(path))
        if name.split(".")[0] in late or any(name == each or name.startswith(f"{each}.") for each in late)
    ]
    assert not early or name_of(path).startswith("ml/classifier/")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh process holds after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["api.main", "cli.main", "ml.predictor", "ml.registry", "ml.importing"])
def test_serving_loads_no_tensorflow(module: str) -> None:
    """The API process, and the command line before it is asked to import a model, hold neither Keras nor TensorFlow."""
    loaded = loaded_by(f"import importlib; importlib.import_module({module!r})")
    assert module.split(".")[0] in loaded
    assert not loaded & TRAINING_LIBRARIES


def test_listening_loads_no_web_and_no_queue() -> None:
    """ml is plain Python and numpy: it knows no HTTP and no broker, transitively."""
    assert not loaded_by("import ml.registry, ml.importing") & {"fastapi", "starlette", "celery", "redis", "httpx"}


def test_answering_a_recording_loads_no_tensorflow(original_home: Path) -> None:
    """Nor does a champion that is loaded and used."""
    statement = (
        "from pathlib import Path\n"
        "from ml.golden import golden_clip\n"
        "from ml.registry import Registry\n"
        f"predictor = Registry(Path({str(original_home)!r})).predictor('champion')\n"
        "predictor.predict(predictor.decode(golden_clip()))"
    )
    assert not loaded_by(statement) & TRAINING_LIBRARIES
