"""Tables as people have them: encoding, delimiter and names of the columns are found, and ambiguous ones are refused.

The columns of a manifest are ``path`` and ``label``. Other names of them are read where they are plain. A number or a
Boolean is a label only in a column whose name states what it means, such as ``is_anomaly``.
"""

import codecs
import csv
import io
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ml.audio.formats import SUFFIXES
from ml.dataset.annotations import ABNORMAL, NORMAL, Label
from ml.dataset.indexing.class_words import ABNORMAL_WORDS, NORMAL_WORDS, fold, label_in_name, word_set
from ml.errors import DatasetNotFound, InvalidManifest
from ml.system.text import from_csv_cell

TABLE_SUFFIXES = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t", "|")
PATH, LABEL = "path", "label"
# Other names of the columns, without capitals, spaces, hyphens and underscores.
PATH_NAMES = word_set(
    "file filename filepath fname wav wavfile wavpath audio audiofile audiopath recording relativepath "
    "datei dateiname pfad dateipfad fichier nomfichier chemin archivo fichero ruta arquivo percorso"
)
# Words such as normal and ng are labels in all these columns.
WORD_NAMES = word_set(
    "class classlabel target condition status state groundtruth truth y "
    "klasse zustand befund bewertung classe etiquette etat clase etiqueta estado stato rotulo"
)
TRUE_IS_ABNORMAL = word_set(
    "anomaly isanomaly anomalous isanomalous abnormal isabnormal faulty isfaulty defective isdefective"
)
TRUE_IS_NORMAL = word_set("normal isnormal healthy ishealthy ok isok good isgood")
LABEL_NAMES = WORD_NAMES | TRUE_IS_ABNORMAL | TRUE_IS_NORMAL
# The metadata pipeline of the original project writes this column, with True for the folder ``abnormal``.
PATH_OF_ORIGINAL = "filepath"
TRUE, FALSE = frozenset({"true", "yes", "1", "1.0"}), frozenset({"false", "no", "0", "0.0"})
LABEL_WORDS: Mapping[str, Label] = {
    **dict.fromkeys(NORMAL_WORDS, NORMAL),
    **dict.fromkeys(ABNORMAL_WORDS | {"not ok", "not_ok", "n.ok", "n.i.o."}, ABNORMAL),
    "i.o.": NORMAL,
}
# Values of the column fault that name no fault.
NO_FAULT = frozenset({"", "-", "0", "n/a", "na", "nan", "no", "none", "normal", "healthy", "ok", "good", "null"})
REQUIRED = (PATH, LABEL)
EXAMPLE = "Write the columns path,label, for example: path,label / 0001.wav,normal / 0002.wav,abnormal."


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a manifest.

    Attributes:
        file: the file.
        columns: names of the columns, ``path`` and ``label`` in place of other names of these.
        rows: cells by column.
        label_column: name of the column of the labels as the file has it, in its short form.
        original: whether the metadata pipeline of the original project has written the table.
    """

    file: Path
    columns: Sequence[str]
    rows: Sequence[dict[str, str]]
    label_column: str
    original: bool

    def label(self, text: str) -> Label | None:
        """Return the label of a cell; None for a text that is none."""
        return _label(text, self.label_column, original=self.original)

    def contradicting_column(self, row: Mapping[str, str], label: Label) -> str | None:
        """Return another column of labels in which a row has another label; None without one."""
        for column in self.columns:
            if _short(column) in LABEL_NAMES and _label(row[column], _short(column)) not in (None, label):
                return column
        return None


def _label(text: str, column: str, *, original: bool = False) -> Label | None:
    """Return the label of a cell in a column with this short name."""
    value = fold(text).lower()
    if value in TRUE | FALSE and (original or column in TRUE_IS_ABNORMAL | TRUE_IS_NORMAL):
        return ABNORMAL if (value in TRUE) != (column in TRUE_IS_NORMAL) else NORMAL
    return LABEL_WORDS.get(value)


def has_manifest_columns(file: Path) -> bool:
    """Return whether a file is a table with a column of paths and a column of labels.

    Raises:
        InvalidManifest: the file cannot be read.
    """
    header = _cells(file)[:1]
    return bool(header) and _is_complete(header[0])


def may_have_labels(file: Path, names: Container[str]) -> bool:
    """Return whether a table of any columns seems to have labels of recordings.

    Its rows name recordings, and one of its columns has true and false values, a word for a fault, or, below a name
    such as ``fault``, any value that is not one of :data:`NO_FAULT`.

    Args:
        file: the table.
        names: file names of the recordings, with and without suffix.

    Raises:
        InvalidManifest: the file cannot be read.
    """
    lines = _cells(file)
    rows = [row for row in lines if any(PurePosixPath(slashes(cell)).name in names for cell in row)]
    return any(
        _are_labels({fold(row[number]).lower() for row in rows if number < len(row)}, title)
        for number, title in enumerate(lines[0] if lines else [])
    )


def slashes(text: str) -> str:
    """Return a path of Windows with slashes, without zero bytes."""
    return text.replace("\\", "/").replace("\0", "")


def _are_labels(values: Set[str], title: str) -> bool:
    if label_in_name(title) == ABNORMAL and values - NO_FAULT - FALSE:
        return True
    return bool(values & TRUE and values & FALSE) or any(LABEL_WORDS.get(value) == ABNORMAL for value in values)


def read_table(file: Path) -> Table:
    """Read a manifest.

    Raises:
        DatasetNotFound: there is no such file.
        InvalidManifest: the table cannot be read, lacks a column, has a column twice, or has labels whose meaning the
            name of their column does not state; the message has what was found and an example.
    """
    lines = _cells(file)
    header = lines[0] if lines else []
    columns, label_column = _named(header)
    if (without_header := _columns_without_header(header)) is not None:
        columns, lines = without_header, [[], *lines]
    _check_columns(file, header, columns)
    rows = [dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)) for cells in lines[1:]]
    original = PATH_OF_ORIGINAL in map(_short, header) and label_column == LABEL
    table = Table(file, columns, rows, label_column, original)
    _refuse_ambiguous_labels(table)
    return table


def _cells(file: Path) -> list[list[str]]:
    """Return the cells of all lines that are not blank, without spaces around them."""
    text = _text(file)
    if text.lower().startswith("sep="):  # a line for Excel
        text = text.partition("\n")[2]
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=False)
        return [[from_csv_cell(cell.strip()) for cell in row] for row in rows if any(map(str.strip, row))]
    except csv.Error as error:
        raise InvalidManifest(f"{file} cannot be read as a table in UTF-8: {error}") from error


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise DatasetNotFound(f"{file} does not exist; a folder of recordings or a manifest was expected.") from error
    except OSError as error:
        raise InvalidManifest(f"{file} cannot be read: {error.strerror or error}.") from error
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise InvalidManifest(
            f"{file} cannot be read as a table in UTF-8: {error}. Save it as CSV UTF-8 or as Unicode text."
        ) from error


def _encoding(content: bytes) -> str:
    """Return the encoding: UTF-16 with its mark or with a zero in the first letter, otherwise UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [place for place, byte in enumerate(content[:2]) if byte == 0]
    if len(zeros) != 1:
        return "utf-8-sig"
    return "utf-16-be" if zeros == [0] else "utf-16-le"


