"""MIMII: recordings of healthy and faulty fans, pumps, sliders and valves in factory noise.

H. Purohit et al., "MIMII Dataset: Sound Dataset for Malfunctioning Industrial Machine Investigation and Inspection",
2019, https://doi.org/10.5281/zenodo.3384388, CC BY-SA 4.0. There is one archive for each machine kind and SNR.
"""

from collections.abc import Sequence
from pathlib import Path

from ml.dataset.download.fetching import fetch
from ml.dataset.download.unpacking import unpack
from ml.dataset.download.zenodo import Archive, list_archives
from ml.errors import DownloadDamaged, DownloadFailed, InvalidParameter, MissingExtra
from ml.system.atomic import require_free_space
from ml.system.progress import ProgressCallback, ignore_progress

SOURCE = "https://zenodo.org/api/records/3384388"
MACHINES = ("fan", "pump", "slider", "valve")
SNR_DB = (6, 0, -6)
# Unpacked size relative to the archive, rounded up: noise hardly compresses. The archive itself states the exact size.
UNPACKED_SHARE = 1.5


def download_mimii(
    target: Path,
    *,
    machines: Sequence[str] = ("fan",),
    snr_db: Sequence[float] = (6,),
    source: str = SOURCE,
    keep_archives: bool = False,
    pause_s: float = 1.0,
    report: ProgressCallback = ignore_progress,
) -> tuple[str, ...]:
    """Download and unpack the missing archives, as ``target/6_dB_fan/fan/id_00/normal/00000000.wav``.

    An interrupted run leaves at most a hidden ``.part`` file, which the next run completes.

    Args:
        target: folder for all archives.
        machines: machine kinds from :data:`MACHINES`.
        snr_db: signal-to-noise ratios from :data:`SNR_DB`.
        source: address of the record's JSON, which has sizes, checksums and addresses of the archives.
        keep_archives: keep the zip files next to the unpacked folders.
        pause_s: pause before the second attempt after an interruption; it doubles after each.
        report: called with bytes during a download, and with files during unpacking.

    Returns:
        Names of the new folders, such as ``6_dB_fan``; empty if all existed.

    Raises:
        InvalidParameter: there is no such machine or ratio.
        DownloadFailed, DownloadDamaged: see :func:`~ml.dataset.download.fetching.fetch` and
            :func:`~ml.dataset.download.unpacking.unpack`.
        StorageFull: the disk has too little space for the archives and their content.
        MissingExtra: httpx is not installed.
    """
    folders = _folders(machines, snr_db)
    wanted = [folder for folder in folders if not (target / folder).is_dir()]
    for folder in set(folders) - set(wanted):
        _delete_parts(target, folder)
    if not wanted:
        return ()
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingExtra("Downloading", "train") from error
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(60.0, connect=15.0)) as client:
        chosen = _select_archives(list_archives(client, source), wanted, source)
        _require_room(target, list(chosen.values()), keep_archives=keep_archives)
        target.mkdir(parents=True, exist_ok=True)
        for folder, archive in chosen.items():
            # The name has the checksum, so that a part of one version is not completed with another version.
            part = target / f".{folder}.zip.{archive.md5[:8]}.part"
            _delete_parts(target, folder, keep=part)
            fetch(client, archive, part, pause_s=pause_s, report=report)
            _unpack_archive(part, target / folder, archive, keep=keep_archives, report=report)
    return tuple(wanted)


def _folders(machines: Sequence[str], snr_db: Sequence[float]) -> list[str]:
    for machine in machines:
        if machine not in MACHINES:
            raise InvalidParameter(f"MIMII has no machine {machine!r}; one of {', '.join(MACHINES)} was expected.")
    for ratio in snr_db:
        if ratio not in SNR_DB:
            raise InvalidParameter(f"MIMII has no recordings at {ratio:g} dB; 6, 0 or -6 was expected.")
    return list(dict.fromkeys(f"{ratio:g}_dB_{machine}" for machine in machines for ratio in snr_db))


def _select_archives(known: dict[str, Archive], folders: list[str], source: str) -> dict[str, Archive]:
    missing = [folder for folder in folders if f"{folder}.zip" not in known]
    if missing:
        raise DownloadFailed(
            f"The record {source} has no {missing[0]}.zip; it has {', '.join(sorted(known)) or 'none'}."
        )
    return {folder: known[f"{folder}.zip"] for folder in folders}


def _require_room(target: Path, chosen: list[Archive], *, keep_archives: bool) -> None:
    """Require space for all unpacked archives plus the largest archive; plus all archives if kept."""
    sizes = [archive.bytes for archive in chosen]
    parts = sum(path.stat().st_size for path in target.glob(".*.part"))
    packed = sum(sizes) if keep_archives else max(sizes)
    require_free_space(target, max(0, packed - parts) + round(UNPACKED_SHARE * sum(sizes)))


def _unpack_archive(part: Path, folder: Path, archive: Archive, *, keep: bool, report: ProgressCallback) -> None:
    try:
        unpack(part, folder, name=archive.name, report=report)
    except DownloadDamaged:  # unpacking it again would fail too
        part.unlink()
        raise
    if keep:
        part.rename(folder.with_name(archive.name))
    else:
        part.unlink()


def _delete_parts(target: Path, folder: str, keep: Path | None = None) -> None:
    """Delete parts of an archive from interrupted runs or other versions of it, except ``keep``."""
    for part in target.glob(f".{folder}.zip.*.part"):
        if part != keep:
            part.unlink()
