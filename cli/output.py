"""Output of tables and sentences: fitted to the width of a terminal, uncut in a pipe."""

import sys
import textwrap
from collections.abc import Iterator, Sequence

import typer
from pydantic_core import ErrorDetails
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

from api.settings import unknown_variables
from ml.errors import InvalidParameter
from ml.system.text import printable_lines

PIPE_WIDTH = 200
PADDING = 2  # characters around every column
CONFIRM_HELP = "The same name again; without it, a person is asked on the terminal."


def print_table(table: Table, otherwise: str, *, keys: int = 1) -> None:
    """Print a table, or a sentence if it has no rows. Cells are plain text, not markup.

    A table that is wider than the terminal is printed in parts, one below the other.

    Args:
        table: table to print.
        otherwise: sentence to print if the table has no rows.
        keys: number of first columns that name a row; every part has them.
    """
    out = Console(markup=False, highlight=False)
    table = _printable_table(table)
    parts = split_columns(table, out.width, keys) if out.is_terminal else iter([table])
    _print(out, parts if table.row_count else iter([otherwise]))


def split_columns(table: Table, width: int, keys: int = 1) -> Iterator[Table]:
    """Yield a table in parts of at most ``width`` characters. A single wider column is broken at words."""
    key_columns, others = table.columns[:keys], table.columns[keys:]
    for column in key_columns:
        column.no_wrap = True
    part: list[Column] = []
    for column in others:
        if part and _width([*key_columns, *part, column]) > width:
            yield _select(table, [*key_columns, *part])
            part = []
        part.append(column)
    yield _select(table, [*key_columns, *part])


def _width(columns: Sequence[Column]) -> int:
    return sum(PADDING + max(cell_len(str(cell)) for cell in (each.header, *each.cells)) for each in columns)


def _printable_table(table: Table) -> Table:
    """Return a table without control characters, which a terminal would obey."""
    shown = Table(*(column.copy() for column in table.columns), box=None, show_header=table.show_header)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        shown.add_row(*(printable_lines(cell) if isinstance(cell, str) else cell for cell in cells))
    return shown


def _select(table: Table, columns: Sequence[Column]) -> Table:
    part = Table(*(column.copy() for column in columns), box=None, show_header=table.show_header)
    for cells in zip(*(column.cells for column in columns), strict=True):
        part.add_row(*cells)
    return part


def _print(out: Console, parts: Iterator[Table | str]) -> None:
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    for number, part in enumerate(parts):
        out.print(*[""] * (number > 0), part, sep="\n")


def describe_validation_error(entry: ErrorDetails) -> str:
    """Return the message of a validation error, with the invalid value."""
    value, message = repr(entry["input"]), entry["msg"].removeprefix("Value error, ")
    return message if value in message else f"{value}: {message}"


def require_confirmation(name: str, confirm: str | None) -> None:
    """Check that a person means what is to be removed: by the same name in ``--confirm``, or typed at a prompt.

    Raises:
        InvalidParameter: another name was given, or none and nobody can be asked.
    """
    if confirm is None and sys.stdin.isatty():
        confirm = typer.prompt(f"Type {name} to remove it", err=True)
    if confirm != name:
        found = "was not given" if confirm is None else f"is {confirm}"
        raise InvalidParameter(f"--confirm {found}; --confirm {name} was expected: nothing is removed.")


def warn_of_unknown_variables() -> None:
    """Print a warning for each variable ``SIGNALML_...`` that is no setting: it is probably mistyped."""
    for sentence in unknown_variables().values():
        typer.echo(f"{typer.style('warning:', fg='yellow')} {sentence}", err=True)


def print_text(sentences: str, *, hanging: str = "") -> None:
    """Print sentences, without control characters.

    On a terminal they are broken at words, and further lines begin with ``hanging``.
    """
    out, sentences = Console(markup=False, highlight=False, soft_wrap=True), printable_lines(sentences)
    out.print(_wrapped(sentences, out.width, hanging) if out.is_terminal else sentences)


def print_note(note: str) -> None:
    """Print one of several notes."""
    print_text(f"- {note}", hanging="  ")


def _wrapped(text: str, width: int, hanging: str) -> str:
    return textwrap.fill(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
