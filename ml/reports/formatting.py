"""Figures and facts as the text of table cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ml.evaluation.results import Estimate, Evaluation

ABSENT = "\N{EN DASH}"
MAX_LISTED, MAX_RECORDS = 12, 24
LONG = 1e5  # from here on a number is shown with commas and without decimals
FEW = 6
UNITS = {"s": "s", "hz": "Hz", "db": "dB", "dbfs": "dBFS"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A count of the confusion matrix, and its share of the row, 0 to 1."""

    count: int
    share: float


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A list of mappings as a small table of its own: names of the columns, cells, and how many more rows there are."""

    columns: list[str]
    rows: list[list[str]]
    more: int

    @classmethod
    def of(cls, values: Any) -> Self | None:
        """None for what is no list of mappings."""
        mappings = isinstance(values, list | tuple) and values and all(isinstance(v, Mapping) for v in values)
        if not mappings:
            return None
        keys = list(dict.fromkeys(key for value in values for key in value))
        rows = [[format_fact(value.get(key)) for key in keys] for value in values[:MAX_RECORDS]]
        return cls([_readable(key) for key in keys], rows, max(0, len(values) - MAX_RECORDS))


def format_value(estimate: "Estimate") -> str:
    """``0.930``, or a dash where it is undefined."""
    return ABSENT if estimate.value is None else f"{estimate.value:.3f}"


def interval(estimate: "Estimate") -> str:
    """``0.88 to 0.97``, or nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.2f} to {estimate.high:.2f}"


def format_estimate(estimate: "Estimate") -> str:
    """``0.930 (0.88 to 0.97)``: both."""
    between = interval(estimate)
    return f"{format_value(estimate)} ({between})" if between else format_value(estimate)


def two(value: float) -> str:
    """With two decimals; what rounds to zero has no sign."""
    return f"{round(value, 2) + 0.0:.2f}"


def confusion(evaluation: "Evaluation") -> list[tuple[str, int, list[Cell]]]:
    """Rows of true classes: name, how many, and the cells."""
    rows = []
    for name, counts in zip(evaluation.classes, evaluation.confusion, strict=True):
        total = sum(counts)
        rows.append((name, total, [Cell(count, count / total if total else 0.0) for count in counts]))
    return rows


def flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str | RecordTable]]:
    """Nested facts as rows of a name and a value; what is in a mapping has its name before its own.

    A mapping of a few plain values is one row.
    """
    for key, value in facts.items():
        name = f"{above}{_readable(key)}"
        if isinstance(value, Mapping) and value and not _short(value):
            yield from flat(value, f"{name} \N{MIDDLE DOT} ")
        else:
            yield name, RecordTable.of(value) or format_fact(value)


def _short(facts: Mapping[str, Any]) -> bool:
    return len(facts) <= FEW and all(value is None or isinstance(value, float | int) for value in facts.values())


def _readable(key: object) -> str:
    """``duration_s`` as ``duration (s)``."""
    name, _, last = str(key).rpartition("_")
    return f"{name.replace('_', ' ')} ({UNITS[last]})" if name and last in UNITS else str(key).replace("_", " ")


def format_fact(value: Any) -> str:
    """One fact as text."""
    if value is None or value == {} or value == [] or value == ():
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= LONG else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= LONG else f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _cut(", ".join(format_fact(item) for item in value[:MAX_LISTED]), len(value) - MAX_LISTED)
    if isinstance(value, Mapping):
        return ", ".join(f"{_readable(key)} {format_fact(item)}" for key, item in value.items())
    return str(value)


def _cut(text: str, more: int) -> str:
    return f"{text} and {more} more" if more > 0 else text
