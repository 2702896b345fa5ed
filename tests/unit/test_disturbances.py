"""Disturbances of a pair of microphones: each changes the samples as its name has it, and nothing else."""

from typing import Any

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from ml.dataset.simulate import disturbances
from ml.dataset.simulate.disturbances import disturb
from ml.dataset.simulate.plan import DISTURBANCES
from ml.dataset.simulate.signals import coloured_noise, generator, rms
from ml.errors import InvalidParameter

RATE_HZ = 16_000


def level_db(sound: NDArray[Any]) -> float:
    return float(20 * np.log10(rms(sound)))


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


def test_a_disturbance_of_one_channel_or_of_another_name_is_refused(pair: NDArray[Any]) -> None:
    """The message has the shape, or the known names."""
    with pytest.raises(InvalidParameter, match=r"shape \(32000, 1\); \(frames, 2 or more channels\) was expected"):
        disturb(pair[:, :1], "dead", generator(1))
    with pytest.raises(InvalidParameter, match=r"'thunder'; one of gain_1_db, .* was expected"):
        disturb(pair, "thunder", generator(1))  # type: ignore[arg-type]  # a wrong name is the point
