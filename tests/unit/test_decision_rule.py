"""The decision rule: one verdict from a classifier of known faults and a detector."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.audio.recording import Recording
from ml.detectors.detector import Detector
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.spectra import compute_spectra
from ml.errors import BundleDamaged
from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import detector_spec
from ml.models import bundle
from ml.models.bundle import Bundle, BundleContent, DecisionThreshold, FaultRule, GoldenClip
from ml.models.golden import golden_answer, load_verified, make_golden_clip
from ml.models.labels import DETECTOR_LABELS
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.models.verdict import Verdict
from tests import sounds

RATE_HZ, SECONDS = 22_050, 10.0
NEVER = DecisionThreshold(1.0, None, "never")
ALWAYS = DecisionThreshold(0.0, None, "always")
UNSURE, SURE = FaultRule(1.0, "never"), FaultRule(0.0, "always")
SURE_BUT_FAR = FaultRule(0.0, "always", max_named_distance=0.01)


def fan(seed: int, seconds: float = SECONDS) -> NDArray[np.float64]:
    """A normal fan, ``(frames, 1)``."""
    return sounds.fan(seconds, rate_hz=RATE_HZ, seed=seed)


@pytest.fixture(scope="module")
def classifier(original_home: Path) -> BundleContent:
    """A network with random weights, which classifies some recordings as faults."""
    return Registry(original_home).load_predictor("champion").model.bundle.content


@pytest.fixture(scope="module")
def detector(classifier: BundleContent) -> Detector:
    """A detector of one fan, at the classifier's sample rate."""
    spec = detector_spec(classifier.spec)
    extractor = FeatureExtractor(spec)
    normal = [
        NormalRecording(
            (compute_spectra(extractor, fan(seed)[:, 0].astype(np.float32)),), "fan/id_00", "one", f"{seed}.wav", -25.6
        )
        for seed in range(8)
    ]
    return fit_detector(spec, [engine_by_name(name) for name in DEFAULT_ENGINES], normal)


def both(
    classifier: BundleContent, detector: Detector, decision: DecisionThreshold, fault_rule: FaultRule
) -> Predictor:
    """A model of a classifier and a detector."""
    content = dataclasses.replace(classifier, decision=decision, detector=detector, fault_rule=fault_rule)
    return Predictor(ServedModel.as_written(Bundle("both", "", content)))


def alone(classifier: BundleContent, detector: Detector, decision: DecisionThreshold) -> Predictor:
    """A model of a detector only."""
    golden = GoldenClip(make_golden_clip(), ())
    content = BundleContent(classifier.spec, DETECTOR_LABELS, decision, {}, None, golden, detector)
    return Predictor(ServedModel.as_written(Bundle("alone", "", content)))


def judged(predictor: Predictor, samples: NDArray[np.float64], rate_hz: int = RATE_HZ) -> Verdict:
    """Judge a float WAV, with an explanation."""
    return predictor.predict(recorded(predictor, samples, rate_hz), "id_00", explain=True)


def recorded(predictor: Predictor, samples: NDArray[np.float64], rate_hz: int = RATE_HZ) -> Recording:
    """Decode a float WAV as the model does."""
    return predictor.decode(sounds.recording(samples, "float32", rate_hz))


def with_tone(seed: int) -> NDArray[np.float64]:
    """The fan with a loud tone."""
    return fan(seed) + sounds.sine(3000.0, round(SECONDS * RATE_HZ), RATE_HZ, amplitude=0.1)


# The rule


