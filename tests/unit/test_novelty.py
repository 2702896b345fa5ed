"""Detectors of novelty: what they hear, what they learn, and what their scores are worth on sounds that are made up."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES, REMOVED_ENGINES
from ml.detectors.engines.registry import ENGINES, engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import Spectra, compute_spectra
from ml.errors import BundleDamaged, InvalidParameter, TooFewRecordings
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec
from tests import sounds

RATE_HZ, SECONDS = 16_000, 2
QUICK = ("spectrum-gaussian", "distance", "neighbours", "fluctuation")  # those that need no Keras
SPEC = FeatureSpec(
    sample_rate_hz=RATE_HZ,
    clip_frames=1 + SECONDS * RATE_HZ // 512,
    n_fft=1024,
    hop_length=512,
    n_mels=128,
    fmax_hz=RATE_HZ / 2,
    dynamic_range_db=None,
)
EXTRACTOR = FeatureExtractor(SPEC)


def fan(seed: int, blade_hz: float = 120.0) -> NDArray[np.float32]:
    """A healthy fan."""
    return sounds.fan(float(SECONDS), seed=seed, blade_hz=blade_hz)[:, 0].astype(np.float32)


def whistling(seed: int) -> NDArray[np.float32]:
    """The same fan with a faint tone that it should not have."""
    tone = sounds.sine(2900.0, SECONDS * RATE_HZ, RATE_HZ, amplitude=0.02)[:, 0]
    return (fan(seed) + tone).astype(np.float32)


def knocking(seed: int) -> NDArray[np.float32]:
    """The same fan with a broad knock five times a second: hardly another spectrum, but another movement."""
    knocks = np.zeros(SECONDS * RATE_HZ)
    for start in range(0, len(knocks), RATE_HZ // 5):
        knocks[start : start + 400] = sounds.noise(400, seed=seed + start, level=0.15)[:, 0]
    return (fan(seed) + knocks).astype(np.float32)


def heard(samples: NDArray[np.float32]) -> Spectra:
    """Through the detectors' spectrum."""
    return compute_spectra(EXTRACTOR, samples)


def healthy(
    machines: Sequence[str] = ("fan/id_00",), count: int = 10, sessions: int = 1, first: int = 0
) -> list[NormalRecording]:
    """Recordings of fans that differ in their blades, each in so many sessions."""
    return [
        NormalRecording(
            clips=(heard(fan(first + 100 * number + i, blade_hz=120.0 + 45 * number)),),
            machine=machine,
            session=f"{machine} {i * sessions // count}",
            name=f"{machine}/{i}.wav",
            level_dbfs=-25.0,
        )
        for number, machine in enumerate(machines)
        for i in range(count)
    ]


@pytest.fixture(scope="module", params=[*QUICK, "+".join(DEFAULT_ENGINES)])
def fitted(request: pytest.FixtureRequest) -> Detector:
    """A detector of two fans, of each engine alone and of the default together."""
    engines = [engine_by_name(name) for name in request.param.split("+")]
    return fit_detector(SPEC, engines, healthy(("fan/id_00", "fan/id_02")))


@pytest.fixture(scope="module")
def default() -> Detector:
    """A detector of two fans as it is unless told otherwise."""
    return fit_detector(SPEC, [engine_by_name(name) for name in DEFAULT_ENGINES], healthy(("fan/id_00", "fan/id_02")))


# What is heard


def test_a_gain_changes_nothing_but_the_level() -> None:
    """6 dB more: level 6 dB up, every shape as it was."""
    softer, louder = heard(fan(0)), heard(2 * fan(0))
    for shape in ("mel_spectrum", "fine_spectrum", "fluctuation"):
        np.testing.assert_allclose(getattr(louder, shape), getattr(softer, shape), atol=2e-3)


def test_the_steady_sound_is_its_mean_at_constant_power() -> None:
    """Restated: mean over time of the log, less the log of the mean over time and bands."""
    clip = heard(fan(1))
    power = 10 ** (clip.log_mel.astype(np.float64) / 10)
    np.testing.assert_allclose(clip.mel_spectrum, clip.log_mel.mean(axis=0) - 10 * np.log10(power.mean()), atol=1e-3)


