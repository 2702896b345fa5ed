"""Detectors of several machines: the engine `discriminant`, and which engines are left out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.engine_choice import LEAST_CONTRAST
from ml.detectors.engines.discriminant import Discriminant
from ml.detectors.engines.gaussian import SpectrumGaussian
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra
from ml.features.spec import FeatureSpec
from ml.training.card import detector_facts

SPEC = FeatureSpec(sample_rate_hz=16_000, clip_frames=20, n_fft=1024, n_mels=64, fmax_hz=8000.0, dynamic_range_db=None)
BANDS, MACHINES, CLIPS = 256, 4, 12
TONE_DB = 12.0


def clip(fine_db: NDArray[np.float64], tilt_db: float = 0.0) -> Spectra:
    """A clip with this level in each narrow band, and a tilt of its mel spectrum."""
    power = np.concatenate([[1.0], np.repeat(10 ** (fine_db / 10), 2)]).astype(np.float32)
    mel = np.tile(np.linspace(-tilt_db, tilt_db, SPEC.n_mels, dtype=np.float32), (SPEC.clip_frames, 1))
    return Spectra(mel, power)


def machine_clip(machine: int, seed: int, tilt_db: float = 0.0, tone_db: float = TONE_DB) -> Spectra:
    """A machine has tones of its own; the noise around them differs from clip to clip."""
    fine_db = np.random.default_rng(seed).normal(0, 2, BANDS)
    fine_db[10 * machine : 200 : 40] += tone_db
    return clip(fine_db, tilt_db)


def hall(spread_db: float) -> list[NormalRecording]:
    """Recordings of a hall whose noise tilts the mel spectrum by so much, at random; the machines tilt it by 4 dB."""
    tilts = np.random.default_rng(0).normal(0, spread_db, (MACHINES, CLIPS))
    return [
        NormalRecording(
            (machine_clip(machine, 100 * machine + number, 4.0 * machine + tilts[machine, number]),),
            f"fan/id_{machine:02d}",
            f"day {number // 4}",
        )
        for machine in range(MACHINES)
        for number in range(CLIPS)
    ]


def fit(recordings: list[NormalRecording]) -> Detector:
    """Fit the default detector."""
    return fit_detector(SPEC, [engine_by_name(name) for name in DEFAULT_ENGINES], recordings)


def test_with_one_machine_it_is_the_spectrum_gaussian() -> None:
    """There are no directions between machines."""
    clips, machines = [machine_clip(0, seed) for seed in range(9)], np.zeros(8, np.int64)
    engines = (Discriminant(), SpectrumGaussian())
    distances = [engine.distances(engine.fit(clips[:8], machines), clips[8]) for engine in engines]
    np.testing.assert_array_equal(*distances)


@pytest.mark.parametrize(
    ("changed", "stronger"),
    [(lambda: machine_clip(0, 999, tone_db=0.0), True), (lambda: clip(hall_noise_only()), False)],
    ids=["the machine's own tones fade", "noise that no machine has"],
)
def test_a_change_in_which_machines_differ_counts_more(changed: Callable[[], Spectra], stronger: bool) -> None:
    """Both are far from normal; relative to the distance in all directions, the former is farther."""
    clips = [machine_clip(machine, 100 * machine + number) for machine in range(MACHINES) for number in range(CLIPS)]
    machines = np.repeat(np.arange(MACHINES), CLIPS)
    ratio = []
    for engine in (Discriminant(), SpectrumGaussian()):
        state = engine.fit(clips, machines)
        usual = np.mean([engine.distances(state, machine_clip(0, seed))[0] for seed in range(2000, 2010)])
        ratio.append(engine.distances(state, changed())[0] / usual)
    assert (ratio[0] > ratio[1]) == stronger
    assert min(ratio) > 1


def hall_noise_only() -> NDArray[np.float64]:
    """The tones of machine 0, and a loud noise in bands where no machine has a tone."""
    fine_db = np.random.default_rng(999).normal(0, 2, BANDS)
    fine_db[:200:40] += TONE_DB
    fine_db[210:240] += 15
    return fine_db


@pytest.mark.parametrize(
    ("spread_db", "engines"), [(0.5, ["discriminant", "distance"]), (30.0, ["discriminant"])], ids=["quiet", "loud"]
)
def test_an_engine_that_cannot_tell_machines_apart_is_left_out(spread_db: float, engines: list[str]) -> None:
    """In a loud hall the mel spectrum is that of the hall. The card and the bundle state the contrast of both."""
    detector = fit(hall(spread_db))
    facts = detector_facts(detector)
    assert facts["engines"] == engines == [engine.name for engine in detector.engines]
    assert detector.scales.shape == (len(engines), MACHINES)
    assert {name: each >= LEAST_CONTRAST for name, each in facts["contrast"].items()} == {
        name: name in engines for name in DEFAULT_ENGINES
    }
    again = detector_from_bytes(*detector_to_bytes(detector))
    new = machine_clip(1, 999, 4.0)
    assert (again.contrast, again.measure(new, "id_01")) == (detector.contrast, detector.measure(new, "id_01"))


@pytest.mark.parametrize(("spread_db", "foreign"), [(0.5, False), (15.0, True)], ids=["quiet", "loud"])
def test_a_strange_spectrum_is_out_of_domain_if_the_score_leaves_it_out(spread_db: float, foreign: bool) -> None:
    """What is far from all machines in its mel spectrum is not normal, also if this engine has no part in the score."""
    detector = fit(hall(spread_db))
    again = detector_from_bytes(*detector_to_bytes(detector))
    usual = machine_clip(1, 999, 4.0 + spread_db)
    comb = np.tile(np.tile([0, -75], SPEC.n_mels // 2).astype(np.float32), (SPEC.clip_frames, 1))
    strange = Spectra(comb, usual.power)
    for each in (detector, again):
        assert (each.out_of_domain.spectrum is not None) == foreign
        found = each.check_out_of_domain([usual, strange], "id_01")
        assert (found is not None and "times as far from every machine" in found.detail) == foreign
        assert each.check_out_of_domain([usual], "id_01") is None


def test_one_machine_keeps_all_engines() -> None:
    """Nothing can be told apart, so nothing is left out."""
    detector = fit([each for each in hall(30.0) if each.machine == "fan/id_00"])
    assert [engine.name for engine in detector.engines] == list(DEFAULT_ENGINES)
    assert detector.contrast == {}


def test_spectra_without_frames_give_the_same_detector() -> None:
    """All that the default engines, the reference and the checks need is computed before the frames are dropped."""
    recordings = hall(0.5)
    without = [replace(each, clips=tuple(clip.without_frames() for clip in each.clips)) for each in recordings]
    assert all(len(clip.log_mel) == 0 for each in without for clip in each.clips)
    assert detector_to_bytes(fit(without)) == detector_to_bytes(fit(recordings))
