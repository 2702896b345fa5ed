"""Layouts of folders: label, fault, machine, SNR and side from the path of a file.

These layouts are recognised:

- MIMII, as its archives unpack: ``6_dB_fan/fan/id_00/normal/00000000.wav``. A folder of any level can be the dataset;
  the names of the folders above it are read too.
- Folder per class: ``normal/x.wav`` next to ``abnormal/x.wav``, ``abnormal/<fault>/x.wav`` or ``<fault>/x.wav``; also
  one level deeper, in a folder per machine. If no folder is called ``normal``, others are read as ``normal``: ``ok``,
  ``healthy``, ``train_normal`` and so on.
- DCASE: ``fan/train/normal_id_00_00000000.wav``, see :mod:`ml.dataset.indexing.dcase`.
- Names: every file name states the label: ``ok_1.wav``, ``anomaly_2.wav``.
- Flat: all recordings in one folder. They count as normal, or as abnormal if the name of the folder states that.

In all of them, folders called ``train``, ``val``, ``test`` and so on are the given split, not machines or classes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ml.dataset.annotations import Annotation, Side
from ml.dataset.entries import ABNORMAL, NORMAL, FileRefusal, Label, machine_name
from ml.dataset.indexing.class_words import label_in_name, label_of_folder, split_named, split_of_class
from ml.dataset.indexing.dcase import DcaseName, read_name
from ml.dataset.indexing.listing import ListedRecording, Listing
from ml.dataset.indexing.scan import no_recordings_error, pass_over_doubles, scan_folder
from ml.errors import DatasetEmpty

CLASS_UNKNOWN = "class_unknown"
MIMII, DCASE, PER_CLASS, NAMES, FLAT = "mimii", "dcase", "folder per class", "names", "flat"
MACHINE_ID = re.compile(r"id_?\d+", re.IGNORECASE)
# Top folders of the MIMII archives: 6_dB_fan, 0_dB_pump, -6_dB_valve.
SNR_FOLDER = re.compile(r"([+-]?\d+(?:\.\d+)?)_?dB(?:_(?P<machine>.+))?", re.IGNORECASE)
# Folders into which the original project unpacked these archives.
SNR_OF_ORIGINAL = {"data0db": 0.0, "data6db": 6.0, "data66db": -6.0}
# Number of folders above the machine id that may name the SNR: machine, archive and one in between.
LEVELS_ABOVE_ID = 3
# Folders of DCASE archives that are no machines.
DCASE_LEVELS = re.compile(
    r"dev_data|eval_data|raw|supplemental|additional_training_data|(section|id)_\d+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Path of a recording without the folders of the split.

    Attributes:
        path: path relative to the dataset.
        reduced: the path without folders called train, test and so on.
        split: side that such a folder states.
    """

    path: PurePosixPath
    reduced: PurePosixPath
    split: Side | None


@dataclass(frozen=True, slots=True)
class _MachineFolder:
    """Folder that contains the class folders: one machine, or the whole dataset."""

    name: str
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    mimii: bool


def list_folder(root: Path, within: Path | None = None) -> Listing:
    """List a folder in any of the layouts.

    Args:
        root: the folder.
        within: links must stay within this folder; None follows all links.

    Raises:
        DatasetEmpty: there are no recordings, or only recordings in subfolders without class names.
    """
    scan = scan_folder(root, within)
    if not scan.files:
        raise no_recordings_error(root, scan)
    listing = _list_places(root, [_place(file) for file in scan.files])
    listing.passed_over += scan.passed_over
    pass_over_doubles(listing, scan)
    return listing


def _place(path: PurePosixPath) -> _Place:
    sides = [side for part in path.parts[:-1] if (side := split_named(part) or split_of_class(part))]
    kept = [part for part in path.parts[:-1] if not split_named(part)]
    return _Place(path, PurePosixPath(*kept, path.name), sides[-1] if sides else None)


