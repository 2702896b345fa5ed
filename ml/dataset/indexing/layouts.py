"""Layouts of folders: label, fault, machine and SNR from the path of a file.

Three layouts are recognised by their folders ``normal`` and ``abnormal``:

- MIMII, as its archives unpack: ``6_dB_fan/fan/id_00/normal/00000000.wav``. A folder of any level can be the dataset;
  the names of the folders above it are read too.
- Folder per class: ``normal/x.wav`` next to ``abnormal/x.wav``, ``abnormal/<fault>/x.wav`` or ``<fault>/x.wav``; also
  one level deeper, in a folder per machine.
- Flat: all recordings in one folder. They count as normal, or as abnormal if the folder is called ``abnormal``.
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
# Top folders of the MIMII archives: 6_dB_fan, 0_dB_pump, -6_dB_valve.
SNR_FOLDER = re.compile(r"([+-]?\d+(?:\.\d+)?)_?dB(?:_(?P<machine>.+))?", re.IGNORECASE)
# Number of folders above the machine id that may name the SNR: machine, archive and one in between.
LEVELS_ABOVE_ID = 3


@dataclass(frozen=True, slots=True)
class _MachineFolder:
    """Folder that contains the class folders: one machine, or the whole dataset."""

    name: str
    machine: str | None
    machine_id: str | None
    snr_db: float | None
    mimii: bool


def list_folder(root: Path) -> Listing:
    """List a folder in any of the layouts.

    Raises:
        DatasetEmpty: there are no recordings, or only recordings in subfolders without class names.
    """
    files = list(audio_files_below(root))
    if not files:
        raise no_recordings_error(root)
    machines = {prefix: _read_machine_folder(root, prefix) for prefix in _find_machine_folders(files)}
    if not machines:
        return _list_flat(root, files)
    listing = Listing(root, "mimii" if all(machine.mimii for machine in machines.values()) else "folder per class")
    for file in files:
        prefix = next((parent for parent in file.parent.parents if parent in machines), None)
        if prefix is None:
            reason = (
                "Its label is unknown: it is in no folder called normal or abnormal, or called as a fault next to them."
            )
            listing.refusals.append(FileRefusal(str(file), CLASS_UNKNOWN, reason))
        else:
            listing.recordings.append(_list_file(file, prefix, machines[prefix]))
    return listing


def _find_machine_folders(files: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Return the outermost folders that contain a folder ``normal`` or ``abnormal`` with recordings."""
    folders = set()
    for file in files:
        for depth, part in enumerate(file.parts[:-1]):
            if part.lower() in (NORMAL, ABNORMAL):
                folders.add(PurePosixPath(*file.parts[:depth]))
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


def _find_snr(folders: list[str]) -> tuple[float | None, str | None]:
    for folder in reversed(folders):
        if found := SNR_FOLDER.fullmatch(folder):
            return float(found[1]), found["machine"]
    return None, None


def _list_file(file: PurePosixPath, prefix: PurePosixPath, folder: _MachineFolder) -> ListedRecording:
    label, fault = _label_and_fault(file.relative_to(prefix).parts[:-1])
    return ListedRecording(
        path=str(file),
        annotation=Annotation(
            label=label,
            machine=folder.machine,
            machine_id=folder.machine_id,
            snr_db=folder.snr_db,
            fault=fault,
            # All SNR versions of a MIMII machine are one session: they contain the same machine sound.
            session=machine_name(folder.machine, folder.machine_id) if folder.mimii else None,
        ),
        session_scope="" if folder.name == "." else folder.name,
        session_origin="folders",
    )


def _label_and_fault(folders: tuple[str, ...]) -> tuple[Label, str | None]:
    if folders[0].lower() == NORMAL:
        return NORMAL, None
    if folders[0].lower() == ABNORMAL:
        return ABNORMAL, folders[1] if len(folders) > 1 else None
    return ABNORMAL, folders[0]


def _list_flat(root: Path, files: list[PurePosixPath]) -> Listing:
    if not any(len(file.parts) == 1 for file in files):
        folders = sorted({file.parts[0] for file in files})
        some = ", ".join(folders[:4]) + (" ..." if len(folders) > 4 else "")
        raise DatasetEmpty(
            f"{root} contains recordings in {some}, but no folder is named normal or abnormal: rename the folders, or "
            "write a manifest.csv with the columns path,label."
        )
    listing = Listing(root, FLAT)
    label: Label = ABNORMAL if root.name.lower() == ABNORMAL else NORMAL
    for file in files:
        if len(file.parts) == 1:
            listing.recordings.append(ListedRecording(path=str(file), annotation=Annotation(label)))
        else:
            reason = "It is in a subfolder of a flat dataset; no folder is named normal or abnormal."
            listing.refusals.append(FileRefusal(str(file), CLASS_UNKNOWN, reason))
    return listing