@pytest.mark.parametrize(
    ("decision", "fault_rule", "expected"),
    [
        (NEVER, UNSURE, "normal"),
        (ALWAYS, UNSURE, "unknown_fault"),
        (NEVER, SURE, "known"),
        (ALWAYS, SURE, "known"),
        (NEVER, SURE_BUT_FAR, "unknown_fault"),
        (ALWAYS, SURE_BUT_FAR, "unknown_fault"),
    ],
)
def test_the_decision_rule(
    classifier: BundleContent,
    detector: Detector,
    decision: DecisionThreshold,
    fault_rule: FaultRule,
    expected: str,
) -> None:
    """A fault that the classifier names is named unless its distance is too large; a score of the detector alone is
    an unknown fault; else the verdict is normal."""
    predictor = both(classifier, detector, decision, fault_rule)
    verdict = judged(predictor, fan(100))
    worst = verdict.worst
    assert worst.novelty is not None
    assert worst.score == worst.novelty.score
    assert worst.is_anomalous is (expected != "normal")
    if expected == "known":
        faults = [predictor.model.labels.classes[i] for i in predictor.model.labels.fault_indices]
        most = max(faults, key=lambda label: worst.probabilities[predictor.model.labels.classes.index(label)])
        assert worst.label == most
    else:
        assert worst.label.name == expected if expected != "normal" else not worst.label.anomalous
    assert verdict.fault_rule == fault_rule


def test_a_detector_does_not_change_the_classifiers_output(classifier: BundleContent, detector: Detector) -> None:
    """Probabilities and classifier score equal those of the classifier alone, to the bit."""
    single = Predictor(ServedModel.as_written(Bundle("single", "", classifier)))
    verdict = judged(both(classifier, detector, NEVER, UNSURE), with_tone(1))
    before = single.predict(recorded(single, with_tone(1)))
    assert verdict.worst.probabilities == before.worst.probabilities
    assert verdict.worst.classifier_score == before.worst.score
    assert before.worst.novelty is None
    assert (before.unusable, before.explanation, before.p_value, before.fault_rule) == (None, None, None, None)


def test_a_shared_spectrum_gives_the_same_features(classifier: BundleContent, detector: Detector) -> None:
    """If classifier and detector use one spectrum, it is computed once, with the features of the classifier alone."""
    spec = dataclasses.replace(
        classifier.spec, n_mfcc=None, n_fft=1024, hop_length=512, silent_frames=0, level="clip_mean"
    )
    shared = dataclasses.replace(spec, dynamic_range_db=None, level="as_recorded")
    extractor, raw = FeatureExtractor(spec), FeatureExtractor(shared)
    clip = with_tone(2)[:, 0].astype(np.float32)
    np.testing.assert_array_equal(
        extractor.apply_floor_and_level(compute_spectra(raw, clip).log_mel.copy()), extractor.log_mel(clip)
    )


def test_an_anomalous_window_decides(classifier: BundleContent, detector: Detector) -> None:
    """With a tone in the second half of a long recording, a window of that half decides, and the timeline shows it."""
    quiet, loud = fan(3, seconds=11), with_tone(4)
    predictor = alone(classifier, detector, DecisionThreshold(0.85, None, "by the test"))
    verdict = judged(predictor, np.concatenate([quiet, loud]))
    assert [window.is_anomalous for window in verdict.timeline] == [False, *[True] * (len(verdict.timeline) - 1)]
    assert verdict.worst.start_s > 4


# A detector alone


def test_a_detector_alone_has_no_classes(classifier: BundleContent, detector: Detector) -> None:
    """The verdict has no probabilities, a p-value, an explanation, and the message of an unknown fault."""
    predictor = alone(classifier, detector, DecisionThreshold(0.8, 0.1, "by the test"))
    verdict = judged(predictor, with_tone(5))
    assert (verdict.value, verdict.message) == ("anomalous", "Unknown fault")
    assert (verdict.classes, verdict.worst.probabilities) == ((), ())
    assert verdict.p_value == pytest.approx(1 / 9)
    assert verdict.machine_known
    assert verdict.explanation is not None
    assert verdict.explanation.band_deviations[0].low_hz < 3000 < verdict.explanation.band_deviations[0].high_hz
    fine = judged(predictor, fan(6))
    assert (fine.value, fine.message) == ("normal", "Component OK")


