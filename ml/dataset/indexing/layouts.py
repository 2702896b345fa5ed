"""Folders of recordings: what the place of a file says of it.

Three layouts are read, told apart by the folders ``normal`` and ``abnormal``:

- MIMII, as its archives unpack: ``6_dB_fan/fan/id_00/normal/00000000.wav``. Any level of it may be the dataset: what
  the levels above say is still read.
- A folder per class: ``normal/x.wav`` beside ``abnormal/x.wav``, ``abnormal/<fault>/x.wav`` or ``<fault>/x.wav``; also
  one folder deeper, below a folder per machine.
- Flat: recordings of healthy machines in one folder.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ml.dataset.annotations import Annotation
from ml.dataset.entries import ABNORMAL, NORMAL, FileRefusal, Label, machine_name
from ml.dataset.indexing.listing import ListedRecording, Listing, audio_files_below, no_recordings_error
from ml.errors import DatasetEmpty

CLASS_UNKNOWN = "class_unknown"
FLAT = "flat"
MACHINE_ID = re.compile(r"id_?\d+", re.IGNORECASE)
# The archives' top folders: 6_dB_fan, 0_dB_pump, -6_dB_valve.
SNR_FOLDER = re.compile(r"([+-]?\d+(?:\.\d+)?)_?dB(?:_(?P<machine>.+))?", re.IGNORECASE)
# How many folders above the machine id may name the SNR: the machine's, the archive's and one between.
LEVELS_ABOVE_ID = 3


@dataclass(frozen=True, slots=True)
class _MachineFolder:
    """A folder that holds folders of classes: one machine, or the dataset itself."""

    name: str
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    mimii: bool


def list_folder(root: Path) -> Listing:
    """List a folder in whichever layout it has.

    Raises:
        DatasetEmpty: there are no recordings, or only some whose class no folder tells.
    """
    files = list(audio_files_below(root))
    if not files:
        raise no_recordings_error(root)
    units = {prefix: _read_machine_folder(root, prefix) for prefix in _unit_folders(files)}
    if not units:
        return _flat(root, files)
    listing = Listing(root, "mimii" if all(unit.mimii for unit in units.values()) else "folder per class")
    for file in files:
        prefix = next((parent for parent in file.parent.parents if parent in units), None)
        if prefix is None:
            reason = "It lies in no folder that tells its class: normal, abnormal or a fault's name beside normal."
            listing.refusals.append(FileRefusal(str(file), CLASS_UNKNOWN, reason))
        else:
            listing.recordings.append(_list_file(file, prefix, units[prefix]))
    return listing


def _unit_folders(files: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Folders that hold a folder ``normal`` or ``abnormal`` with recordings below it; the outermost of each path."""
    folders = set()
    for file in files:
        for depth, part in enumerate(file.parts[:-1]):
            if part.lower() in (NORMAL, ABNORMAL):
                folders.add(PurePosixPath(*file.parts[:depth]))
                break
    return folders


def _read_machine_folder(root: Path, prefix: PurePosixPath) -> _MachineFolder:
    """What the folders down to ``prefix`` say; those above the dataset are asked for a MIMII id alone."""
    *above, last = (root / prefix).parts
    mimii = MACHINE_ID.fullmatch(last) is not None
    if not mimii:
        *above, last = ("", *prefix.parts)
    snr_db, machine_of_archive = _snr(above[-LEVELS_ABOVE_ID:])
    machine = machine_of_archive if not above or SNR_FOLDER.fullmatch(above[-1]) else above[-1]
    return _MachineFolder(str(prefix), machine or None, last or None, snr_db, mimii or len(prefix.parts) > 1)


def _snr(folders: list[str]) -> tuple[float | None, str | None]:
    for folder in reversed(folders):
        if found := SNR_FOLDER.fullmatch(folder):
            return float(found[1]), found["machine"]
    return None, None


def _list_file(file: PurePosixPath, prefix: PurePosixPath, unit: _MachineFolder) -> ListedRecording:
    label, fault = _label_and_fault(file.relative_to(prefix).parts[:-1])
    return ListedRecording(
        path=str(file),
        annotation=Annotation(
            label=label,
            machine=unit.machine,
            machine_id=unit.machine_id,
            snr_db=unit.snr_db,
            fault=fault,
            # The versions of one MIMII machine at several SNRs are one session: they hold the same machine recordings.
            session=machine_name(unit.machine, unit.machine_id) if unit.mimii else None,
        ),
        session_scope="" if unit.name == "." else unit.name,
    )


def _label_and_fault(folders: tuple[str, ...]) -> tuple[Label, str | None]:
    if folders[0].lower() == NORMAL:
        return NORMAL, None
    if folders[0].lower() == ABNORMAL:
        return ABNORMAL, folders[1] if len(folders) > 1 else None
    return ABNORMAL, folders[0]


def _flat(root: Path, files: list[PurePosixPath]) -> Listing:
    here = [file for file in files if len(file.parts) == 1]
    if not here:
        folders = sorted({file.parts[0] for file in files})
        some = ", ".join(folders[:4]) + (" ..." if len(folders) > 4 else "")
        raise DatasetEmpty(
            f"{root} holds recordings in {some}, and no folder is "
            "named normal or abnormal: name them so, or write a manifest.csv with the columns path,label."
        )
    listing = Listing(root, FLAT)
    label: Label = ABNORMAL if root.name.lower() == ABNORMAL else NORMAL
    for file in files:
        if len(file.parts) == 1:
            listing.recordings.append(ListedRecording(path=str(file), annotation=Annotation(label)))
        else:
            reason = "It lies in a sub folder of a flat folder of recordings; none is named normal or abnormal."
            listing.refusals.append(FileRefusal(str(file), CLASS_UNKNOWN, reason))
    return listing
