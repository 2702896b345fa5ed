"""Output of tables and sentences: fitted to the width of a terminal, uncut in a pipe."""

import textwrap
from collections.abc import Iterator, Sequence

from pydantic_core import ErrorDetails
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

from ml.system.text import printable_lines

PIPE_WIDTH = 200
PADDING = 2  # characters around every column
SHORTEST = 8  # smallest width of a shortened column


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


def print_lines(table: Table, otherwise: str, *, dispensable: Sequence[str], shortened: str) -> None:
    """Print a table with one line for each row, whatever the terminal's width.

    Args:
        table: table to print.
        otherwise: sentence to print if the table has no rows.
        dispensable: headers of columns that are removed, in this order, until the table fits.
        shortened: header of the column that is shortened, with an ellipsis, if the table still does not fit.
    """
    out = Console(markup=False, highlight=False)
    table = _printable_table(table)
    lines = _in_lines(table, out.width, dispensable, shortened) if out.is_terminal else table
    _print(out, iter([lines if table.row_count else otherwise]))


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


def _in_lines(table: Table, width: int, dispensable: Sequence[str], shortened: str) -> Table:
    columns = list(table.columns)
    for header in dispensable:
        if _width(columns) > width:
            columns = [column for column in columns if column.header != header]
    for column in columns:
        column.no_wrap = True
        if column.header == shortened:
            column.max_width = max(SHORTEST, width - PADDING - _width([each for each in columns if each is not column]))
    return _select(table, columns)


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