def test_a_tone_is_seen_in_its_band_alone() -> None:
    """2900 Hz at 31 Hz a band: the 93rd band stands out of a fan's spectrum."""
    difference = heard(whistling(0)).fine_spectrum - heard(fan(0)).fine_spectrum
    assert abs(int(difference.argmax()) - 2900 / (2 * RATE_HZ / 1024)) <= 1.5
    assert difference.max() > 10


# What is learned


def test_a_healthy_recording_is_about_as_far_as_healthy_ones_are(fitted: Detector) -> None:
    """Recordings of the same machines that it has not learned from: a few times 1, never ten times."""
    times = [
        fitted.measure(r.clips[0], r.machine).relative_distance for r in healthy(("fan/id_00", "fan/id_02"), first=5000)
    ]
    assert 0.3 < np.median(times) < 3
    assert max(times) < 10


def test_the_default_hears_a_faint_whistle(default: Detector) -> None:
    """Above everything that it was calibrated on."""
    scores = [default.measure(heard(whistling(seed)), "id_00").score for seed in range(6000, 6006)]
    assert min(scores) > default.calibration.named.max()


@pytest.mark.parametrize("name", ["spectrum-gaussian", "distance", "neighbours"])
def test_each_engine_of_the_spectrum_hears_it(name: str) -> None:
    """Every whistling fan scores above every healthy one."""
    detector = fit_detector(SPEC, [engine_by_name(name)], healthy())
    fine = [detector.measure(heard(fan(seed))).relative_distance for seed in range(7000, 7005)]
    assert min(detector.measure(heard(whistling(seed))).relative_distance for seed in range(7000, 7005)) > max(fine)


def test_fluctuation_hears_a_knock() -> None:
    """What moves in time is another machine, and the guard takes it for none."""
    detector = fit_detector(SPEC, [engine_by_name("fluctuation")], healthy())
    fine = [detector.measure(heard(fan(seed))).relative_distance for seed in range(8000, 8005)]
    assert min(detector.measure(heard(knocking(seed))).relative_distance for seed in range(8000, 8005)) > max(fine)
    assert detector.check_out_of_domain([heard(fan(8000))]) is None
    found = detector.check_out_of_domain([heard(fan(8000)), heard(knocking(8000))])
    assert found is not None
    assert found.code == "foreign"


def test_loudness_is_no_fault(default: Detector) -> None:
    """12 dB more changes nothing for the default engines."""
    usual, louder = heard(fan(9500)), heard(4 * fan(9500))
    assert default.measure(louder).score == pytest.approx(default.measure(usual).score, abs=1e-3)


@pytest.mark.parametrize("name", REMOVED_ENGINES)
def test_a_removed_engine_is_named_with_what_to_do(name: str) -> None:
    """Models of earlier versions may have one: the error says that they must be trained again."""
    with pytest.raises(InvalidParameter, match=f"{name}.*no longer.*train the model again"):
        engine_by_name(name)


def test_a_machine_is_compared_with_itself(default: Detector) -> None:
    """The other fan's healthy sound is novel to the first, and normal where no machine is named."""
    other = heard(fan(9000, blade_hz=165.0))
    assert default.measure(other, "fan/id_00").score > default.calibration.named.max()
    unnamed = default.measure(other)
    assert (unnamed.machine, unnamed.score < default.calibration.unnamed.max() * 1.05) == ("fan/id_02", True)
    assert default.measure(other, "fan/id_77") == unnamed


@pytest.mark.parametrize(
    ("said", "meant"),
    [("fan/id_00", "fan/id_00"), ("id_02", "fan/id_02"), ("id_9", None), ("fan", None), (None, None), ("", None)],
)
def test_a_machine_is_known_by_its_name_or_its_id(default: Detector, said: str | None, meant: str | None) -> None:
    """What is neither is no known machine."""
    assert default.resolve_machine(said) == meant


def test_an_id_of_two_machines_is_none_of_them() -> None:
    """fan/id_00 and pump/id_00 are told apart by their whole names alone."""
    detector = fit_detector(SPEC, [engine_by_name("distance")], healthy(("fan/id_00", "pump/id_00"), count=3))
    assert detector.resolve_machine("id_00") is None
    assert detector.resolve_machine("pump/id_00") == "pump/id_00"


