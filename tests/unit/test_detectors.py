"""Detectors: spectra, engines, calibration, files and explanations, on synthetic fans."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
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
ENGINES_WITHOUT_KERAS = ("discriminant", "spectrum-gaussian", "distance", "neighbours", "fluctuation")
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
    """The same fan with a faint extra tone."""
    tone = sounds.sine(2900.0, SECONDS * RATE_HZ, RATE_HZ, amplitude=0.02)[:, 0]
    return (fan(seed) + tone).astype(np.float32)


def knocking(seed: int) -> NDArray[np.float32]:
    """The same fan with a broad knock five times a second: a similar spectrum, but other fluctuation."""
    knocks = np.zeros(SECONDS * RATE_HZ)
    for start in range(0, len(knocks), RATE_HZ // 5):
        knocks[start : start + 400] = sounds.noise(400, seed=seed + start, level=0.15)[:, 0]
    return (fan(seed) + knocks).astype(np.float32)


def spectra(samples: NDArray[np.float32]) -> Spectra:
    """Spectra of the samples, by the detectors' feature spec."""
    return compute_spectra(EXTRACTOR, samples)


def normal_recordings(
    machines: Sequence[str] = ("fan/id_00",), count: int = 10, sessions: int = 1, first: int = 0
) -> list[NormalRecording]:
    """Recordings of fans with different blade frequencies, each in so many sessions."""
    return [
        NormalRecording(
            clips=(spectra(fan(first + 100 * number + i, blade_hz=120.0 + 45 * number)),),
            machine=machine,
            session=f"{machine} {i * sessions // count}",
            name=f"{machine}/{i}.wav",
            level_dbfs=-25.0,
        )
        for number, machine in enumerate(machines)
        for i in range(count)
    ]


@pytest.fixture(scope="module", params=[*ENGINES_WITHOUT_KERAS, "+".join(DEFAULT_ENGINES)])
def fitted(request: pytest.FixtureRequest) -> Detector:
    """A detector of two fans, for each engine alone and for the default engines."""
    engines = [engine_by_name(name) for name in request.param.split("+")]
    return fit_detector(SPEC, engines, normal_recordings(("fan/id_00", "fan/id_02")))


@pytest.fixture(scope="module")
def default() -> Detector:
    """A detector of two fans with the default engines."""
    return fit_detector(
        SPEC, [engine_by_name(name) for name in DEFAULT_ENGINES], normal_recordings(("fan/id_00", "fan/id_02"))
    )


# Spectra


def test_a_gain_changes_nothing_but_the_level() -> None:
    """A gain of 6 dB changes no shape."""
    softer, louder = spectra(fan(0)), spectra(2 * fan(0))
    for shape in ("mel_spectrum", "fine_spectrum", "fluctuation"):
        np.testing.assert_allclose(getattr(louder, shape), getattr(softer, shape), atol=2e-3)


def test_the_mel_spectrum_is_the_mean_at_constant_power() -> None:
    """It is the mean over time of the log, minus the log of the mean over time and bands."""
    clip = spectra(fan(1))
    power = 10 ** (clip.log_mel.astype(np.float64) / 10)
    np.testing.assert_allclose(clip.mel_spectrum, clip.log_mel.mean(axis=0) - 10 * np.log10(power.mean()), atol=1e-3)


def test_a_tone_changes_its_band_alone() -> None:
    """At 31 Hz a band, 2900 Hz raises the 93rd band of a fan's spectrum."""
    difference = spectra(whistling(0)).fine_spectrum - spectra(fan(0)).fine_spectrum
    assert abs(int(difference.argmax()) - 2900 / (2 * RATE_HZ / 1024)) <= 1.5
    assert difference.max() > 10


# Fits


def test_new_normal_recordings_have_a_relative_distance_near_1(fitted: Detector) -> None:
    """Normal recordings that were not learned have a relative distance near 1, and never 10 or more."""
    distances = [
        fitted.measure(r.clips[0], r.machine).relative_distance
        for r in normal_recordings(("fan/id_00", "fan/id_02"), first=5000)
    ]
    assert 0.3 < np.median(distances) < 3
    assert max(distances) < 10


