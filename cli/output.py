"""How results are shown: tables that a terminal can read, and that a pipe gets uncut."""

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200


def print_table(table: Table, otherwise: str) -> None:
    """Print a table, or what to do where it has no rows. What people named is text, never markup."""
    out = Console(markup=False, highlight=False)
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    out.print(table if table.row_count else otherwise)
