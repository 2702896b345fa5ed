"""Output for a terminal of 80 columns is complete."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from cli import output
from cli.progress import show_progress
from ml.system.progress import Progress


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        """True, as for a terminal."""
        return True


def capture_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Send the output of a command to a terminal of 80 columns."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    return terminal


def lines(terminal: Terminal) -> list[str]:
    """The lines that it shows, without control sequences."""
    return [line.rstrip() for line in terminal.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()]


def test_a_wide_table_is_printed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure is complete in a row with its name, and no line is longer than the terminal is wide."""
    terminal = capture_terminal(monkeypatch)
    table = Table("recordings", *(f"figure {number}" for number in range(6)), box=None)
    for name in ("pooled", "fan id_00 at -6 dB"):
        table.add_row(name, *(f"0.86{number} [0.604, 1.000]" for number in range(6)))
    output.print_table(table, "")
    shown = lines(terminal)
    assert max(map(len, shown)) <= 80
    assert sum(line.startswith(" fan id_00 at -6 dB  0.86") for line in shown) == 3
    for number in range(6):
        assert sum(f"0.86{number} [0.604, 1.000]" in line for line in shown) == 2


def test_the_list_of_jobs_is_complete_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column is there, the error of a failed job to its last word, and no line is longer than 80 characters."""
    terminal, why = capture_terminal(monkeypatch), "too few: " + "recordings " * 12
    table = Table("job", "kind", "state", "dataset", "created", "attempt", "progress", box=None)
    row = ("019ac7d2f1e84c7b9a3e51d0", "feature-extraction", "failed", "hall-3", "2026-11-24T09:12:00", "1", why)
    table.add_row(*row)
    output.print_table(table, "")
    shown = lines(terminal)
    assert max(map(len, shown)) <= 80
    assert set(" ".join(row).split()) <= set(" ".join(shown).split())
    assert " ".join(shown).count("recordings") == 12


def test_notes_are_wrapped_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further lines of a note are indented."""
    terminal = capture_terminal(monkeypatch)
    output.print_note(" ".join(["interval"] * 20))
    shown = lines(terminal)
    assert [line[:10] for line in shown] == ["- interval", "  interval", "  interval"]
    assert " ".join(shown).split()[1:] == ["interval"] * 20


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_long_note_does_not_hide_step_and_count(width: int) -> None:
    """Step and count are shown at every width."""
    terminal = Terminal()
    with show_progress(Console(file=terminal, force_terminal=True, width=width, no_color=True)) as report:
        report(Progress("epochs of the final fit", 37, 150, "loss 0.882, accuracy 67%; " * 4))
    assert "epochs of the final fit" in terminal.getvalue()
    assert "37/150" in terminal.getvalue()
    assert "-:--:--" in terminal.getvalue()