def _list_places(root: Path, places: Sequence[_Place]) -> Listing:
    """List the recordings by the first layout that fits: folders of classes, names of DCASE, names, flat."""
    normal = _normal_folders(places)
    machines = {prefix: _read_machine_folder(root, prefix) for prefix in _find_machine_folders(places, normal)}
    if machines:
        return _list_classes(root, places, machines, normal)
    names = {place.path: name for place in places if (name := read_name(place.path.stem))}
    in_test = split_named(root.name) == "test" or all(place.split == "test" for place in places)
    if any(name.label or name.section or in_test for name in names.values()):
        return _list_dcase(root, places, names)
    labels = [label_in_name(place.path.stem) for place in places]
    if all(labels) and NORMAL in labels:
        return _list_names(root, places, [label or NORMAL for label in labels])
    return _list_flat(root, places)


# A folder for each class


def _normal_folders(places: Iterable[_Place]) -> frozenset[str]:
    """Return the names of the folders of normal recordings, in lower case."""
    names = {part for place in places for part in place.reduced.parts[:-1]}
    if any(name.lower() == NORMAL for name in names):
        return frozenset({NORMAL})
    return frozenset(name.lower() for name in names if label_of_folder(name) == NORMAL)


def _find_machine_folders(places: Iterable[_Place], normal: frozenset[str]) -> set[PurePosixPath]:
    """Return the outermost folders that contain a folder of normal or abnormal recordings."""
    folders = set()
    for place in places:
        for depth, part in enumerate(place.reduced.parts[:-1]):
            if part.lower() in normal or part.lower() == ABNORMAL:
                folders.add(PurePosixPath(*place.reduced.parts[:depth]))
                break
    return folders


def _read_machine_folder(root: Path, prefix: PurePosixPath) -> _MachineFolder:
    """Read machine, id and SNR from folder names; folders above the dataset are used only with a MIMII id."""
    *above, last = (root / prefix).parts
    mimii = MACHINE_ID.fullmatch(last) is not None
    if not mimii:
        *above, last = ("", *prefix.parts)
    snr_db, machine_of_archive = _find_snr(above[-LEVELS_ABOVE_ID:])
    machine = machine_of_archive if not above or SNR_FOLDER.fullmatch(above[-1]) else above[-1]
    return _MachineFolder(str(prefix), machine or None, last or None, snr_db, mimii or len(prefix.parts) > 1)


def read_mimii_path(path: PurePosixPath) -> Annotation | None:
    """Return machine, id and SNR of a path with a machine id of MIMII in it; None for another path.

    Example:
        >>> read_mimii_path(PurePosixPath("/data/data66db/fan/id_02/normal/00000001.wav")).to_dict()["snr_db"]
        -6.0
    """
    for depth, part in enumerate(path.parts):
        if MACHINE_ID.fullmatch(part):
            found = _read_machine_folder(Path("/"), PurePosixPath(*path.parts[: depth + 1]))
            return Annotation(machine=found.machine, machine_id=found.machine_id, snr_db=found.snr_db)
    return None


def _find_snr(folders: list[str]) -> tuple[float | None, str | None]:
    for folder in reversed(folders):
        if found := SNR_FOLDER.fullmatch(folder):
            return float(found[1]), found["machine"]
        if (snr_db := SNR_OF_ORIGINAL.get(folder.lower())) is not None:
            return snr_db, None
    return None, None


def _list_classes(
    root: Path,
    places: Iterable[_Place],
    machines: dict[PurePosixPath, _MachineFolder],
    normal: frozenset[str],
) -> Listing:
    listing = Listing(root, MIMII if all(machine.mimii for machine in machines.values()) else PER_CLASS)
    for place in places:
        prefix = next((parent for parent in place.reduced.parent.parents if parent in machines), None)
        if prefix is None:
            reason = (
                "Its label is unknown: it is in no folder called normal or abnormal, or called as a fault next to them."
            )
            listing.refusals.append(FileRefusal(str(place.path), CLASS_UNKNOWN, reason))
        else:
            listing.recordings.append(_list_of_class(place, prefix, machines[prefix], normal))
    return listing