def test_the_default_detects_a_faint_whistle(default: Detector) -> None:
    """Its scores are above all calibration scores."""
    scores = [default.measure(spectra(whistling(seed)), "id_00").score for seed in range(6000, 6006)]
    assert min(scores) > default.calibration.named.max()


@pytest.mark.parametrize("name", ["spectrum-gaussian", "distance", "neighbours"])
def test_each_spectrum_engine_detects_a_whistle(name: str) -> None:
    """Every whistling fan has a larger distance than every normal one."""
    detector = fit_detector(SPEC, [engine_by_name(name)], normal_recordings())
    fine = [detector.measure(spectra(fan(seed))).relative_distance for seed in range(7000, 7005)]
    assert min(detector.measure(spectra(whistling(seed))).relative_distance for seed in range(7000, 7005)) > max(fine)


def test_fluctuation_detects_a_knock() -> None:
    """A knocking fan has a larger distance than every normal one, and is out of domain."""
    detector = fit_detector(SPEC, [engine_by_name("fluctuation")], normal_recordings())
    fine = [detector.measure(spectra(fan(seed))).relative_distance for seed in range(8000, 8005)]
    assert min(detector.measure(spectra(knocking(seed))).relative_distance for seed in range(8000, 8005)) > max(fine)
    assert detector.check_out_of_domain([spectra(fan(8000))]) is None
    found = detector.check_out_of_domain([spectra(fan(8000)), spectra(knocking(8000))])
    assert found is not None
    assert found.code == "foreign"


def test_loudness_is_no_fault(default: Detector) -> None:
    """12 dB more changes no score of the default engines."""
    usual, louder = spectra(fan(9500)), spectra(4 * fan(9500))
    assert default.measure(louder).score == pytest.approx(default.measure(usual).score, abs=1e-3)


@pytest.mark.parametrize("name", REMOVED_ENGINES)
def test_a_removed_engine_is_named_with_the_remedy(name: str) -> None:
    """Models of earlier versions may have one: the message is to train the model again."""
    with pytest.raises(InvalidParameter, match=f"{name}.*no longer.*train the model again"):
        engine_by_name(name)


def test_a_machine_is_compared_with_itself(default: Detector) -> None:
    """Another fan's normal sound has a high score for the first fan, and a low one if no machine is named."""
    other = spectra(fan(9000, blade_hz=165.0))
    assert default.measure(other, "fan/id_00").score > default.calibration.named.max()
    unnamed = default.measure(other)
    assert (unnamed.machine, unnamed.score < default.calibration.unnamed.max() * 1.05) == ("fan/id_02", True)
    assert default.measure(other, "fan/id_77") == unnamed


@pytest.mark.parametrize(
    ("name", "machine"),
    [("fan/id_00", "fan/id_00"), ("id_02", "fan/id_02"), ("id_9", None), ("fan", None), (None, None), ("", None)],
)
def test_a_machine_is_known_by_its_name_or_its_id(default: Detector, name: str | None, machine: str | None) -> None:
    """Other texts are no known machine."""
    assert default.resolve_machine(name) == machine


def test_an_id_of_two_machines_is_ambiguous() -> None:
    """fan/id_00 and pump/id_00 are known by their whole names only."""
    detector = fit_detector(SPEC, [engine_by_name("distance")], normal_recordings(("fan/id_00", "pump/id_00"), count=3))
    assert detector.resolve_machine("id_00") is None
    assert detector.resolve_machine("pump/id_00") == "pump/id_00"


