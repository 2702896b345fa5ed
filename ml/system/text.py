"""Text that leaves the service: into CSV cells, terminals, log lines and labels of metrics.

Names and labels come from people and files. A spreadsheet runs a cell that begins with ``=``, a terminal obeys escape
codes, and a line break begins a new line of a log. Text is changed only where it leaves; stored text stays as it was.

**Rule of CSV cells.** Control characters are written as escapes. If the first character of a text, after spaces and
apostrophes, is ``=``, ``+``, ``-``, ``@`` or a wide form of one of them, the text gets an apostrophe in front. A reader
takes one apostrophe away from such a text (:func:`from_csv_cell`), so that it is the same again. Numbers stay as they
are.
"""

import re
import unicodedata
from collections.abc import Iterable

FORMULA_STARTS = frozenset("=+-@\N{MINUS SIGN}")
QUOTE = "'"
# A number, or numbers that are joined by ";": spreadsheets do not run them.
NUMBERS = re.compile(r"[-+]?(\d+\.?\d*|\.\d+|inf|nan)([eE][-+]?\d+)?(;[-+]?(\d+\.?\d*|\.\d+|inf|nan)([eE][-+]?\d+)?)*")


def printable(text: str) -> str:
    """Return a text on one line, with escapes for characters that cannot be printed.

    Example:
        >>> printable("fan" + chr(27) + "[31m") == "fan" + chr(92) + "x1b[31m"
        True
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def csv_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula; see the rule above.

    Example:
        >>> [csv_cell(text) for text in ("fan 3", "=HYPERLINK(1)", "-1.5", "- loose")]
        ['fan 3', "'=HYPERLINK(1)", '-1.5', "'- loose"]
    """
    # A tab or a line break at the beginning is looked at before it becomes an escape.
    return printable(without_formula(text))


def csv_row(values: Iterable[object]) -> list[object]:
    """Return the values of a CSV line: texts by :func:`csv_cell`, numbers and other values unchanged."""
    return [csv_cell(value) if isinstance(value, str) else value for value in values]


def without_formula(text: str) -> str:
    """Return a text for a CSV file of this project: no formula, and every other character unchanged."""
    return f"{QUOTE}{text}" if _begins_formula(text) and not NUMBERS.fullmatch(text) else text


def printable_lines(text: str) -> str:
    """Return a text of several lines, with escapes for all other characters that cannot be printed."""
    return "\n".join(map(printable, text.split("\n")))


def from_csv_cell(cell: str) -> str:
    """Return the text of a cell of :func:`csv_cell`, except for escaped control characters.

    Example:
        >>> from_csv_cell("'=1+1"), from_csv_cell("'quoted'")
        ('=1+1', "'quoted'")
    """
    text = cell[1:]
    return text if cell.startswith(QUOTE) and _begins_formula(text) and not NUMBERS.fullmatch(text) else cell


def _begins_formula(text: str) -> bool:
    first = next((c for c in text if not c.isspace() and c != QUOTE and unicodedata.category(c) != "Cf"), "")
    return bool(FORMULA_STARTS & set(unicodedata.normalize("NFKC", first)[:1]))
