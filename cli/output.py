"""How results are shown: tables and sentences that a terminal can read, and that a pipe gets uncut."""

import textwrap
from collections.abc import Iterator, Sequence

from pydantic_core import ErrorDetails
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

PIPE_WIDTH = 200
PADDING = 2  # of every column
SHORTEST = 8  # what is left of a column that is shortened


def print_table(table: Table, otherwise: str, *, keys: int = 1) -> None:
    """Print a table, or what to do where it has no rows. What people named is text, never markup.

    A table that is wider than the terminal is printed in parts, one below the other.

    Args:
        table: what to print.
        otherwise: what to say where it has no rows.
        keys: how many of its first columns say what a row is of, and stand in every part.
    """
    out = Console(markup=False, highlight=False)
    parts = split_columns(table, out.width, keys) if out.is_terminal else iter([table])
    _print(out, parts if table.row_count else iter([otherwise]))


def print_lines(table: Table, otherwise: str, *, dispensable: Sequence[str], shortened: str) -> None:
    """Print a table with one line for each row, whatever the terminal's width.

    Args:
        table: what to print.
        otherwise: what to say where it has no rows.
        dispensable: headers of columns, in the order in which they are left out until the table fits.
        shortened: the header of the column that ends in an ellipsis if it still does not fit.
    """
    out = Console(markup=False, highlight=False)
    lines = _in_lines(table, out.width, dispensable, shortened) if out.is_terminal else table
    _print(out, iter([lines if table.row_count else otherwise]))


def split_columns(table: Table, width: int, keys: int = 1) -> Iterator[Table]:
    """A table as several that are no wider than so many columns; what is wider by itself is broken at words."""
    named, others = table.columns[:keys], table.columns[keys:]
    for column in named:
        column.no_wrap = True
    part: list[Column] = []
    for column in others:
        if part and _width([*named, *part, column]) > width:
            yield _of([*named, *part], table)
            part = []
        part.append(column)
    yield _of([*named, *part], table)


def _in_lines(table: Table, width: int, dispensable: Sequence[str], shortened: str) -> Table:
    columns = list(table.columns)
    for header in dispensable:
        if _width(columns) > width:
            columns = [column for column in columns if column.header != header]
    for column in columns:
        column.no_wrap = True
        if column.header == shortened:
            column.max_width = max(SHORTEST, width - PADDING - _width([each for each in columns if each is not column]))
    return _of(columns, table)


def _width(columns: Sequence[Column]) -> int:
    return sum(PADDING + max(cell_len(str(cell)) for cell in (each.header, *each.cells)) for each in columns)


def _of(columns: Sequence[Column], table: Table) -> Table:
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
    """What a validation found wrong, with the value that it is about."""
    given, wrong = repr(entry["input"]), entry["msg"].removeprefix("Value error, ")
    return wrong if given in wrong else f"{given}: {wrong}"


def print_text(sentences: str, *, hanging: str = "") -> None:
    """Print sentences, on a terminal broken at words; the lines after the first begin with ``hanging``."""
    out = Console(markup=False, highlight=False, soft_wrap=True)
    out.print(_wrapped(sentences, out.width, hanging) if out.is_terminal else sentences)


def printable(text: str) -> str:
    """A text on one line, whatever is in it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def print_note(note: str) -> None:
    """Print one of several notes."""
    print_text(f"- {note}", hanging="  ")


def _wrapped(text: str, width: int, hanging: str) -> str:
    return textwrap.fill(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
