"""Names and labels from elsewhere run nothing: in spreadsheets, terminals, logs and metrics."""

import csv
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from api.observability.machines import MachineMetrics
from cli import output
from ml.dataset.indexing.build import index
from ml.models.key_ring import KeyRing
from ml.system.logs import JsonLines
from ml.system.text import csv_cell, csv_row, from_csv_cell, printable, without_formula
from ml.training.records import write_table
from tests.commands import signalml
from tests.unit.datasets import write
from tests.unit.test_terminal import capture_terminal
from worker.results import as_csv

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "'=1+1",
    "\N{FULLWIDTH EQUALS SIGN}1+1",
    "\N{FULLWIDTH PLUS SIGN}1",
    "\N{FULLWIDTH HYPHEN-MINUS}1+1",
    "\N{FULLWIDTH COMMERCIAL AT}SUM",
    "\N{SMALL EQUALS SIGN}1",
    "\N{MINUS SIGN}1+cmd",
    "\N{ZERO WIDTH SPACE}=1+1",
    "\ufeff=1+1",
    "\N{NO-BREAK SPACE}=1+1",
    "-2+3;4",
    "-",
]
PLAIN = ["fan 3", "", "-1.5", "+2", "-1e-05;0.25", "-inf", "a=b", "it's", "'quoted'", "l\u00fcfter", "0.5;0.25"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str) -> None:
    """Its first character is an apostrophe, and without escapes it can be read again."""
    assert csv_cell(text).startswith("'")
    assert from_csv_cell(without_formula(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_cells_stay_as_they_are(text: str) -> None:
    """Numbers and usual texts are not changed, in both directions."""
    assert csv_cell(text) == text
    assert from_csv_cell(text) == text


@given(st.text())
def test_every_text_is_safe_and_is_read_again(text: str) -> None:
    """A cell has no control character and begins no formula; reading gives the text, with its escapes."""
    cell = csv_cell(text)
    assert cell.isprintable()
    assert cell[:1] not in {*"=+@"}
    assert from_csv_cell(without_formula(text)) == text
    assert from_csv_cell(cell) == printable(text) or cell == printable(text)


def test_values_that_are_no_texts_stay() -> None:
    """A negative number is a number."""
    assert csv_row([-1.5, 3, None, True, "=1"]) == [-1.5, 3, None, True, "'=1"]


def test_results_of_jobs_and_of_score_have_no_formulas() -> None:
    """Names, machines and messages; numbers keep all digits."""
    row = {"name": "=1+1.wav", "machine_id": "@fan\x1b[31m", "score": -0.1, "scores": [-0.5, 0.25], "error": "a\nb"}
    _, line = b"".join(as_csv([row])).decode().splitlines()
    assert next(csv.reader([line])) == ["'=1+1.wav", "'@fan\\x1b[31m", "-0.1", "-0.5;0.25", "a\\nb"]


def test_tables_of_a_training_have_no_formulas(tmp_path: Path) -> None:
    """Paths with bytes that are no text stay as they are."""
    write_table(tmp_path / "split.csv", ["path"], [["=1.wav"], ["a\udcff.wav"], [-1.0]])
    assert (tmp_path / "split.csv").read_bytes() == b"path\n'=1.wav\na\xff.wav\n-1.0\n"


def test_a_manifest_of_inspect_names_the_same_files(tmp_path: Path) -> None:
    """Files whose names begin like formulas are found again by the manifest that inspect has written."""
    folder = tmp_path / "hall"
    names = [f"{start}{n}.wav" for n, start in enumerate("=+-@'x")]
    write(folder, *names)
    (folder / "manifest.csv").write_text("path,label\n" + "".join(f"'{name},normal\n" for name in names[:4]))
    written = signalml(tmp_path / "home", "inspect", folder, "--csv").stdout
    assert len(written.splitlines()) == 5
    assert not [line for line in written.splitlines() if line[0] in "=+-@"]
    (folder / "manifest.csv").write_text(written)
    assert {entry.path for entry in index(folder).entries} == set(names[:4])


def test_a_terminal_obeys_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes are shown as text in tables and sentences, and square brackets are no markup."""
    terminal = capture_terminal(monkeypatch)
    name = "fan\x1b]0;title\x07\x9b2J[red]\u202e"
    table = Table("name", "value", box=None)
    table.add_row(name, name)
    output.print_table(table, "")
    output.print_text(f"The machine {name}.")
    shown = terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "[red]" in shown
    assert r"fan\x1b]0;title\x07\x9b2J" in shown.replace("\n", "")


def test_an_error_is_printed_without_escape_codes(tmp_path: Path) -> None:
    """The name in its message is."""
    done = signalml(tmp_path, "models", "show", "\x1b]0;title\x07\nerror: all is lost")
    assert done.returncode == 1
    assert not set(done.stderr) & {"\x1b", "\x07"}
    assert len(done.stderr.splitlines()) == 1


def test_a_log_line_is_one_line() -> None:
    """Line breaks and escape codes of names, paths and errors are escaped by JSON."""
    evil = 'a\nb\r\x1b[31m\u2028\x9b"}'
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (evil,), None)
    record.facts = {"path": evil, "client": evil}
    line = JsonLines().format(record)
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(line)["path"] == json.loads(line)["message"] == evil


def test_labels_of_metrics_are_one_line() -> None:
    """Whatever a machine is called, the page of metrics can be read, and no line is added."""
    evil = 'fan"} 1\nsignalml_fake 1\r\x1b[31m\udcff'
    registry = CollectorRegistry()
    registry.register(MachineMetrics({evil: "alarm"}))
    page = generate_latest(registry).decode()
    assert not [line for line in page.split("\n") if line.startswith("signalml_fake")]
    assert not set(page) & {"\r", "\x1b"}
    names = [
        sample.labels["machine_id"]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "signalml_machine_notable"
    ]
    assert names == [printable(evil)]


def test_names_of_keys_are_shown_without_escape_codes(tmp_path: Path) -> None:
    """A file that somebody has put among the trusted keys is not listed under such a name."""
    (tmp_path / "trusted-keys").mkdir()
    (tmp_path / "trusted-keys" / "\x1b[31m.pub").write_bytes(b"")
    assert KeyRing(tmp_path).trusted() == {}
