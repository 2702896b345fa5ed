"""Words in the names of files and folders that state whether a machine is healthy."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise

from ml.dataset.annotations import ABNORMAL, NORMAL, Label, Side


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set.

    Example:
        >>> sorted(word_set("ok good"))
        ['good', 'ok']
    """
    return frozenset(text.split())


# Words of other languages are without accents, as :func:`fold` returns them.
NORMAL_WORDS = word_set("normal healthy ok okay good intact faultless flawless") | word_set(
    "io gut intakt fehlerfrei normale normaux bon bonne sain conforme buono sano bueno 正常 良品"
)
# Words that only state that something is wrong. A folder of such a name has recordings of no particular fault.
ABNORMAL_WORDS = word_set(
    "abnormal abnormality anom anomaly anomalies anomalous bad broken damage damaged defect defects defective fail "
    "failed failing failure failures fault faults faulty malfunction malfunctioning ng nok nonnormal notok outlier "
    "outliers unhealthy unnormal"
) | word_set(
    "nio ko anormal anomalie anomalien defekt fehler fehlerhaft kaputt schlecht schaden schadhaft beschadigt "
    "beschaedigt gestort gestoert storung stoerung ausschuss defaut defauts defectueux defectueuse defaillance panne "
    "endommage mauvais mauvaise anomalia anomalo anomala guasto difetto difettoso rotto averia defecto defectuoso "
    "fallo roto malo defeito avaria falha 異常 异常 故障 不良"
)
# Parts of longer words: fanabnormal, isanomaly, defekter. Shorter ones occur in other words, as in brokenness.
ABNORMAL_PARTS = ("abnormal", "anormal", "anomal", "defect", "defekt", "faulty", "malfunction")
FAULT_WORDS = ABNORMAL_WORDS | word_set(
    "blockage blocked breakage cavitation chipped clogged clogging crack cracked cracks degraded error imbalance "
    "imbalanced leak leakage leaking leaks looseness misaligned misalignment pitting rattle rattling rubbing seized "
    "spalling squeal unbalance unbalanced worn"
)
NEGATIONS = word_set("no non not nicht pas sans senza sin ohne without zero")
NEGATED = {("not", "ok"), ("not", "okay"), ("n", "ok"), ("not", "normal"), ("non", "normal"), ("not", "good")}
# In German factories, i.O. is in Ordnung (good), and n.i.O. is not.
IN_ORDER = re.compile(r"(?<![^\W_])(n?)[. _-]?i(?:\.[ _]?)?o(?![^\W_])", re.IGNORECASE)
# Words beside a class word in the name of a class folder: NormalSound, ok_recordings.
FILLERS = word_set(
    "audio case class cnt condition data dataset file files flac ind machine recording recordings sample samples set "
    "sound sounds state wav wavs"
)
SPLIT_WORDS: Mapping[str, Side] = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation"), "test"),
}
FOLDERS_KEPT = 4096  # names of folders whose meaning is kept: most recordings share theirs
# Words beside them in the name of a folder: train_set, and source_test of DCASE.
SPLIT_FILLERS = word_set("data dataset set source split target")
CLASS_FOLDER_WORDS = NORMAL_WORDS | ABNORMAL_WORDS | FILLERS | SPLIT_WORDS.keys()
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+|\d+")
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Hashes and ids of caches and of this service; their digits and letters can look like words.
HASH = re.compile(rf"(?<![0-9A-Za-z])(?:{UUID}|(?=[0-9a-f]*\d)[0-9a-f]{{8,}})(?![0-9A-Za-z])", re.IGNORECASE)


def fold(text: str) -> str:
    """Return a text without accents.

    Example:
        >>> fold("défaut")
        'defaut'
    """
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def words(name: str) -> list[str]:
    """Return the words of a name in lower case and without accents, cut at punctuation, digits and capitals.

    Example:
        >>> words("NormalSound_IND-01"), words("fan_NG2"), words("bad1f00d77"), words("n.i.O. Lüfter")
        (['normal', 'sound', 'ind', '01'], ['fan', 'ng', '2'], [], ['nio', 'lufter'])
    """
    text = IN_ORDER.sub(lambda found: f" {found[1]}io ", fold(HASH.sub(" ", name)))
    return [word.lower() for word in WORD.findall(text)]


@lru_cache(FOLDERS_KEPT)
def split_named(name: str) -> Side | None:
    """Return the side that a folder or a value of a column names; None for another name.

    Example:
        >>> split_named("Training"), split_named("source_test"), split_named("test_1")
        ('train', 'test', None)
    """
    return None if set(words(name)) - SPLIT_WORDS.keys() - SPLIT_FILLERS else _side_in(name)


@lru_cache(FOLDERS_KEPT)
def split_of_class(name: str) -> Side | None:
    """Return the side that the name of a class folder states, as in ``train_normal``; None for another name."""
    return None if label_of_folder(name) is None else _side_in(name)


def _side_in(name: str) -> Side | None:
    sides = {SPLIT_WORDS[word] for word in words(name) if word in SPLIT_WORDS}
    return sides.pop() if len(sides) == 1 else None


def _is_abnormal(word: str) -> bool:
    return word in ABNORMAL_WORDS or any(part in word for part in ABNORMAL_PARTS)


def label_in_name(name: str) -> Label | None:
    """Return the label that a name states; None if it states none, both, or one with a negation.

    Example:
        >>> label_in_name("anomaly_0001"), label_in_name("ok_7"), label_in_name("no_fault_3"), label_in_name("fan_1")
        ('abnormal', 'normal', None, None)
    """
    found = set(words(name))
    normal, abnormal = bool(found & NORMAL_WORDS), any(map(_is_abnormal, found))
    if normal == abnormal or found & (NEGATIONS | {"n", "free"}):
        return None
    return NORMAL if normal else ABNORMAL


@lru_cache(FOLDERS_KEPT)
def label_of_folder(name: str) -> Label | None:
    """Return the label of a class folder: a name of words of its class, of fillers, of a side, and of numbers.

    Example:
        >>> label_of_folder("NormalSound_IND"), label_of_folder("test_faulty"), label_of_folder("broken_hill")
        ('normal', 'abnormal', None)
    """
    others = [word for word in words(name) if word not in CLASS_FOLDER_WORDS and word.isalpha()]
    return None if others else label_in_name(name)


def contradicting_word(name: str, label: Label) -> str | None:
    """Return the first word of a name that contradicts a label; None if there is none.

    A negation counts only where it makes a word of the other class: ``not_ok`` contradicts ``normal``, and agrees with
    ``abnormal``. ``without_defect`` contradicts ``normal``: a program cannot be sure of its meaning.

    Example:
        >>> contradicting_word("fan_anomaly_3", "normal"), contradicting_word("not_ok_3", "abnormal")
        ('anomaly', None)
    """
    return next(_contradicting(name, label), None)


def _contradicting(name: str, label: Label) -> Iterator[str]:
    for before, word in pairwise(["", *words(name)]):
        negated = (before, word) in NEGATED or (before in NEGATIONS and word in NORMAL_WORDS)
        if label == NORMAL and (word in FAULT_WORDS or _is_abnormal(word) or negated):
            yield f"{before} {word}" if negated else word
        if label == ABNORMAL and word in NORMAL_WORDS and not negated:
            yield word