def test_every_calibration_score_is_of_a_held_out_recording() -> None:
    """An engine that only recognises learned recordings has no low calibration score."""

    class Memory:
        name = "memory"

        def fit(self, clips: Sequence[Spectra], machines: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
            levels = np.array([clip.power.sum() for clip in clips], np.float32)
            return {"seen": levels, "machines": machines.astype(np.float32)}

        def distances(self, state: dict[str, NDArray[np.float32]], clip: Spectra) -> NDArray[np.float64]:
            return np.array([1e-9 if np.isclose(state["seen"], clip.power.sum(), rtol=1e-7).any() else 1.0])

    recordings = normal_recordings(count=10, sessions=2)
    detector = fit_detector(SPEC, [Memory()], recordings)  # type: ignore[list-item]  # a state is any mapping to it
    np.testing.assert_allclose(detector.calibration.named, 0.5)
    assert detector.measure(recordings[0].clips[0]).relative_distance < 1e-6
    assert sorted(set(detector.calibration.session)) == [0, 1]


def test_machines_recorded_together_share_their_session() -> None:
    """Recordings of one day are one session, with any number of machines."""
    recordings = [
        dataclasses.replace(r, session="monday") for r in normal_recordings(("fan/id_00", "fan/id_02"), count=4)
    ]
    assert set(fit_detector(SPEC, [engine_by_name("distance")], recordings).calibration.session) == {0}


def test_sessions_that_differ_widen_the_scale() -> None:
    """Differences between a machine's sessions are normal: the scale is that between sessions."""
    tilt = np.linspace(-3, 3, 128, dtype=np.float32)
    recordings = [
        dataclasses.replace(
            r, session=str(i // 5), clips=(Spectra(r.clips[0].log_mel + (i // 5) * tilt, r.clips[0].power),)
        )
        for i, r in enumerate(normal_recordings(count=10))
    ]
    together = [dataclasses.replace(r, session="one") for r in recordings]
    apart, mixed = (fit_detector(SPEC, [engine_by_name("distance")], some) for some in (recordings, together))
    assert apart.scales[0, 0] > 1.5 * mixed.scales[0, 0]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_recordings_are_refused(count: int) -> None:
    """At least three are necessary, and the message has the number."""
    with pytest.raises(TooFewRecordings, match=f"{count} normal recordings"):
        fit_detector(SPEC, [engine_by_name("distance")], normal_recordings(count=10)[:count])


def test_the_only_recording_of_a_machine_is_always_learned_from() -> None:
    """It is never held out, has no calibration score, and its machine is known."""
    recordings = [*normal_recordings(count=4), *normal_recordings(("pump/id_00",), count=1, first=300)]
    detector = fit_detector(SPEC, [engine_by_name(name) for name in DEFAULT_ENGINES], recordings)
    assert len(detector.calibration.named) == 4
    assert detector.measure(recordings[-1].clips[0], "pump/id_00").relative_distance < 1


def test_the_progress_is_reported_to_the_end() -> None:
    """Every fit is reported once, in order."""
    reports: list[tuple[int, int]] = []
    fit_detector(
        SPEC,
        [engine_by_name("distance")],
        normal_recordings(count=6, sessions=2),
        lambda done, fits: reports.append((done, fits)),
    )
    assert reports == [(i, 3) for i in range(1, 4)]


def test_an_unknown_engine_is_refused() -> None:
    """The message has the engine's name and the names that exist."""
    with pytest.raises(InvalidParameter, match=f"no engine 'gmm'; one of {', '.join(ENGINES)}"):
        engine_by_name("gmm")


# Files


def test_a_detector_is_read_back_unchanged(fitted: Detector) -> None:
    """It gives the same scores to the bit and the same bytes, and is small."""
    facts, arrays = detector_to_bytes(fitted)
    again = detector_from_bytes(facts, arrays)
    clip = spectra(whistling(1))
    assert again.measure(clip, "id_00") == fitted.measure(clip, "id_00")
    assert detector_to_bytes(again) == (facts, arrays)
    assert len(facts) + len(arrays) < 5 * 2**20


def test_an_array_of_objects_is_refused(default: Detector) -> None:
    """Reading it would run pickled code."""
    import io

    facts, arrays = detector_to_bytes(default)
    with np.load(io.BytesIO(arrays)) as archive:
        arrays_by_name = {name: archive[name] for name in archive.files}
    arrays_by_name["scales"] = np.array([object()], dtype=object)
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **arrays_by_name)
    with pytest.raises(BundleDamaged, match="cannot be read"):
        detector_from_bytes(facts, file.getvalue())


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
    """Facts and arrays must fit each other."""
    facts, arrays = detector_to_bytes(default)
    described = json.loads(facts)
    change(described)  # type: ignore[operator]  # a lambda of the list above
    with pytest.raises(BundleDamaged):
        detector_from_bytes(json.dumps(described).encode(), arrays)


# Explanations


def test_the_explanation_has_the_band_of_the_whistle(default: Detector) -> None:
    """The band around 2900 Hz has the largest share, and is louder by many sigma."""
    clip = spectra(whistling(2))
    reasons = default.deviations(clip, default.measure(clip, "id_00"), -19.0)
    first = reasons.band_deviations[0]
    assert first.low_hz < 2900 < first.high_hz
    assert first.db > 1
    assert first.sigma > 3
    assert sum(band.share for band in reasons.band_deviations) == pytest.approx(1)
    assert reasons.level_change_db == pytest.approx(6.0)


def test_the_nearest_recordings_are_of_the_machine_in_order(default: Detector) -> None:
    """A learned recording is its own nearest; all are of its machine, the nearest first."""
    known = normal_recordings(("fan/id_00", "fan/id_02"))[13]
    reasons = default.deviations(known.clips[0], default.measure(known.clips[0], known.machine), None)
    assert reasons.nearest[0].name == known.name
    assert reasons.nearest[0].db < 0.05
    distances = [each.db for each in reasons.nearest]
    assert distances == sorted(distances)
    assert all(each.name.startswith("fan/id_02/") for each in reasons.nearest)
    assert reasons.level_change_db is None


# Special cases


def test_a_gain_changes_no_shape_without_sound_in_some_bands() -> None:
    """In a recording without sound in its upper half, a gain of 6 dB changes no shape."""
    spectrum = np.fft.rfft(fan(0))
    spectrum[len(spectrum) // 2 :] = 0
    half = np.fft.irfft(spectrum, SECONDS * RATE_HZ).astype(np.float32)
    softer, louder = spectra(half), spectra(2 * half)
    for shape in ("mel_spectrum", "fine_spectrum", "fluctuation"):
        np.testing.assert_allclose(getattr(louder, shape), getattr(softer, shape), atol=0.02)


def test_each_machine_keeps_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """If only some recordings are kept for explanations, each machine keeps at least one."""
    monkeypatch.setattr("ml.detectors.reference.MOST_KEPT", 4)
    recordings = [
        *normal_recordings(("fan/id_00", "fan/id_04"), count=6),
        *normal_recordings(("fan/id_02",), count=1, first=700),
    ]
    detector = fit_detector(SPEC, [engine_by_name("distance")], recordings)
    clip = recordings[-1].clips[0]
    reasons = detector.deviations(clip, detector.measure(clip, "id_02"), None)
    assert [each.name for each in reasons.nearest] == ["fan/id_02/0.wav"]
    assert len(detector.reference.names) < len(recordings)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda arrays: arrays[:97] + b"\xff" * 40 + arrays[137:]])
def test_damaged_arrays_are_refused(default: Detector, damage: object) -> None:
    """Empty bytes, or bytes that cannot be unpacked, are BundleDamaged."""
    facts, arrays = detector_to_bytes(default)
    with pytest.raises(BundleDamaged, match="cannot be read"):
        detector_from_bytes(facts, damage(arrays))  # type: ignore[operator]  # a lambda of the list above


@pytest.mark.parametrize("number", [-1, 2**40], ids=["negative", "huge"])
def test_a_machine_with_a_wrong_number_is_refused_at_once(default: Detector, number: int) -> None:
    """A number that no machine has is BundleDamaged; a huge one costs no time."""
    machine = default.reference.machine.copy()
    machine[0] = number
    damaged = replace(default, reference=replace(default.reference, machine=machine))
    with pytest.raises(BundleDamaged, match="numbers of machines"):
        detector_from_bytes(*detector_to_bytes(damaged))
