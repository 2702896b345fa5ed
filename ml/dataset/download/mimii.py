"""MIMII: recordings of industrial fans, pumps, sliders and valves, healthy and not, under factory noise.

H. Purohit et al., "MIMII Dataset: Sound Dataset for Malfunctioning Industrial Machine Investigation and Inspection",
2019, https://doi.org/10.5281/zenodo.3384388, CC BY-SA 4.0. One archive for each machine and signal-to-noise ratio.
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
# An unpacked archive is a little larger than itself (noise hardly packs); how much is known once it is here.
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
    """Fetch and unpack what is not there yet, as ``target/6_dB_fan/fan/id_00/normal/00000000.wav``.

    A run that was stopped, however, leaves at most a hidden ``.part`` file with which the next goes on.

    Args:
        target: the folder for all archives.
        machines: of :data:`MACHINES`.
        snr_db: of :data:`SNR_DB`.
        source: address of the record's JSON; sizes, checksums and addresses of the archives come from there.
        keep_archives: keep the zip files beside what was unpacked.
        pause_s: before a broken connection is tried anew; it doubles from then on.
        report: told in bytes while an archive comes, and in files while it is unpacked.

    Returns:
        names of the folders that are new, such as ``6_dB_fan``; empty if all were there.

    Raises:
        InvalidParameter: no such machine or ratio.
        DownloadFailed, DownloadDamaged: see :func:`~ml.dataset.download.fetching.fetch` and
            :func:`~ml.dataset.download.unpacking.unpack`.
        StorageFull: there is no room for the archives and what they hold.
        MissingExtra: httpx is not installed.
    """
    folders = _folders(machines, snr_db)
    wanted = [folder for folder in folders if not (target / folder).is_dir()]
    for folder in set(folders) - set(wanted):
        _clear(target, folder)
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
            # The checksum in its name: what is left of one version is not gone on with by another.
            part = target / f".{folder}.zip.{archive.md5[:8]}.part"
            _clear(target, folder, but=part)
            fetch(client, archive, part, pause_s=pause_s, report=report)
            _open_up(part, target / folder, archive, keep=keep_archives, report=report)
    return tuple(wanted)


def _folders(machines: Sequence[str], snr_db: Sequence[float]) -> list[str]:
    for machine in machines:
        if machine not in MACHINES:
            raise InvalidParameter(f"MIMII has no machine {machine!r}; {', '.join(MACHINES)} was expected.")
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
    """Archives come one after the other: the largest lies beside what all of them unpack to."""
    sizes = [archive.bytes for archive in chosen]
    parts = sum(path.stat().st_size for path in target.glob(".*.part"))
    packed = sum(sizes) if keep_archives else max(sizes)
    require_free_space(target, max(0, packed - parts) + round(UNPACKED_SHARE * sum(sizes)))


def _open_up(part: Path, folder: Path, archive: Archive, *, keep: bool, report: ProgressCallback) -> None:
    try:
        unpack(part, folder, name=archive.name, report=report)
    except DownloadDamaged:  # it would not unpack the next time either
        part.unlink()
        raise
    if keep:
        part.rename(folder.with_name(archive.name))
    else:
        part.unlink()


def _clear(target: Path, folder: str, but: Path | None = None) -> None:
    """Remove what a killed run, or one of another version of the record, left of an archive."""
    for part in target.glob(f".{folder}.zip.*.part"):
        if part != but:
            part.unlink()
