"""How results are shown: tables and sentences that a terminal can read, and that a pipe gets uncut."""

import textwrap
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

PIPE_WIDTH = 200
PADDING = 2  # of every column


def print_table(table: Table, otherwise: str) -> None:
    """Print a table, or what to do where it has no rows. What people named is text, never markup.

    A table that is wider than the terminal is printed in parts, one below the other, each with the first column.
    """
    out = Console(markup=False, highlight=False)
    if not table.row_count:
        out.print(otherwise)
    elif out.is_terminal:
        for number, part in enumerate(in_parts(table, out.width)):
            out.print(*[""] * (number > 0), part, sep="\n")
    else:
        out.width = PIPE_WIDTH
        out.print(table)


def in_parts(table: Table, width: int) -> Iterator[Table]:
    """A table as several that are no wider than so many columns; a cell of words alone may be broken into lines."""
    first, *others = table.columns
    first.no_wrap = True
    part, room = [first], width - _width(first)
    for column in others:
        if _width(column) > room and len(part) > 1:
            yield _of(part, table)
            part, room = [first], width - _width(first)
        part.append(column)
        room -= _width(column)
    yield _of(part, table)


def _width(column: Column) -> int:
    widest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
    return min(widest, column.max_width or widest) + PADDING


def _of(columns: list[Column], table: Table) -> Table:
    part = Table(*(column.copy() for column in columns), box=None, show_header=table.show_header)
    for cells in zip(*(column.cells for column in columns), strict=True):
        part.add_row(*cells)
    return part


def say(sentences: str, *, hanging: str = "") -> None:
    """Print sentences, on a terminal broken at words; the lines after the first begin with ``hanging``."""
    out = Console(markup=False, highlight=False, soft_wrap=True)
    out.print(_wrapped(sentences, out.width, hanging) if out.is_terminal else sentences)


def say_note(note: str) -> None:
    """Print one of several notes."""
    say(f"- {note}", hanging="  ")


def _wrapped(text: str, width: int, hanging: str) -> str:
    return textwrap.fill(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
