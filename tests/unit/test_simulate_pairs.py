"""Simulated pairs of microphones: the claims of ``docs/simulation.md`` are in the samples."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.signals import rms
from ml.dataset.simulate.simulator import simulate
from ml.dataset.simulate.sources import noise_by_source
from ml.errors import InvalidParameter

RATE_HZ = 16_000
ONE = SimulationPlan(machines=1, sessions=1, recordings=1, snr_db=(-6.0,), duration_s=2.0)
PAIR = replace(ONE, reference=True)


def recordings(folder: Path) -> dict[str, NDArray[Any]]:
    """The samples of every recording by its path within the dataset, each ``(frames, channels)``."""
    return {
        path.relative_to(folder).as_posix(): soundfile.read(path, always_2d=True)[0]
        for path in sorted(folder.rglob("*.wav"))
    }


def simulated(folder: Path, plan: SimulationPlan, seed: int = 0) -> list[NDArray[Any]]:
    return list(recordings(simulate(folder, plan=plan, seed=seed, processes=1)).values())


def level_db(sound: NDArray[Any]) -> float:
    return float(20 * np.log10(rms(sound)))


def share(sound: NDArray[Any], part: NDArray[Any]) -> float:
    """Gain at which a part is in a sound, by least squares."""
    return float(sound @ part / (part @ part))


# --- the pair


def test_the_reference_is_one_more_channel(tmp_path: Path) -> None:
    """It is the last one, after those at the machine, and the plan knows the size of the files."""
    plan = replace(PAIR, channels=3)
    folder = simulate(tmp_path / "fans", plan=plan)
    assert {sound.shape for sound in recordings(folder).values()} == {(plan.samples, 4)}
    assert sum(path.stat().st_size for path in folder.rglob("*.wav")) == plan.bytes


def test_plans_without_a_reference_make_the_same_recordings_as_before(tmp_path: Path) -> None:
    """Samples of the first recording, as written before pairs existed; processors differ by one quantisation step."""
    first = simulated(tmp_path / "fans", replace(ONE, channels=2, duration_s=1.0))[0]
    before = np.array([[-2346, -2057], [1580, 1325], [522, -752]])
    assert np.abs(np.round(first[[100, 5000, 15_000]] * 32_768) - before).max() <= 1


@pytest.mark.parametrize("bleed_db", [-10.0, 0.0])
def test_the_machine_reaches_the_reference_at_the_level_of_the_plan(tmp_path: Path, bleed_db: float) -> None:
    """Without noise, the level of the reference relative to the other channels is the bleed."""
    for number, sound in enumerate(simulated(tmp_path / "fans", replace(PAIR, snr_db=(60.0,), bleed_db=bleed_db))):
        assert level_db(sound[:, 1]) - level_db(sound[:, 0]) == pytest.approx(bleed_db, abs=0.1), number


def test_the_default_bleed_is_20_db(tmp_path: Path) -> None:
    """The reference has far more of the hall than of the machine."""
    for sound in simulated(tmp_path / "fans", replace(PAIR, snr_db=(60.0,))):
        assert level_db(sound[:, 1]) - level_db(sound[:, 0]) == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("snr_db", [-6.0, 6.0])
def test_the_snr_is_that_of_the_main_channel(tmp_path: Path, snr_db: float) -> None:
    """The machine at a high SNR is the same as at this one, so the rest of the main channel is the noise."""
    noisy, clean = (simulated(tmp_path / f"{at}", replace(PAIR, snr_db=(at,), recordings=3)) for at in (snr_db, 60.0))
    found = []
    for sound, machine in zip(noisy, clean, strict=True):
        part = share(sound[:, 0], machine[:, 0]) * machine[:, 0]
        found.append(level_db(part) - level_db(sound[:, 0] - part))
    # Tones of machine and noise agree a little by chance, in both directions.
    assert np.mean(found) == pytest.approx(snr_db, abs=0.3)


def test_the_machine_at_the_main_channel_is_the_same_without_a_reference(tmp_path: Path) -> None:
    """One more microphone changes nothing at the machine."""
    plan = replace(ONE, snr_db=(60.0,))
    alone, pairs = simulated(tmp_path / "a", plan), simulated(tmp_path / "b", replace(plan, reference=True))
    for one, two in zip(alone, pairs, strict=True):
        assert np.corrcoef(one[:, 0], two[:, 0])[0, 1] > 0.999


def test_the_level_of_the_file_is_that_of_the_main_channel(tmp_path: Path) -> None:
    """The reference has no part in the drawn level: a loud hall does not make the machine quiet."""
    for sound in simulated(tmp_path / "fans", replace(PAIR, recordings=4)):
        assert -41 < level_db(sound[:, 0]) < -21


# --- the noise


def sources_of(session: int = 0, index: int = 0, plan: SimulationPlan = PAIR) -> list[NDArray[Any]]:
    """The noise of each source at both places, ``(2, samples)``."""
    every = [each for each in plan.clean_recordings() if (each.session, each.index) == (session, index)]
    return noise_by_source(0, plan, every[0], 0)


def test_the_sources_of_noise_are_independent() -> None:
    """No two sources have a part in common, but each reaches both places."""
    at_main = np.array([each[0] for each in sources_of(plan=replace(PAIR, duration_s=10.0))])
    assert len(at_main) >= 4
    between = np.corrcoef(at_main)[np.triu_indices(len(at_main), 1)]
    assert np.abs(between).max() < 0.15


def response_db(main: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """Spectrum of the reference relative to that of the main channel."""
    powers = [scipy.signal.welch(sound, RATE_HZ, nperseg=512)[1] for sound in (main, reference)]
    return np.asarray(10 * np.log10(powers[1] / powers[0]))


def test_each_source_reaches_the_two_places_by_its_own_path() -> None:
    """Level, delay and response between the places differ from source to source; the sound is the same."""
    delays, differences, responses = set(), [], []
    for main, reference in sources_of():
        crossed = scipy.signal.correlate(reference, main, method="fft")
        delays.add(int(np.abs(crossed).argmax()) - len(main) + 1)
        differences.append(level_db(reference) - level_db(main))
        responses.append(response_db(main, reference))
        assert np.abs(crossed).max() / np.sqrt(np.sum(main**2) * np.sum(reference**2)) > 0.3
    assert max(map(abs, delays)) < RATE_HZ // 50
    assert len(delays) == len(differences)
    assert np.ptp(differences) > 1
    assert np.std(responses, axis=1).min() > 1
    assert np.corrcoef(responses)[np.triu_indices(len(responses), 1)].max() < 0.7


def test_the_machine_reaches_the_reference_by_its_own_path(tmp_path: Path) -> None:
    """The room changes its spectrum, so the reference is no copy of the main channel."""
    for sound in simulated(tmp_path / "fans", replace(PAIR, snr_db=(60.0,), bleed_db=0.0)):
        assert np.std(response_db(sound[:, 0], sound[:, 1])) > 1


def test_the_mixture_changes_with_session_and_recording() -> None:
    """Octave bands of the noise change by some dB between sessions, and less between recordings of one."""

    def bands_db(session: int, index: int) -> NDArray[Any]:
        plan = replace(PAIR, sessions=4, recordings=4)
        noise = np.sum(sources_of(session, index, plan), axis=0)[0]
        power = scipy.signal.welch(noise, RATE_HZ, nperseg=1024)[1]
        octaves = [power[4 * 2**k : 8 * 2**k].mean() for k in range(6)]
        return np.asarray(10 * np.log10(octaves / np.mean(octaves)))

    table = np.array([[bands_db(session, index) for index in range(4)] for session in range(12)])
    within, between = table.std(axis=1, ddof=1).mean(), table.mean(axis=1).std(axis=0, ddof=1).mean()
    assert 1 < between < 6
    assert 0.5 < within < 4


def test_the_reference_moves_between_sessions_only_if_the_plan_has_it() -> None:
    """The level of a source at the reference relative to the main channel is fixed, or fixed for a session."""

    def differences(plan: SimulationPlan, session: int, index: int) -> NDArray[Any]:
        return np.array([level_db(r) - level_db(m) for m, r in sources_of(session, index, plan)])

    fixed = replace(PAIR, sessions=2, recordings=2)
    moving = replace(fixed, reference_moves=True)
    # Impacts are short and their spectrum is drawn, so their level depends a little on the recording.
    assert np.abs(differences(fixed, 0, 0) - differences(fixed, 3, 1))[:-1].max() < 1.5
    assert np.abs(differences(moving, 0, 0) - differences(moving, 0, 1))[:-1].max() < 1.5
    assert np.abs(differences(moving, 0, 0) - differences(moving, 3, 1))[:-1].max() > 2


# --- a seed is a dataset


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.wav")))).hexdigest()


def test_the_same_seed_makes_the_same_pairs_in_any_number_of_processes(tmp_path: Path) -> None:
    """Also with a disturbance; another seed makes others."""
    plan = replace(PAIR, duration_s=1.0, disturbance="clock")
    one, two = (digest(simulate(tmp_path / f"{n}", plan=plan, processes=n)) for n in (1, 2))
    assert one == two != digest(simulate(tmp_path / "other", plan=plan, seed=1))


@pytest.mark.parametrize("name", ["missing", "swapped"])
def test_a_plan_disturbs_its_recordings(tmp_path: Path, name: Any) -> None:
    """The files have the disturbance, the noise is the same as without it."""
    plain = simulated(tmp_path / "plain", replace(PAIR, duration_s=1.0))
    found = simulated(tmp_path / "disturbed", replace(PAIR, duration_s=1.0, disturbance=name))
    for one, two in zip(plain, found, strict=True):
        main = two[:, 0] if name == "missing" else two[:, 1]
        assert two.shape[1] == (1 if name == "missing" else 2)
        assert np.corrcoef(one[:, 0], main)[0, 1] > 0.999


# --- refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": True, "bleed_db": 1.0}, r"bleed_db is 1\.0; -60 to 0 was expected"),
        ({"reference": True, "bleed_db": -61.0}, "bleed_db is -61.0; -60 to 0 was expected"),
        ({"reference": True, "bleed_db": float("nan")}, "bleed_db is nan; -60 to 0 was expected"),
        ({"reference": True, "disturbance": "thunder"}, "disturbance is 'thunder'; one of gain_1_db, .* was expected"),
        ({"bleed_db": -10.0}, r"bleed_db is -10\.0 without a reference; a plan with a reference was expected"),
        ({"reference_moves": True}, "reference_moves is True without a reference; .* was expected"),
        ({"disturbance": "dead"}, "disturbance is 'dead' without a reference; .* was expected"),
    ],
)
def test_an_invalid_pair_is_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the option and the expected value."""
    with pytest.raises(InvalidParameter, match=rf"^Simulation: {message}\.$"):
        replace(SimulationPlan(), **changes)
