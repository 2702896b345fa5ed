"""Detectors with a reference channel: regression, use, states, files, reasons."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from api.schemas.predictions import PredictResponse
from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.deviations import BandDeviation
from ml.detectors.fitting import fit_detector
from ml.detectors.reference_benefit import ReferenceBenefit
from ml.detectors.reference_channel import QUANTITIES, MainChannel, Regression
from ml.detectors.spectra import Spectra
from ml.errors import BundleDamaged, ReferenceChannelMissing
from ml.models.verdict import Verdict
from ml.training.detector_stage import _with_reference
from tests.unit import pairs
from tests.unit.pairs import Samples

MACHINE = "fan/id_00"


def verdict(samples: Samples, machine: str = MACHINE) -> Verdict:
    """The verdict on a recording, with its reasons."""
    model = pairs.predictor()
    return model.predict(model.decode(pairs.recorded(samples)), machine, explain=True)


def without_reference(detector: Detector) -> Detector:
    """The detector of the main channel alone, fitted to the same recordings."""
    recordings = [
        replace(each, clips=tuple(replace(clip, reference=None) for clip in each.clips)) for each in pairs.normal()
    ]
    return fit_detector(replace(pairs.SPEC, reference_channel=None), detector.engines, recordings)


def test_what_both_microphones_record_is_explained() -> None:
    """Of held-out recordings, nearly all that varies; and the residual distinguishes the machines better."""
    benefit = pairs.detector().benefit
    assert benefit is not None
    assert 0.9 < benefit.explained < 0.98
    assert benefit.main_contrast is not None
    assert benefit.pair_contrast is not None
    assert benefit.pair_contrast > benefit.main_contrast
    assert pairs.detector().pair is not None


def test_a_weak_fault_is_found_with_the_reference_only() -> None:
    """A band of noise that is louder by 4 dB: as much as the hall varies, and much more than the residual varies."""
    detector = pairs.detector()
    alone = without_reference(detector)
    for seed in (0, 1, 5, 6, 9):
        fault = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.04, pairs.FRAMES))
        fault[:1200] = fault[2200:] = 0
        normal = pairs.pair(7000 + seed)
        clip = pairs.spectra(normal + np.stack([np.fft.irfft(fault, pairs.FRAMES), np.zeros(pairs.FRAMES)], axis=1))
        assert not detector.is_disturbed(clip, MACHINE)
        assert detector.measure(clip, MACHINE).relative_distance > 5
        assert detector.measure(pairs.spectra(normal), MACHINE).relative_distance < 1.5
        assert alone.measure(replace(clip, reference=None), MACHINE).relative_distance < 3


def test_a_fault_of_the_machine_is_an_anomaly() -> None:
    """Another tone at the main microphone alone."""
    assert verdict(pairs.pair(5000, 230.0)).value == "anomalous"


def test_a_gain_of_either_microphone_has_no_influence() -> None:
    """The distance is the same at any gain of either."""
    samples = pairs.pair(5000)
    expected = pairs.detector().measure(pairs.spectra(samples), MACHINE).relative_distance
    for gains in ([2.0, 1.0], [1.0, 0.5]):
        found = pairs.detector().measure(pairs.spectra(samples * gains), MACHINE).relative_distance
        assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda samples: samples[:, 0], "missing"),
        (lambda samples: samples * [1, 0], "dead"),
        (lambda samples: np.clip(samples * [1, 60], -1, 1), "clipped"),
    ],
)
def test_a_recording_without_reference_is_judged_by_the_main_channel(change, state: str) -> None:
    """Its state is named; normal is normal, and a fault is found, on the scale of the same threshold."""
    found, fault = (verdict(change(pairs.pair(5001, blade_hz))) for blade_hz in (180.0, 230.0))
    assert (found.value, found.quality.reference) == ("normal", state)
    assert (fault.value, fault.quality.reference) == ("anomalous", state)
    detector = pairs.detector()
    assert detector.pair is not None
    alone = detector.pair.alone
    clip = replace(pairs.spectra(pairs.pair(5001)), reference=None)
    own = without_reference(detector).measure(clip, MACHINE).relative_distance
    assert detector.measure(clip, MACHINE).relative_distance == pytest.approx(float(alone.translate(np.array(own))))


def test_a_sound_of_the_second_microphone_alone_is_no_anomaly() -> None:
    """A tool beside it: the reference is called disturbed, and the main channel is judged."""
    samples = pairs.pair(5001)
    samples[:, 1] += pairs.coloured(np.random.default_rng(9), 0.2)
    found, alone = verdict(samples), verdict(samples[:, 0])
    assert (found.value, found.quality.reference) == ("normal", "disturbed")
    assert found.worst.score == alone.worst.score
    assert found.explanation is not None
    assert found.explanation.in_the_hall is None


def test_a_dead_microphone_of_the_machine_is_unusable() -> None:
    """The hall alone is no recording of the machine."""
    found = verdict(pairs.pair(5001) * [0, 1])
    assert found.value == "unusable"


def test_swapped_channels_are_unusable() -> None:
    """The reason is named."""
    for seed in range(3):
        found = verdict(pairs.pair(5001 + seed)[:, ::-1])
        assert found.unusable is not None
        assert (found.value, found.unusable.code) == ("unusable", "channels_swapped")
        assert found.quality.reference == "swapped"


def test_a_band_in_which_the_channels_often_differ_does_not_count_as_swapped() -> None:
    """The spectra are whitened: an opposite difference in one loud and unsteady band is no sign of swapped channels."""
    detector = pairs.predictor().detector
    assert detector is not None
    assert detector.pair is not None
    regression = detector.pair.regression
    usual = np.full(regression.main_centres["fine_spectrum"].shape[1], 2, np.float32)
    usual[0] = 40
    main = np.tile(usual, (len(regression.main_centres["fine_spectrum"]), 1))
    steady = np.ones(len(usual), np.float32)
    steady[0] = 0.001
    channel = replace(
        detector.pair,
        whitening=np.diag(steady),
        regression=replace(
            regression,
            main_centres=regression.main_centres | {"fine_spectrum": main},
            reference_centres=regression.reference_centres | {"fine_spectrum": np.zeros_like(main)},
        ),
    )
    unsteady, opposite = usual.copy(), -usual
    unsteady[0] = -40
    for spectrum, swapped in ((unsteady, False), (opposite, True)):
        reference = SimpleNamespace(fine_spectrum=np.zeros_like(usual))
        clip = SimpleNamespace(fine_spectrum=spectrum, reference=reference)
        assert channel.is_swapped(cast(Spectra, clip), 0) is swapped


def test_most_normal_recordings_are_judged_with_the_reference() -> None:
    """The reference of a few may be called disturbed."""
    states = [verdict(pairs.pair(6000 + seed)).quality.reference for seed in range(20)]
    assert states.count("used") >= 16
    assert set(states) <= {"used", "disturbed"}


def test_identical_channels_are_not_used() -> None:
    """One microphone on both channels has no reference; the detector is that of the main channel."""
    recordings = [
        replace(each, clips=tuple(replace(clip, reference=replace(clip, reference=None)) for clip in each.clips))
        for each in pairs.normal()
    ]
    found = pairs.fit(recordings)
    assert found.pair is None
    assert found.benefit is not None
    assert found.benefit.why_not == "both channels have the same signal"
    clip = pairs.spectra(pairs.pair(5000))
    assert found.measure(clip, MACHINE) == without_reference(found).measure(clip, MACHINE)


def test_a_reference_close_to_the_machines_is_not_used() -> None:
    """It explains much, but the residual no longer distinguishes the machines."""
    found = pairs.fit(pairs.normal(bleed=0.9))
    assert found.pair is None
    assert found.benefit is not None
    assert found.benefit.explained > 0.9
    assert str(found.benefit.why_not).startswith("the machines are not distinguished better")


def test_an_unrelated_reference_is_not_used() -> None:
    """Noise of another hall explains nothing."""
    recordings = pairs.normal()
    clips = [each.clips[0] for each in recordings]
    found = pairs.fit(
        [
            replace(each, clips=(replace(each.clips[0], reference=other.reference),))
            for each, other in zip(recordings, [*clips[8:16], *clips[:8], *clips[24:], *clips[16:24]], strict=True)
        ]
    )
    assert found.benefit is not None
    assert found.benefit.explained < 0.1
    assert found.pair is None


def test_the_coefficients_are_limited_and_shrunk() -> None:
    """``b`` is 0 where the hall does not vary, and at most 1.5."""
    clips = [each.clips[0] for each in pairs.normal(machines={MACHINE: 180.0})]
    of = np.zeros(len(clips), np.int64)
    steady = [replace(clip, reference=replace(clips[0], reference=None)) for clip in clips]
    for name in QUANTITIES:
        assert (Regression.fit(steady, of).coefficients[name] == 0).all()
        coefficients = Regression.fit(clips, of).coefficients[name]
        assert ((coefficients >= 0) & (coefficients <= 1.5)).all()


def test_translated_distances_keep_their_order() -> None:
    """Also beyond the matched distances."""
    alone = MainChannel((), (), np.ones((0, 1)), np.array([[1.0, 2.0, 8.0], [0.5, 2.0, 3.0]]))
    found = alone.translate(np.geomspace(0.01, 100, 50))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(alone.translate(np.array([1.0, 2.0, 8.0])), [0.5, 2.0, 3.0])


def test_the_files_keep_everything() -> None:
    """A detector that was written and read gives the same distances and reasons, with and without reference."""
    written = pairs.detector()
    read = detector_from_bytes(*detector_to_bytes(written))
    assert detector_to_bytes(read) == detector_to_bytes(written)
    assert read.benefit == written.benefit
    for clip in (pairs.spectra(pairs.pair(5000)), pairs.spectra(pairs.pair(5000)[:, 0])):
        novelty = written.measure(clip, MACHINE)
        assert read.measure(clip, MACHINE) == novelty
        found, expected = (
            {(band.low_hz, band.hall_db) for band in each.deviations(clip, novelty, None).band_deviations}
            for each in (read, written)
        )
        assert found == expected


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coefficients/mel_spectrum", lambda array: array[:-1]),
        ("coefficients/fine_spectrum", lambda array: array * np.nan),
        ("reference_centres/mel_spectrum", lambda array: array[:, :-1]),
        ("spread", np.zeros_like),
        ("main_centres/fine_spectrum", lambda array: array[:-1]),
        ("main_spread", lambda array: -array),
        ("whitening", lambda array: array[:-1]),
        ("whitening", lambda array: np.full_like(array, np.inf)),
        ("alone_scales", lambda array: -array),
        ("alone_matched", lambda array: array[:, ::-1]),
        ("alone_matched", lambda array: array[0]),
        ("alone_matched", None),
    ],
)
def test_damaged_arrays_are_refused(name: str, change) -> None:
    """Other lengths, missing arrays and numbers that no training writes."""
    facts, archive = detector_to_bytes(pairs.detector())
    arrays = dict(np.load(io.BytesIO(archive)))
    key = f"reference_channel/{name}"
    damaged = {} if change is None else {key: change(arrays[key])}
    content = io.BytesIO()
    np.savez_compressed(content, **{each: array for each, array in arrays.items() if each != key}, **damaged)
    with pytest.raises(BundleDamaged, match="The detector cannot be read"):
        detector_from_bytes(facts, content.getvalue())


def test_files_without_a_reference_channel_are_as_before() -> None:
    """No fact and no array is added, so that versions of models without one keep their names."""
    facts, archive = detector_to_bytes(without_reference(pairs.detector()))
    assert b"reference_benefit" not in facts
    assert b"without_reference_channel" not in facts
    assert b"reference_channel" not in facts
    names = set(np.load(io.BytesIO(archive)))
    assert not {name for name in names if "reference_channel" in name}


def test_too_few_references_are_refused() -> None:
    """If most normal recordings have none; a few without one are left out."""
    recordings = pairs.normal(machines={MACHINE: 180.0})

    def without(count: int) -> list:
        bare = [
            replace(each, clips=tuple(replace(clip, reference=None) for clip in each.clips))
            for each in recordings[:count]
        ]
        return _with_reference([*bare, *recordings[count:]], 1)

    assert without(8) == recordings[8:]
    with pytest.raises(ReferenceChannelMissing, match="9 of 16 normal recordings have no channel 1") as refused:
        without(9)
    assert refused.value.code == "reference_channel_missing"


def test_the_reason_names_what_was_in_the_hall() -> None:
    """A louder band of the hall is named, and does not count."""
    time_s = np.arange(pairs.FRAMES) / pairs.RATE_HZ
    tones = sum(np.sin(2 * np.pi * hz * time_s + hz) for hz in range(2400, 2600, 7))
    found = verdict(pairs.pair(5000) + (0.01 * tones)[:, None]).explanation
    assert found is not None
    loudest = max(found.band_deviations, key=lambda band: band.db)
    assert loudest.low_hz < 2500 < loudest.high_hz
    assert loudest.hall_db is not None
    assert loudest.db > 3
    assert loudest.hall_db > 0.5 * loudest.db
    most = max(found.band_deviations, key=lambda band: abs(band.hall_db or 0))
    assert found.in_the_hall == most.in_the_hall is not None


def test_an_answer_has_the_part_of_the_hall() -> None:
    """The JSON has it for each band and in words, beside the state of the reference; null without a reference."""
    found = PredictResponse.of(verdict(pairs.pair(5000))).model_dump()
    assert found["quality"]["reference"] == "used"
    assert all(isinstance(band["hall_db"], float) for band in found["reasons"]["bands"])
    assert "dB" in found["reasons"]["in_the_hall"]
    mono = PredictResponse.of(verdict(pairs.pair(5000)[:, 0])).model_dump()
    assert mono["quality"]["reference"] == "missing"
    assert {band["hall_db"] for band in mono["reasons"]["bands"]} == {None}
    assert mono["reasons"]["in_the_hall"] is None


@pytest.mark.parametrize(
    ("db", "hall_db", "expected"),
    [
        (6.2, 4.1, "6.2 dB louder at 413 to 851 Hz; 4.1 dB of it are in the hall too and do not count."),
        (-6.2, -4.1, "6.2 dB softer at 413 to 851 Hz; 4.1 dB of it are in the hall too and do not count."),
        (
            1.0,
            4.1,
            "The hall is 4.1 dB louder at 413 to 851 Hz, which does not count; the recording is 1.0 dB louder there.",
        ),
        (
            -1.0,
            4.1,
            "The hall is 4.1 dB louder at 413 to 851 Hz, which does not count; the recording is 1.0 dB softer there.",
        ),
        (6.2, 0.9, None),
        (6.2, None, None),
    ],
)
def test_the_part_of_the_hall_in_words(db: float, hall_db: float | None, expected: str | None) -> None:
    """Part of the deviation, more than it, of the other sign, and too little to name."""
    assert BandDeviation(413, 851, db, 2.0, 0.4, hall_db).in_the_hall == expected


@pytest.mark.parametrize(
    ("benefit", "expected"),
    [
        (ReferenceBenefit(0.79), "The reference channel 1 explains 79 % of the variation .*: it is used."),
        (ReferenceBenefit(-0.2), "explains 0 % .*: it is not used, because nothing that varies .* is explained by it."),
        (ReferenceBenefit(1.0), "explains 100 % .*: it is not used, because both channels have the same signal."),
        (
            ReferenceBenefit(0.9, 6.0, 3.04),
            "because the machines are not distinguished better, .*: .* 3.0 times .* 6.0 times",
        ),
    ],
)
def test_a_sentence_states_whether_it_is_used(benefit: ReferenceBenefit, expected: str) -> None:
    """With the explained share, and the reason if it is not used."""
    assert re.search(expected, benefit.describe(1))
