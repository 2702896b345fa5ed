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

from ml.dataset.simulate import disturbances
from ml.dataset.simulate.disturbances import disturb
from ml.dataset.simulate.plan import DISTURBANCES, SimulationPlan
from ml.dataset.simulate.signals import coloured_noise, generator, rms
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


def test_each_source_reaches_the_two_places_by_its_own_path() -> None:
    """Level and delay between the places differ from source to source; the sound is the same."""
    delays, differences = set(), []
    for main, reference in sources_of():
        crossed = scipy.signal.correlate(reference, main, method="fft")
        found = int(np.abs(crossed).argmax()) - len(main) + 1
        delays.add(found)
        differences.append(level_db(reference) - level_db(main))
        assert np.abs(crossed).max() / np.sqrt(np.sum(main**2) * np.sum(reference**2)) > 0.3
    assert max(map(abs, delays)) < RATE_HZ // 50
    assert len(delays) == len(differences)
    assert np.ptp(differences) > 1


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


# --- disturbances


@pytest.fixture(scope="module")
def pair() -> NDArray[Any]:
    """Two channels with some noise in common, RMS about 0.1, 2 s."""
    random = generator(3)
    common, one, two = (coloured_noise(random, 2 * RATE_HZ, np.linspace(0, -30, 17)) for _ in range(3))
    return np.float32(0.1) * np.array([one + common, two + common]).T


@pytest.mark.parametrize("name", DISTURBANCES)
def test_each_disturbance_changes_a_copy_and_its_seed_decides_it(pair: NDArray[Any], name: Any) -> None:
    """The given samples stay, the type stays, the main channel stays unless the name has it otherwise."""
    before = pair.copy()
    results = [disturb(pair, name, generator(9, seed)) for seed in (1, 1)]
    assert np.array_equal(pair, before)
    assert np.array_equal(results[0], results[1])
    assert results[0].dtype == pair.dtype
    assert len(results[0]) == len(pair)
    if name not in ("swapped", "independent_noise"):
        assert np.array_equal(results[0][:, 0], pair[:, 0])
    changed = [disturb(pair, name, generator(9, seed)) for seed in range(6)]
    assert any(each.shape != pair.shape or not np.array_equal(each, pair) for each in changed)


def test_gain_drift_is_linear_in_db(pair: NDArray[Any]) -> None:
    """From the first sample to the last."""
    gain = disturbances.gain_drift(pair, 1.0, -3.0)[:, 1] / pair[:, 1]
    assert 20 * np.log10(gain[[0, len(pair) // 2, -1]]) == pytest.approx([1, -1, -3], abs=1e-3)


def test_bleed_adds_the_main_channel_at_its_level(pair: NDArray[Any]) -> None:
    """At 0 dB, the machine is as loud at the reference as at the main channel."""
    for db in (-20.0, 0.0):
        added = disturbances.bleed(pair, db)[:, 1] - pair[:, 1]
        assert level_db(added) - level_db(pair[:, 0]) == pytest.approx(db, abs=0.01)


@pytest.mark.parametrize("tone_hz", [300.0, 6000.0])
def test_clocks_differ_by_an_offset_and_a_rate(tone_hz: float) -> None:
    """A tone is shifted by the offset at the start, and by the rate times the duration more at the end."""
    t = np.arange(10 * RATE_HZ) / RATE_HZ
    tones = np.array([np.sin(2 * np.pi * tone_hz * t)] * 2).T
    found = disturbances.clock_drift(tones, 0.03, 50)[:, 1]
    expected = np.sin(2 * np.pi * tone_hz * (t * (1 + 50e-6) + 0.03))
    inside = slice(RATE_HZ, -RATE_HZ)
    assert np.sqrt(np.mean((found - expected)[inside] ** 2)) < 0.06
    assert np.all(np.isfinite(found))


def test_a_clock_before_the_first_sample_has_no_silence(pair: NDArray[Any]) -> None:
    """The missing 50 ms are no gap, which would be another fault."""
    for offset_s in (-0.05, 0.05):
        drifted = disturbances.clock_drift(pair, offset_s, 0)[:, 1]
        for edge in (drifted[:800], drifted[-800:]):
            assert level_db(edge) > level_db(pair[:, 1]) - 10


def test_a_moved_reference_has_another_response_and_level(pair: NDArray[Any]) -> None:
    """Octave bands change by different amounts."""
    power = [
        scipy.signal.welch(each[:, 1], RATE_HZ, nperseg=512)[1]
        for each in (pair, disturb(pair, "moved", generator(1)), disturb(pair, "moved", generator(2)))
    ]
    for change in (power[1] / power[0], power[2] / power[0], power[2] / power[1]):
        assert np.ptp(10 * np.log10([change[2 * 2**k : 4 * 2**k].mean() for k in range(6)])) > 1


def test_noise_near_the_reference_is_only_there(pair: NDArray[Any]) -> None:
    """It has the level that was asked for, and nothing in common with the main channel."""
    added = disturbances.reference_noise(pair, 6.0, generator(1))[:, 1] - pair[:, 1]
    assert level_db(added) - level_db(pair[:, 1]) == pytest.approx(6, abs=1)
    assert abs(np.corrcoef(added, pair[:, 0])[0, 1]) < 0.15


def test_independent_noise_is_independent(pair: NDArray[Any]) -> None:
    """Each channel has its own, relative to its own level."""
    added = disturbances.independent_noise(pair, -10.0, generator(1)) - pair
    assert [level_db(a) - level_db(p) for a, p in zip(added.T, pair.T, strict=True)] == pytest.approx(
        [-10] * 2, abs=0.2
    )
    assert abs(np.corrcoef(added.T)[0, 1]) < 0.03


def test_missing_dead_disconnected_swapped_and_duplicated_references(pair: NDArray[Any]) -> None:
    """What the names have."""
    assert np.array_equal(disturbances.missing(pair), pair[:, :1])
    assert not disturbances.dead(pair)[:, 1].any()
    disconnected = disturbances.disconnected(pair, -50.0, generator(1))[:, 1]
    assert level_db(disconnected) - level_db(pair[:, 1]) == pytest.approx(-50, abs=0.2)
    assert np.array_equal(disturbances.swapped(pair), pair[:, ::-1])
    assert np.array_equal(disturbances.duplicated(pair), pair[:, [0, 0]])
    array = np.hstack([pair[:, :1], 2 * pair[:, :1], pair[:, 1:]])
    assert np.array_equal(disturbances.swapped(array), array[:, [2, 1, 0]])


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


def test_a_disturbance_of_one_channel_or_of_another_name_is_refused(pair: NDArray[Any]) -> None:
    """The message has the shape, or the known names."""
    with pytest.raises(InvalidParameter, match=r"shape \(32000, 1\); \(frames, 2 or more channels\) was expected"):
        disturb(pair[:, :1], "dead", generator(1))
    with pytest.raises(InvalidParameter, match=r"'thunder'; one of gain_1_db, .* was expected"):
        disturb(pair, "thunder", generator(1))  # type: ignore[arg-type]  # a wrong name is the point