def test_a_detector_alone_is_written_read_and_checked(
    classifier: BundleContent, detector: Detector, tmp_path: Path
) -> None:
    """A bundle of a detector alone goes through the registry, and gives the same verdict."""
    registry = Registry(tmp_path)
    predictor = alone(classifier, detector, DecisionThreshold(0.8, 0.1, "by the test"))
    novelty = golden_answer(predictor, make_golden_clip()).values[-1]
    content = dataclasses.replace(
        predictor.model.bundle.content, golden_clip=GoldenClip(make_golden_clip(), (), novelty)
    )
    with registry.incoming() as folder:
        bundle.write(folder, "alone", content, None)
        version = registry.add(folder)
    registry.promote(version)
    served = registry.load_predictor("champion")
    assert judged(served, with_tone(7)).worst == judged(predictor, with_tone(7)).worst
    exported = tmp_path / "alone.zip"
    registry.export(version, exported)
    assert Registry(tmp_path / "edge").add_archive(exported) == version


def test_another_answer_to_the_golden_clip_is_refused(classifier: BundleContent, detector: Detector) -> None:
    """A changed detector gives another answer to its golden clip."""
    from ml.errors import GoldenClipFailed

    content = alone(classifier, detector, ALWAYS).model.bundle.content
    content = dataclasses.replace(content, golden_clip=GoldenClip(make_golden_clip(), (), 0.123))
    with pytest.raises(GoldenClipFailed, match=r"0\.123"):
        load_verified(ServedModel.as_written(Bundle("changed", "", content)))


@pytest.mark.parametrize("fault_rule", [None, UNSURE])
def test_a_fault_rule_without_both_parts_is_refused(
    classifier: BundleContent, detector: Detector, fault_rule: FaultRule | None
) -> None:
    """A fault rule needs both parts and both parts need a fault rule; a bundle with neither part is refused."""
    with pytest.raises(
        BundleDamaged, match="a fault rule was expected with both a network and a detector, and only then"
    ):
        dataclasses.replace(classifier, detector=None if fault_rule else detector, fault_rule=fault_rule)
    with pytest.raises(BundleDamaged, match="neither a network nor a detector"):
        dataclasses.replace(classifier, litert=None)


# Unusable recordings


def lowpassed(samples: NDArray[np.float64], above_hz: float) -> NDArray[np.float64]:
    """Remove all frequencies above a limit."""
    spectrum = np.fft.rfft(samples[:, 0])
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE_HZ) > above_hz] = 0
    return np.fft.irfft(spectrum, len(samples))[:, None]


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (lambda fan: np.zeros_like(fan), "silence", "same value"),
        (lambda fan: fan * 1e-3, "too_quiet", "Check that the machine runs"),
        (lambda fan: np.clip(fan * 20, -1, 1), "clipped", "full scale"),
        (lambda fan: lowpassed(fan, 4000.0), "band_limited", "has no sound above"),
        (lambda fan: lowpassed(fan, 9000.0), "band_limited", "has no sound above"),
    ],
)
def test_unusable_recordings_have_a_reason(
    classifier: BundleContent, detector: Detector, spoil: object, code: str, message: str
) -> None:
    """A dead, far, clipped or muffled microphone gives neither normal nor anomalous, but a code and a message."""
    verdict = judged(alone(classifier, detector, NEVER), spoil(fan(8)))  # type: ignore[operator]  # a lambda above
    assert verdict.value == "unusable"
    assert verdict.unusable is not None
    assert verdict.unusable.code == code
    assert message in verdict.message