def test_every_score_of_the_calibration_is_of_a_recording_left_out() -> None:
    """An engine that only knows what it has seen: a recording that it has learned from would measure nothing."""

    class Memory:
        name = "memory"

        def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
            levels = np.array([clip.power.sum() for clip in clips], np.float32)
            return {"seen": levels, "machines": machines.astype(np.float32)}

        def distances(self, state: dict[str, NDArray[np.float32]], clip: Spectra) -> NDArray[np.float64]:
            return np.array([1e-9 if np.isclose(state["seen"], clip.power.sum(), rtol=1e-7).any() else 1.0])

    recordings = healthy(count=10, sessions=2)
    detector = fit_detector(SPEC, [Memory()], recordings)  # type: ignore[list-item]  # a state is any mapping to it
    np.testing.assert_allclose(detector.calibration.named, 0.5)
    assert detector.measure(recordings[0].clips[0]).relative_distance < 1e-6
    assert sorted(set(detector.calibration.session)) == [0, 1]


def test_machines_recorded_together_share_their_session() -> None:
    """One day in the hall is one session, however many machines it had."""
    recordings = [dataclasses.replace(r, session="monday") for r in healthy(("fan/id_00", "fan/id_02"), count=4)]
    assert set(fit_detector(SPEC, [engine_by_name("distance")], recordings).calibration.session) == {0}


def test_sessions_that_differ_widen_the_scale() -> None:
    """Where a machine has sessions, what they differ by is part of what is normal: the scale is that between them."""
    tilt = np.linspace(-3, 3, 128, dtype=np.float32)
    recordings = [
        dataclasses.replace(
            r, session=str(i // 5), clips=(Spectra(r.clips[0].log_mel + (i // 5) * tilt, r.clips[0].power),)
        )
        for i, r in enumerate(healthy(count=10))
    ]
    together = [dataclasses.replace(r, session="one") for r in recordings]
    apart, mixed = (fit_detector(SPEC, [engine_by_name("distance")], some) for some in (recordings, together))
    assert apart.scales[0, 0] > 1.5 * mixed.scales[0, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_recordings_are_said(count: int) -> None:
    """Three at least, and the sentence says how many there are."""
    with pytest.raises(TooFewRecordings, match=f"{count} healthy recordings"):
        fit_detector(SPEC, [engine_by_name("distance")], healthy(count=10)[:count])


def test_the_only_recording_of_a_machine_is_always_learned_from() -> None:
    """It is never left out, has no score in the calibration, and its machine is known."""
    recordings = [*healthy(count=4), *healthy(("pump/id_00",), count=1, first=300)]
    detector = fit_detector(SPEC, [engine_by_name(name) for name in DEFAULT_ENGINES], recordings)
    assert len(detector.calibration.named) == 4
    assert detector.measure(recordings[-1].clips[0], "pump/id_00").relative_distance < 1


def test_the_progress_is_told_to_the_end() -> None:
    """Every fit once, the last one last."""
    told: list[tuple[int, int]] = []
    fit_detector(
        SPEC, [engine_by_name("distance")], healthy(count=6, sessions=2), lambda done, fits: told.append((done, fits))
    )
    assert told == [(i, 8) for i in range(1, 9)]


def test_an_engine_that_is_none_is_named() -> None:
    """With those that there are."""
    with pytest.raises(InvalidParameter, match=f"no engine 'gmm'; one of {', '.join(ENGINES)}"):
        engine_by_name("gmm")


# Files


def test_a_detector_is_the_same_after_a_file(fitted: Detector) -> None:
    """Same scores to the bit, same bytes again, and small."""
    facts, arrays = fitted.to_bytes()
    again = Detector.from_bytes(facts, arrays)
    clip = heard(whistling(1))
    assert again.measure(clip, "id_00") == fitted.measure(clip, "id_00")
    assert again.to_bytes() == (facts, arrays)
    assert len(facts) + len(arrays) < 5 * 2**20


def test_what_a_detector_is_read_from_holds_nothing_that_runs(default: Detector) -> None:
    """An array of objects would be unpickled: it is refused."""
    import io

    facts, arrays = default.to_bytes()
    with np.load(io.BytesIO(arrays)) as archive:
        held = {name: archive[name] for name in archive.files}
    held["scales"] = np.array([object()], dtype=object)
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **held)
    with pytest.raises(BundleDamaged, match="cannot be read"):
        Detector.from_bytes(facts, file.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("engines"),
        lambda facts: facts.update(engines=["gmm"]),
        lambda facts: facts.update(engines=["distance"]),
        lambda facts: facts.update(machines=["fan/id_00"]),
        lambda facts: facts.update(spec={}),
        lambda facts: facts["spec"].update(n_mels=64),
        lambda facts: facts.update(recordings=["a.wav"]),
    ],
)
def test_a_detector_that_contradicts_itself_is_refused(default: Detector, change: object) -> None:
    """Facts and arrays that do not belong together."""
    facts, arrays = default.to_bytes()
    described = json.loads(facts)
    change(described)  # type: ignore[operator]  # a lambda of the list above
    with pytest.raises(BundleDamaged):
        Detector.from_bytes(json.dumps(described).encode(), arrays)