def _list_of_class(
    place: _Place, prefix: PurePosixPath, folder: _MachineFolder, normal: frozenset[str]
) -> ListedRecording:
    label, fault = _label_and_fault(place.reduced.relative_to(prefix).parts[:-1], normal)
    return ListedRecording(
        path=str(place.path),
        annotation=Annotation(
            label=label,
            machine=folder.machine,
            machine_id=folder.machine_id,
            snr_db=folder.snr_db,
            fault=fault,
            # All SNR versions of a MIMII machine are one session: they contain the same machine sound.
            session=machine_name(folder.machine, folder.machine_id) if folder.mimii else None,
            split=place.split,
        ),
        session_scope="" if folder.name == "." else folder.name,
        session_origin="folders",
    )


def _label_and_fault(folders: tuple[str, ...], normal: frozenset[str]) -> tuple[Label, str | None]:
    if folders[0].lower() in normal:
        return NORMAL, None
    # Where a folder is called normal, another folder has always been the name of a fault, whatever its words.
    generic = folders[0].lower() == ABNORMAL or (NORMAL not in normal and label_of_folder(folders[0]) == ABNORMAL)
    if generic:
        return ABNORMAL, folders[1] if len(folders) > 1 else None
    return ABNORMAL, folders[0]


# Labels in file names


def _list_dcase(root: Path, places: Iterable[_Place], names: dict[PurePosixPath, DcaseName]) -> Listing:
    listing = Listing(root, DCASE)
    for place in places:
        name = names.get(place.path)
        if name is None or name.label is None:
            reason = (
                "Its name states no label, as in the evaluation data of DCASE; normal or anomaly was expected in it."
            )
            listing.refusals.append(FileRefusal(str(place.path), CLASS_UNKNOWN, reason))
            continue
        machine = _machine_of_dcase(root, place)
        annotation = Annotation(
            label=name.label,
            machine=machine,
            machine_id=name.machine_id,
            session="/".join(filter(None, (machine, name.machine_id, name.domain))),
            section=name.section,
            domain=name.domain,
            split=name.split or place.split,
        )
        listing.recordings.append(
            ListedRecording(path=str(place.path), annotation=annotation, session_origin="folders")
        )
    return listing


def _machine_of_dcase(root: Path, place: _Place) -> str | None:
    """Return the nearest folder above a recording that is neither a part of the split nor a level of the archive."""
    folders = (*root.parts[1:], *place.reduced.parts[:-1])
    names = (name for name in reversed(folders) if not DCASE_LEVELS.fullmatch(name) and not split_named(name))
    return next(names, None)


def _list_names(root: Path, places: Iterable[_Place], labels: Iterable[Label]) -> Listing:
    listing = Listing(root, NAMES)
    for place, label in zip(places, labels, strict=True):
        folder = place.reduced.parent
        listing.recordings.append(
            ListedRecording(
                path=str(place.path),
                annotation=Annotation(label=label, split=place.split),
                session_scope="" if str(folder) == "." else str(folder),
            )
        )
    return listing


# One folder without classes


def _list_flat(root: Path, places: Iterable[_Place]) -> Listing:
    files = [place.path for place in places]
    if not any(len(file.parts) == 1 for file in files):
        folders = sorted({file.parts[0] for file in files})
        some = ", ".join(folders[:4]) + (" ..." if len(folders) > 4 else "")
        raise DatasetEmpty(
            f"{root} contains recordings in {some}, but no folder is named normal or abnormal: rename the folders, or "
            "write a manifest.csv with the columns path,label."
        )
    listing = Listing(root, FLAT)
    label: Label = ABNORMAL if label_of_folder(root.name) == ABNORMAL else NORMAL
    for file in files:
        if len(file.parts) == 1:
            listing.recordings.append(ListedRecording(path=str(file), annotation=Annotation(label)))
        else:
            reason = "It is in a subfolder of a flat dataset; no folder is named normal or abnormal."
            listing.refusals.append(FileRefusal(str(file), CLASS_UNKNOWN, reason))
    return listing
