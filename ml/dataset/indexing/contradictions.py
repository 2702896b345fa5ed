"""Labels that the names of files and folders contradict, such as ``anomaly_3.wav`` among the normal recordings."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ml.dataset.annotations import NORMAL, Label
from ml.dataset.entries import Contradiction
from ml.dataset.indexing.class_words import (
    ABNORMAL_WORDS,
    contradicting_word,
    label_in_name,
    label_of_folder,
    words,
)
from ml.dataset.indexing.layouts import DCASE, FLAT
from ml.dataset.indexing.listing import ListedRecording, Listing

# Of an absolute path only the last folders are read: those above describe the computer, not the recording.
FOLDERS_OF_ABSOLUTE_PATH = 3
# Folders above a flat dataset that can be the folder of its class: abnormal/fan_1, abnormal/fan_1/train.
FOLDERS_ABOVE_FLAT = 2
FolderPath = tuple[str, ...]


def find_contradictions(listing: Listing) -> list[Contradiction]:
    """Return the contradictions of a listing: those that it has, and those between labels and names.

    The file name counts, and each folder below the dataset's root; of a flat dataset the root counts, too, and the two
    folders above it if they have the name of a class. The name of a folder that has recordings of both labels states
    nothing, unless the whole name is the name of a class. In a flat dataset where some names state that a recording is
    normal, a name with other words is a contradiction: ``rattle_1`` beside ``normal_1``.
    """
    labels: defaultdict[FolderPath, set[Label]] = defaultdict(set)
    named = [(recording, _parts(listing, recording)) for recording in listing.recordings if recording.annotation.label]
    for recording, (*folders, _) in named:
        for depth in range(1, len(folders) + 1):
            labels[tuple(folders[:depth])].add(_label(recording))
    mixed = {folder for folder, found in labels.items() if len(found) > 1}
    found = list(listing.contradictions)
    for recording, parts in named:
        reasons = _reasons(parts, _label(recording), mixed, stem=listing.layout != DCASE)
        found += [Contradiction(recording.path, _label(recording), reason) for reason in reasons]
    return [*found, *_without_stated_label(named)] if listing.layout == FLAT else found


def contradiction_in_name(file_name: str, label: Label) -> str | None:
    """Return why a file name contradicts a label, as a sentence; None if it does not.

    Example:
        >>> contradiction_in_name("fan_anomaly_3.wav", "normal")
        "Its label is normal, and its name has the word 'anomaly'."
    """
    word = contradicting_word(PurePosixPath(file_name.replace("\\", "/")).stem, label)
    return None if word is None else f"Its label is {label}, and its name has the word {word!r}."


def _label(recording: ListedRecording) -> Label:
    return recording.annotation.label or NORMAL


def _parts(listing: Listing, recording: ListedRecording) -> Sequence[str]:
    """Return the names to read: folders and file name."""
    path = PurePosixPath((recording.file_name or recording.path).replace("\\", "/"))
    if path.is_absolute():
        return path.parts[1:][-FOLDERS_OF_ABSOLUTE_PATH - 1 :]
    return (*_folders_of_root(listing.root), *path.parts) if listing.layout == FLAT else path.parts


def _folders_of_root(root: Path) -> list[str]:
    """Return the names above a flat dataset that can state its class, and its own name.

    Longer names above it describe a project, such as fault_detection.
    """
    above = root.parts[1:-1][-FOLDERS_ABOVE_FLAT:]
    return [*(name for name in above if name.lower() in ABNORMAL_WORDS), root.name]


def _without_stated_label(named: Sequence[tuple[ListedRecording, Sequence[str]]]) -> Iterator[Contradiction]:
    """Yield the recordings of a flat dataset whose names have other words than those that state a normal recording."""
    stems = {recording.path: PurePosixPath(parts[-1]).stem for recording, parts in named}
    stated = [stem for stem in stems.values() if label_in_name(stem) == NORMAL]
    known = {word for stem in stated for word in words(stem)}
    for path, stem in stems.items():
        others = [word for word in words(stem) if word.isalpha() and word not in known]
        if stated and others and label_in_name(stem) is None and contradicting_word(stem, NORMAL) is None:
            yield Contradiction(
                path, NORMAL, "Its label normal is a guess: other names state it, and its name does not."
            )


def _reasons(parts: Sequence[str], label: Label, mixed: set[FolderPath], *, stem: bool) -> Iterator[str]:
    """Yield the first contradiction of a recording, if there is one."""
    *folders, name = parts
    # Folders above a class folder that agrees are machines: broken_hill/normal.
    class_depth = max((depth for depth, part in enumerate(folders) if label_of_folder(part) == label), default=0)
    for depth, part in enumerate(folders):
        is_mixed = tuple(folders[: depth + 1]) in mixed
        whole, above = label_of_folder(part), depth < class_depth
        if whole is not None:
            contradicts = whole != label and not (above and is_mixed)
        else:
            contradicts = not above and not is_mixed and contradicting_word(part, label) is not None
        if contradicts:
            yield f"Its label is {label}, and it is in the folder {part!r}."
            return
    if stem and (reason := contradiction_in_name(name, label)) is not None:
        yield reason