# Reasons


def test_the_reasons_name_the_band_of_the_whistle(default: Detector) -> None:
    """The band around 2900 Hz has the largest share, and is louder by many sigma."""
    clip = heard(whistling(2))
    reasons = default.deviations(clip, default.measure(clip, "id_00"), -19.0)
    first = reasons.band_deviations[0]
    assert first.low_hz < 2900 < first.high_hz
    assert first.db > 1
    assert first.sigma > 3
    assert sum(band.share for band in reasons.band_deviations) == pytest.approx(1)
    assert reasons.level_change_db == pytest.approx(6.0)


def test_the_nearest_recordings_are_of_the_machine_in_order(default: Detector) -> None:
    """A recording that it has learned from is its own nearest."""
    known = healthy(("fan/id_00", "fan/id_02"))[13]
    reasons = default.deviations(known.clips[0], default.measure(known.clips[0], known.machine), None)
    assert reasons.nearest[0].name == known.name
    assert reasons.nearest[0].db < 0.05
    distances = [each.db for each in reasons.nearest]
    assert distances == sorted(distances)
    assert all(each.name.startswith("fan/id_02/") for each in reasons.nearest)
    assert reasons.level_change_db is None


# What a review found


def test_a_band_without_sound_moves_with_the_others() -> None:
    """A recording whose upper half holds nothing but the floor: a gain of 6 dB changes no shape."""
    spectrum = np.fft.rfft(fan(0))
    spectrum[len(spectrum) // 2 :] = 0
    half = np.fft.irfft(spectrum, SECONDS * RATE_HZ).astype(np.float32)
    softer, louder = heard(half), heard(2 * half)
    for shape in ("mel_spectrum", "fine_spectrum", "fluctuation"):
        np.testing.assert_allclose(getattr(louder, shape), getattr(softer, shape), atol=0.02)


def test_a_small_machine_keeps_its_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some recordings are kept for the reasons, each machine keeps one at least."""
    monkeypatch.setattr("ml.detectors.reference.MOST_KEPT", 4)
    recordings = [*healthy(("fan/id_00", "fan/id_04"), count=6), *healthy(("fan/id_02",), count=1, first=700)]
    detector = fit_detector(SPEC, [engine_by_name("distance")], recordings)
    clip = recordings[-1].clips[0]
    reasons = detector.deviations(clip, detector.measure(clip, "id_02"), None)
    assert [each.name for each in reasons.nearest] == ["fan/id_02/0.wav"]
    assert len(detector.reference.names) < len(recordings)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda arrays: arrays[:97] + b"\xff" * 40 + arrays[137:]])
def test_damaged_arrays_are_damage_by_name(default: Detector, damage: object) -> None:
    """Nothing at all, or bytes that no longer unpack."""
    facts, arrays = default.to_bytes()
    with pytest.raises(BundleDamaged, match="cannot be read"):
        Detector.from_bytes(facts, damage(arrays))  # type: ignore[operator]  # a lambda of the list above
