"""Simulation of a plan: recordings in MIMII's layout, with a manifest of their faults."""

import csv
import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.dataset.simulate.disturbances import PER_SESSION, disturb
from ml.dataset.simulate.factory import Hall, factory_noise
from ml.dataset.simulate.fan import Fan, OperatingState, fault_effects
from ml.dataset.simulate.plan import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, CleanRecording, SimulationPlan, label_of
from ml.dataset.simulate.signals import (
    TAPS,
    Draw,
    Waveform,
    convolve_room,
    db_to_amplitude,
    generator,
    rms,
    room_impulse_responses,
)
from ml.dataset.simulate.sound import fan_sound
from ml.dataset.simulate.sources import noise_of_sources, path_of_machine
from ml.errors import InvalidParameter
from ml.system.atomic import atomic_folder, require_free_space, require_vacant, write_atomic
from ml.system.parallel import ordered_map
from ml.system.progress import ProgressCallback, ignore_progress

MANIFEST = "manifest.csv"
COLUMNS = ("path", "label", "machine", "machine_id", "snr_db", "fault", "group")
MACHINE = "fan"
# The level of a file is drawn independently of the machine's state, so that it carries no information.
LEVEL_RANGE_DBFS = (-40.0, -22.0)
PEAK = 0.98


def simulate(
    target: Path,
    *,
    plan: SimulationPlan | None = None,
    seed: int = 0,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> Path:
    """Write simulated recordings of fans.

    ``target`` then contains ``6_dB_fan/fan/id_00/normal/00000000.wav`` and so on, as the archives of MIMII unpack, and
    ``manifest.csv`` with the columns :data:`COLUMNS`: ``fault`` is empty for a healthy machine, ``group`` is the
    recording session. A file has the same number and session in each SNR folder: the same machine sound with different
    noise. The folder appears complete or not at all. The same plan and seed give the same bytes, with any number of
    processes.

    Args:
        target: folder that does not exist or is empty.
        plan: what to simulate; None means the defaults of :class:`~ml.dataset.simulate.plan.SimulationPlan`.
        seed: 0 or more.
        processes: number of processes; None chooses by cores and recordings.
        report: called after each recording of a machine, which is one file per SNR.

    Returns:
        ``target``.

    Raises:
        InvalidParameter: ``target`` is in use, or the seed is negative.
        StorageFull: the disk has too little space.
        Cancelled: raised by ``report``; nothing is left on disk.
    """
    plan = plan or SimulationPlan()
    if seed < 0:
        raise InvalidParameter(f"Simulation: seed is {seed}; 0 or more was expected.")
    require_vacant(target)
    require_free_space(target, plan.bytes)
    clean_recordings = list(plan.clean_recordings())
    with atomic_folder(target) as folder:
        for parent in sorted({path.parent for recording in clean_recordings for path in _paths(plan, recording)}):
            (folder / parent).mkdir(parents=True)
        write = partial(_write_recordings, _SimulationContext(folder, plan, seed))
        for _ in ordered_map(write, clean_recordings, step="recordings", processes=processes, report=report):
            pass
        write_atomic(folder / MANIFEST, _manifest(plan, clean_recordings).encode())
    return target


@dataclass(frozen=True, slots=True)
class _SimulationContext:
    """Parameters of every recording; small, because they are sent to a process with each recording."""

    folder: Path
    plan: SimulationPlan
    seed: int


def _write_recordings(context: _SimulationContext, recording: CleanRecording) -> None:
    """Write one recording of the machine, once at each SNR."""
    plan = context.plan
    clean = _clean_sound(context, recording)
    noise_of = noise_of_sources if plan.reference else _noise_of_one_source
    for snr_db, path in zip(plan.snr_db, _paths(plan, recording), strict=True):
        key = _snr_key(snr_db)
        noise = noise_of(context.seed, plan, recording, key)
        noise *= np.float32(rms(clean[: plan.channels]) / rms(noise[: plan.channels]) / db_to_amplitude(snr_db))
        sound = _disturbed(context, recording, key, clean + noise)
        _write_wav(context.folder / path, _scale_to_level(sound, plan.channels, _level_dbfs(context, recording, key)))


def _noise_of_one_source(seed: int, plan: SimulationPlan, recording: CleanRecording, key: int) -> Waveform:
    """Return the noise of the hall from one place, ``(channels, samples)``."""
    hall_random = generator(seed, Draw.HALL, recording.machine)
    hall, to_microphones = Hall.draw(hall_random), room_impulse_responses(hall_random, plan.channels, TAPS)
    random = generator(seed, Draw.NOISE, recording.machine, recording.session, recording.index, key)
    return convolve_room(factory_noise(hall, plan.samples + TAPS, random), to_microphones)


def _clean_sound(context: _SimulationContext, recording: CleanRecording) -> Waveform:
    """Return the sound of the machine alone at each microphone, ``(microphones, samples)``."""
    plan, seed = context.plan, context.seed
    line_hz = float(generator(seed, Draw.SITE).choice([50, 60]))
    fan_random = generator(seed, Draw.FAN, recording.machine)
    fan, room = Fan.draw(fan_random, line_hz), room_impulse_responses(fan_random, plan.channels, TAPS)
    # The recordings of a session are evenly spaced in time.
    moment = recording.index / max(plan.recordings - 1, 1)
    state = OperatingState.draw(
        generator(seed, Draw.SESSION, recording.machine, recording.session), moment, plan.severity
    )
    random = generator(seed, Draw.RECORDING, recording.machine, recording.session, recording.index)
    sound = fan_sound(fan, state, fault_effects(recording.fault, state.severity), plan.samples + TAPS, random)
    at_machine = convolve_room(sound, room)
    if not plan.reference:
        return at_machine
    at_reference = convolve_room(sound, path_of_machine(seed, plan, recording))
    at_reference *= np.float32(db_to_amplitude(plan.bleed_db) * rms(at_machine) / rms(at_reference))
    return np.concatenate([at_machine, at_reference])


def _disturbed(context: _SimulationContext, recording: CleanRecording, key: int, sound: Waveform) -> Waveform:
    """Return the sound with the disturbance of the plan, ``(microphones, samples)``."""
    name = context.plan.disturbance
    if name is None:
        return sound
    of_recording = () if name in PER_SESSION else (recording.index, key)
    random = generator(context.seed, Draw.DISTURBANCE, recording.machine, recording.session, *of_recording)
    return disturb(sound.T, name, random).T


def _snr_key(snr_db: float) -> int:
    """Return the SNR as a key, so that noise does not depend on the other SNRs of the plan."""
    return round((snr_db + 1000) * 1000)


def _level_dbfs(context: _SimulationContext, recording: CleanRecording, key: int) -> float:
    """Return the level of a recording. Each session covers the whole range evenly, in random order."""
    random = generator(context.seed, Draw.LEVEL, recording.machine, recording.session, key)
    count = context.plan.recordings
    steps = random.permutation(count) + random.uniform(size=count)
    return float(np.interp(steps[recording.index] / count, [0, 1], LEVEL_RANGE_DBFS))


def _scale_to_level(sound: Waveform, channels: int, level_dbfs: float) -> NDArray[np.int16]:
    """Scale the mean of the first channels to a level, or to the highest level at which no peak is clipped."""
    at_machine = sound[:channels].mean(axis=0)
    gain = min(db_to_amplitude(level_dbfs) / rms(at_machine), PEAK / float(np.abs(sound).max()))
    return np.asarray(np.rint(sound * np.float32(gain * 32_767)), "<i2")


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((len(samples), BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, samples.shape[1], "NONE", "not compressed"))
        file.writeframes(samples.T.tobytes())


def _paths(plan: SimulationPlan, recording: CleanRecording) -> Iterator[Path]:
    """Return the paths of a recording, one for each SNR, relative to the dataset."""
    within = Path(MACHINE, _id(recording), label_of(recording.fault), f"{recording.number:08d}.wav")
    return (Path(f"{snr_db:g}_dB_{MACHINE}") / within for snr_db in plan.snr_db)


def _id(recording: CleanRecording) -> str:
    return f"id_{recording.machine:02d}"


def _manifest(plan: SimulationPlan, clean_recordings: list[CleanRecording]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for position, snr_db in enumerate(plan.snr_db):
        for recording in clean_recordings:
            path = list(_paths(plan, recording))[position].as_posix()
            group = f"{MACHINE}/{_id(recording)}/s{recording.session:02d}"
            label = label_of(recording.fault)
            writer.writerow([path, label, MACHINE, _id(recording), f"{snr_db:g}", recording.fault or "", group])
    return text.getvalue()
