"""The notebook does all steps, from simulated recordings to an answer of the service, and saves its results."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from testing.servers import PATIENCE_S, ROOT, environment
from tests.commands import worked_s

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
# CPU time of all cells, of which 60 s were measured: under three minutes on one core that has nothing else to do.
WITHIN_S = 170.0
SAVED = {
    "classifier-report.html",
    "detector-report.html",
    "detector-distances.png",
    "model.zip",
    "spectrograms.png",
    "split.csv",
}


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    """The notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def left() -> Iterator[Path]:
    """A folder for whatever is temporary; its path is short, since a socket's has 108 bytes at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_the_notebook_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    """It is of format 4.5, each cell has an id of its own, and none holds what some run of it printed."""
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def test_the_notebook_runs_to_its_end_and_saves_its_results(
    notebook: nbformat.NotebookNode, left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell, its asserts included; it shows its figures, saves the promised files and leaves nothing temporary."""
    # No kernel, setting or history of whoever runs the tests: then "python3" is this interpreter.
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    folder = tmp_path / "notebook"
    folder.mkdir()
    before = worked_s()
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=int(PATIENCE_S),
        resources={"metadata": {"path": str(folder)}},
    ).execute(env=environment() | {"TMPDIR": str(left)})
    assert worked_s() - before < WITHIN_S
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert "Fan 3: send somebody" in "".join(output.get("text", "") for output in shown)
    assert {path.name for path in (folder / "tutorial-results").iterdir()} == SAVED
    assert [path.name for path in left.glob("signalml-*")] == []