def test_one_dead_normal_recording_does_not_change_the_limit(classifier: BundleContent) -> None:
    """With one recording of an unplugged microphone among twelve, another one is still unusable."""
    spec = detector_spec(classifier.spec)
    extractor = FeatureExtractor(spec)
    hiss = sounds.noise(round(SECONDS * RATE_HZ), seed=1, level=1e-5)
    taken = [(fan(seed), -25.6) for seed in range(11)] + [(hiss, -100.0)]
    normal = [
        NormalRecording(
            (compute_spectra(extractor, each[:, 0].astype(np.float32)),),
            "fan/id_00",
            "one",
            f"{number}.wav",
            level_dbfs,
        )
        for number, (each, level_dbfs) in enumerate(taken)
    ]
    detector = fit_detector(spec, [engine_by_name(name) for name in DEFAULT_ENGINES], normal)
    found = judged(alone(classifier, detector, NEVER), 2 * sounds.noise(len(hiss), seed=2, level=1e-5)).unusable
    assert found is not None
    assert found.code == "too_quiet"


@pytest.mark.parametrize(("clipped_recordings", "code"), [(1, "clipped"), (3, None)])
def test_one_clipped_normal_recording_does_not_change_the_limit(
    classifier: BundleContent, detector: Detector, clipped_recordings: int, code: str | None
) -> None:
    """With three of eight clipped, the machine is recorded like that, and clipping is accepted."""
    shares = np.zeros(len(detector.reference.names))
    shares[:clipped_recordings] = 0.2
    reference = dataclasses.replace(detector.reference, clipped_share=shares)
    predictor = alone(classifier, dataclasses.replace(detector, reference=reference), ALWAYS)
    clipped = fan(8)
    clipped[: len(clipped) // 20] = 1.0
    found = judged(predictor, clipped).unusable
    assert (found and found.code) == code


def test_a_recording_at_a_low_sample_rate_is_unusable(classifier: BundleContent, detector: Detector) -> None:
    """At 8 kHz the recording lacks frequencies that the detector has learned from."""
    verdict = judged(alone(classifier, detector, NEVER), sounds.fan(SECONDS, rate_hz=8_000, seed=9), rate_hz=8_000)
    assert verdict.unusable is not None
    assert verdict.unusable.code == "band_limited"


@pytest.mark.parametrize("gain", [0.25, 1.0, 2.0])
def test_a_normal_fan_is_judged_at_usual_gains(classifier: BundleContent, detector: Detector, gain: float) -> None:
    """12 dB softer or 6 dB louder is usable, and the score hardly changes."""
    predictor = alone(classifier, detector, NEVER)
    usual, moved = judged(predictor, fan(10)), judged(predictor, fan(10) * gain)
    assert moved.value == "normal"
    assert moved.worst.score == pytest.approx(usual.worst.score, abs=0.01)


def test_a_named_machine_is_compared_with_its_own_recordings(classifier: BundleContent, detector: Detector) -> None:
    """For a named machine, p-value and out-of-domain limit are its own; for an unnamed one, those of the nearest
    machine."""
    calibration = dataclasses.replace(detector.calibration, named=np.zeros(8), unnamed=np.ones(8))
    out_of_domain = dataclasses.replace(detector.out_of_domain, most=np.array([1e-6, 1e6]))
    predictor = alone(
        classifier, dataclasses.replace(detector, calibration=calibration, out_of_domain=out_of_domain), NEVER
    )
    named, unnamed = (predictor.predict(recorded(predictor, fan(12)), machine) for machine in ("id_00", None))
    assert (named.p_value, unnamed.p_value) == (1 / 9, 1.0)
    assert named.unusable is not None
    assert (named.unusable.code, unnamed.unusable) == ("foreign", None)


def test_an_out_of_domain_sound_is_not_normal(classifier: BundleContent, detector: Detector) -> None:
    """Bursts of noise with the fan's spectrum are unusable, unless the detector's score is above the threshold."""
    gate = (np.arange(round(SECONDS * RATE_HZ)) % RATE_HZ < RATE_HZ // 2)[:, None]
    bursts = fan(11) * (0.1 + gate)
    verdict = judged(alone(classifier, detector, NEVER), bursts)
    assert verdict.unusable is not None
    assert verdict.unusable.code == "foreign"
    assert judged(alone(classifier, detector, ALWAYS), bursts).value == "anomalous"
