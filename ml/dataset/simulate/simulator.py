"""From a plan to a folder of recordings in MIMII's layout, with a manifest that says what was wrong."""

import csv
import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.dataset.simulate.factory import Hall, factory_noise
from ml.dataset.simulate.fan import Fan, OperatingState, fault_effects
from ml.dataset.simulate.plan import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, CleanRecording, SimulationPlan, label_of
from ml.dataset.simulate.signals import Waveform, convolve_room, db_to_amplitude, generator, rms, room_impulse_responses
from ml.dataset.simulate.sound import fan_sound
from ml.errors import InvalidParameter
from ml.system.atomic import atomic_folder, require_free_space, require_vacant, write_atomic
from ml.system.parallel import ordered_map
from ml.system.progress import ProgressCallback, ignore_progress

MANIFEST = "manifest.csv"
COLUMNS = ("path", "label", "machine", "machine_id", "snr_db", "fault", "group")
MACHINE = "fan"
TAPS = SAMPLE_RATE_HZ // 4
# The level of a file is drawn, whatever the machine does: nothing can be told from it.
LEVEL_RANGE_DBFS = (-40.0, -22.0)
PEAK = 0.98
# First word of each key, so that no two kinds of draw share a stream.
_SITE, _FAN, _HALL, _SESSION, _TAKE, _NOISE, _LEVEL = range(7)


def simulate(
    target: Path,
    *,
    plan: SimulationPlan | None = None,
    seed: int = 0,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Path:
    """Record fans that never existed.

    ``target`` then holds ``6_dB_fan/fan/id_00/normal/00000000.wav`` and so on, as the archives of MIMII unpack, and
    ``manifest.csv`` with the columns :data:`COLUMNS`: ``fault`` is empty for a healthy machine, ``group`` is the
    recording session. A file has the same number and group in each SNR folder: the same machine under other noise.
    The folder appears whole or not at all. The same plan and seed give the same bytes, in however many processes.

    Args:
        target: a folder that does not exist or is empty.
        plan: what to record; :class:`Plan`'s defaults if left out.
        seed: 0 or more.
        processes: how many work at it; as many as are worth it if left out.
        report: told after each recording of a machine (each makes a file per SNR).

    Returns:
        ``target``.

    Raises:
        InvalidParameter: ``target`` is in use, or the seed is negative.
        StorageFull: the disk has no room for it.
        Cancelled: from ``report``; nothing is left behind.
    """
    plan = plan or SimulationPlan()
    if seed < 0:
        raise InvalidParameter(f"Simulation: seed is {seed}; 0 or more was expected.")
    require_vacant(target)
    require_free_space(target, plan.bytes)
    takes = list(plan.clean_recordings())
    with atomic_folder(target) as aside:
        for folder in sorted({path.parent for take in takes for path in _paths(plan, take)}):
            (aside / folder).mkdir(parents=True)
        record = partial(_write_recordings, _SimulationContext(aside, plan, seed))
        for _ in ordered_map(record, takes, step="recordings", processes=processes, report=report):
            pass
        write_atomic(aside / MANIFEST, _manifest(plan, takes).encode())
    return target


@dataclass(frozen=True, slots=True)
class _SimulationContext:
    """What every recording needs to know; small, as it travels to each process with each of them."""

    folder: Path
    plan: SimulationPlan
    seed: int


def _write_recordings(studio: _SimulationContext, take: CleanRecording) -> None:
    """Write one recording of the machine, once under each noise."""
    plan = studio.plan
    clean = _clean(studio, take)
    place = generator(studio.seed, _HALL, take.machine)
    hall, to_microphones = Hall.draw(place), room_impulse_responses(place, plan.channels, TAPS)
    for snr_db, path in zip(plan.snr_db, _paths(plan, take), strict=True):
        key = _key(snr_db)
        random = generator(studio.seed, _NOISE, take.machine, take.session, take.index, key)
        noise = convolve_room(factory_noise(hall, plan.samples + TAPS, random), to_microphones)
        noise *= np.float32(rms(clean) / rms(noise) / db_to_amplitude(snr_db))
        _write(studio.folder / path, _at_level(clean + noise, _level_dbfs(studio, take, key)))


def _clean(studio: _SimulationContext, take: CleanRecording) -> Waveform:
    """The machine alone, as each microphone hears it, ``(channels, samples)``."""
    plan, seed = studio.plan, studio.seed
    line_hz = float(generator(seed, _SITE).choice([50, 60]))
    building = generator(seed, _FAN, take.machine)
    fan, room = Fan.draw(building, line_hz), room_impulse_responses(building, plan.channels, TAPS)
    # A session is a stretch of time: its recordings stand at even distances in it.
    moment = take.index / max(plan.recordings - 1, 1)
    day = OperatingState.draw(generator(seed, _SESSION, take.machine, take.session), moment, plan.severity)
    random = generator(seed, _TAKE, take.machine, take.session, take.index)
    sound = fan_sound(fan, day, fault_effects(take.fault, day.severity), plan.samples + TAPS, random)
    return convolve_room(sound, room)


def _key(snr_db: float) -> int:
    """Noise depends on the ratio, not on its place in the plan: +6 dB stays the same whatever else is asked for."""
    return round((snr_db + 1000) * 1000)


def _level_dbfs(studio: _SimulationContext, take: CleanRecording, key: int) -> float:
    """How loud this recording is. Each session covers the whole range evenly, in an order that is drawn."""
    random = generator(studio.seed, _LEVEL, take.machine, take.session, key)
    recordings = studio.plan.recordings
    steps = random.permutation(recordings) + random.uniform(size=recordings)
    return float(np.interp(steps[take.index] / recordings, [0, 1], LEVEL_RANGE_DBFS))


def _at_level(sound: Waveform, level_dbfs: float) -> NDArray[np.int16]:
    """Scale so that the mean of the channels has this RMS, unless a peak would clip; then as loud as it may be."""
    gain = min(db_to_amplitude(level_dbfs) / rms(sound.mean(axis=0)), PEAK / float(np.abs(sound).max()))
    return np.asarray(np.rint(sound * np.float32(gain * 32_767)), "<i2")


def _write(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((len(samples), BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, samples.shape[1], "NONE", "not compressed"))
        file.writeframes(samples.T.tobytes())


def _paths(plan: SimulationPlan, take: CleanRecording) -> Iterator[Path]:
    """Where a recording goes, one path for each SNR, relative to the dataset."""
    within = Path(MACHINE, _id(take), label_of(take.fault), f"{take.number:08d}.wav")
    return (Path(f"{snr_db:g}_dB_{MACHINE}") / within for snr_db in plan.snr_db)


def _id(take: CleanRecording) -> str:
    return f"id_{take.machine:02d}"


def _manifest(plan: SimulationPlan, takes: list[CleanRecording]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, snr_db in enumerate(plan.snr_db):
        for take in takes:
            path = list(_paths(plan, take))[place].as_posix()
            group = f"{MACHINE}/{_id(take)}/s{take.session:02d}"
            label = label_of(take.fault)
            writer.writerow([path, label, MACHINE, _id(take), f"{snr_db:g}", take.fault or "", group])
    return text.getvalue()
