"""Numbers and facts as text of table cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ml.evaluation.results import Estimate, Evaluation

ABSENT = "\N{EN DASH}"
MAX_LISTED, MAX_RECORDS = 12, 24
LONG = 1e5  # from this value on, a number has commas and no decimals
FEW = 6
UNITS = {"s": "s", "hz": "Hz", "db": "dB", "dbfs": "dBFS"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Cell of the confusion matrix: count, and share of its row, 0 to 1."""

    count: int
    share: float


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A list of mappings as a table: column names, cells, and number of rows that are not shown."""

    columns: list[str]
    rows: list[list[str]]
    more: int

    @classmethod
    def of(cls, values: Any) -> Self | None:
        """Return the table; None if ``values`` is not a list of mappings."""
        mappings = isinstance(values, list | tuple) and values and all(isinstance(v, Mapping) for v in values)
        if not mappings:
            return None
        keys = list(dict.fromkeys(key for value in values for key in value))
        rows = [[format_fact(value.get(key)) for key in keys] for value in values[:MAX_RECORDS]]
        return cls([_readable(key) for key in keys], rows, max(0, len(values) - MAX_RECORDS))


def format_value(estimate: "Estimate") -> str:
    """Return ``0.930``, or a dash if the value is undefined."""
    return ABSENT if estimate.value is None else f"{estimate.value:.3f}"


def interval(estimate: "Estimate") -> str:
    """Return ``0.88 to 0.97``, or an empty text without an interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.2f} to {estimate.high:.2f}"


def format_estimate(estimate: "Estimate") -> str:
    """Return value and interval: ``0.930 (0.88 to 0.97)``."""
    between = interval(estimate)
    return f"{format_value(estimate)} ({between})" if between else format_value(estimate)


def two(value: float) -> str:
    """Return the value with two decimals; zero has no sign."""
    return f"{round(value, 2) + 0.0:.2f}"


def confusion(evaluation: "Evaluation") -> list[tuple[str, int, list[Cell]]]:
    """Return the rows of the confusion matrix: true class, number of recordings, cells."""
    rows = []
    for name, counts in zip(evaluation.classes, evaluation.confusion, strict=True):
        total = sum(counts)
        rows.append((name, total, [Cell(count, count / total if total else 0.0) for count in counts]))
    return rows


def flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str | RecordTable]]:
    """Yield nested facts as rows of name and value.

    The name of a nested fact begins with the name of its mapping. A mapping of a few numbers is one row.
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
    """Return ``duration (s)`` for ``duration_s``."""
    name, _, last = str(key).rpartition("_")
    return f"{name.replace('_', ' ')} ({UNITS[last]})" if name and last in UNITS else str(key).replace("_", " ")


def format_fact(value: Any) -> str:
    """Return one fact as text."""
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
