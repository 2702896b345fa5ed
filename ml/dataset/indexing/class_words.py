"""Words in the names of files and folders that state whether a machine is healthy."""

import re
from collections.abc import Iterator
from itertools import pairwise

from ml.dataset.annotations import ABNORMAL, NORMAL, Label


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set.

    Example:
        >>> sorted(word_set("ok good"))
        ['good', 'ok']
    """
    return frozenset(text.split())


NORMAL_WORDS = word_set("normal healthy ok okay good intact faultless flawless")
# Words that only state that something is wrong. A folder of such a name has recordings of no particular fault.
ABNORMAL_WORDS = word_set(
    "abnormal abnormality anom anomaly anomalies anomalous bad broken damage damaged defect defects defective fail "
    "failed failing failure failures fault faults faulty malfunction malfunctioning ng nok unhealthy"
)
FAULT_WORDS = ABNORMAL_WORDS | word_set(
    "breakage chipped clogged clogging crack cracked cracks imbalance imbalanced leak leakage leaking leaks looseness "
    "misaligned misalignment rubbing unbalance unbalanced worn"
)
NEGATIONS = word_set("no non not without zero")
NEGATED = {("not", "ok"), ("not", "okay"), ("n", "ok"), ("not", "normal"), ("non", "normal"), ("not", "good")}
# Words beside a class word in the name of a class folder: NormalSound, ok_recordings.
FILLERS = word_set(
    "audio case class cnt condition data dataset file files flac ind machine recording recordings sample samples set "
    "sound sounds state wav wavs"
)
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+|\d+")
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Hashes and ids of caches and of this service; their digits and letters can look like words.
HASH = re.compile(rf"(?<![0-9A-Za-z])(?:{UUID}|(?=[0-9a-f]*\d)[0-9a-f]{{8,}})(?![0-9A-Za-z])", re.IGNORECASE)


def words(name: str) -> list[str]:
    """Return the words of a name in lower case, cut at punctuation, digits and capitals.

    Example:
        >>> words("NormalSound_IND-01"), words("fan_NG2"), words("bad1f00d77")
        (['normal', 'sound', 'ind', '01'], ['fan', 'ng', '2'], [])
    """
    return [word.lower() for word in WORD.findall(HASH.sub(" ", name))]


def label_in_name(name: str) -> Label | None:
    """Return the label that a name states; None if it states none, both, or one with a negation.

    Example:
        >>> label_in_name("anomaly_0001"), label_in_name("ok_7"), label_in_name("no_fault_3"), label_in_name("fan_1")
        ('abnormal', 'normal', None, None)
    """
    found = set(words(name))
    normal, abnormal = bool(found & NORMAL_WORDS), bool(found & ABNORMAL_WORDS)
    if normal == abnormal or found & (NEGATIONS | {"n", "free"}):
        return None
    return NORMAL if normal else ABNORMAL


def label_of_folder(name: str) -> Label | None:
    """Return the label of a class folder: a name that has no word but words of its class, fillers and numbers.

    Example:
        >>> label_of_folder("NormalSound_IND"), label_of_folder("faulty"), label_of_folder("broken_hill")
        ('normal', 'abnormal', None)
    """
    others = [word for word in words(name) if word not in NORMAL_WORDS | ABNORMAL_WORDS | FILLERS and word.isalpha()]
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
        if label == NORMAL and (word in FAULT_WORDS or negated):
            yield f"{before} {word}" if negated else word
        if label == ABNORMAL and word in NORMAL_WORDS and not negated:
            yield word