def _delimiter(text: str) -> str:
    """Return the delimiter that gives the first line a path and a label or, without one, the most columns."""
    line = next((line for line in text.splitlines() if line.strip()), "")

    def fit(delimiter: str) -> tuple[bool, int]:
        header = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        return _is_complete(header), len(header)

    return max(DELIMITERS, key=fit)


def _is_complete(header: Sequence[str]) -> bool:
    """Return whether a first line has a path and a label: as names of columns, or as values."""
    return set(REQUIRED) <= set(_named(header)[0]) or _columns_without_header(header) is not None


def _short(name: str) -> str:
    return "".join(letter for letter in fold(name).lower() if letter not in " -_")


def _named(header: Sequence[str]) -> tuple[list[str], str]:
    """Return the columns with ``path`` and ``label`` in place of other names, and the short name of the label column.

    Another name counts only where there is no column of the usual name.
    """
    columns = [cell.lower() for cell in header]
    label_column = LABEL
    for usual, others in ((PATH, PATH_NAMES), (LABEL, LABEL_NAMES)):
        found = [number for number, name in enumerate(columns) if _short(name) in others]
        if usual not in columns and found:
            for number in found:
                label_column = _short(columns[number]) if usual == LABEL else label_column
                columns[number] = usual
    return columns, label_column


def _columns_without_header(header: Sequence[str]) -> list[str] | None:
    """Return the columns of a table whose first line is a recording already; None if it is a header."""
    paths = [number for number, cell in enumerate(header) if cell.lower().endswith(SUFFIXES)]
    labels = [number for number, cell in enumerate(header) if fold(cell).lower() in LABEL_WORDS]
    if len(paths) != 1 or len(labels) != 1:
        return None
    return [PATH if n == paths[0] else LABEL if n == labels[0] else f"column {n + 1}" for n in range(len(header))]


def _check_columns(file: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    found = ", ".join(header) or "(none)"
    for name in REQUIRED:
        same = [given for given, column in zip(header, columns, strict=False) if column == name]
        if len(same) > 1:
            raise InvalidManifest(
                f"{file} has the columns {found}; {' and '.join(same)} can each be the {name}, and one of them was "
                f"expected. {EXAMPLE}"
            )
    if missing := [name for name in REQUIRED if name not in columns]:
        raise InvalidManifest(
            f"{file} has the columns {found}; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed, "
            f"with commas between columns. {EXAMPLE}"
        )


def _refuse_ambiguous_labels(table: Table) -> None:
    values = sorted({row[LABEL] for row in table.rows if row[LABEL].lower() in TRUE | FALSE})
    if values and not any(map(table.label, values)):
        raise InvalidManifest(
            f"{table.file} has the columns {', '.join(table.columns)}, and the values {', '.join(values)} in the "
            f"column {table.label_column}: this can mean healthy or faulty. Call it is_anomaly or is_normal, or write "
            "normal and abnormal."
        )
