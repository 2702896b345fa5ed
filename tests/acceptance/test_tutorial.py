"""The notebook goes the whole way, from simulated recordings to an answer of the service."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.integration.servers import ROOT, environment

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
PROMISED_S = 170.0


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


def test_the_notebook_runs_to_its_end_in_under_three_minutes(
    notebook: nbformat.NotebookNode, left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell of it, its asserts included, in this interpreter; it shows its figure and leaves nothing behind."""
    # No kernel, setting or history of whoever runs the tests: then "python3" is this interpreter.
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    started = time.monotonic()
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=int(PROMISED_S),
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute(env=environment() | {"TMPDIR": str(left)})
    assert time.monotonic() - started < PROMISED_S
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert "Fan 3: send somebody" in "".join(output.get("text", "") for output in shown)
    assert [path.name for path in left.glob("signalml-*")] == []
