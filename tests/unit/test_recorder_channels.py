"""Channels that disagree: named, and without influence on the mean of the intact ones. Checks without a detector."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.audio.channels import ChannelMeter
from ml.audio.decode import decode
from ml.audio.info import read_info
from ml.detectors.recorder_checks import check_recorder
from ml.features.spec import FeatureSpec
from ml.models.bundle import Bundle, DecisionThreshold
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.models.verdict import Verdict
from tests import sounds
from tests.unit.recorders import RATE_HZ, SPEC, Samples, detector_of_fans, fan, recorded, verdicts

ChannelFault = Callable[[Samples], Samples]


def dead(samples: Samples) -> Samples:
    """An input without a signal."""
    return 0 * samples


def unplugged(samples: Samples) -> Samples:
    """The noise of an open input."""
    return 0 * samples + np.random.default_rng(0).normal(0, 0.00003, len(samples))


def stuck(samples: Samples) -> Samples:
    """A constant value near full scale."""
    return 0 * samples + 0.9


def inverted(samples: Samples) -> Samples:
    """Two wires in the wrong order."""
    return -samples


def clipped(samples: Samples) -> Samples:
    """Far too much gain."""
    return 300 * samples


def with_offset(samples: Samples) -> Samples:
    """A mean of its own."""
    return samples + 0.1


FAULTS: dict[ChannelFault, str] = {
    dead: "dead",
    unplugged: "dead",
    inverted: "inverted",
    clipped: "clipped",
    with_offset: "offset",
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A default detector of forty recordings of a healthy fan."""
    return detector_of_fans()


def beside(fault: ChannelFault, channels: int = 2) -> Callable[[Samples], Samples]:
    """Several microphones with a little noise each; the last but one has a fault."""

    def record(samples: Samples) -> Samples:
        own = [np.random.default_rng(c).normal(0, 0.0004, len(samples)) for c in range(channels)]
        columns = [samples + noise for noise in own]
        columns[-2] = fault(columns[-2])
        return np.stack(columns, axis=1)

    return record


@pytest.mark.parametrize("channels", [2, 3, 8])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_channel_has_no_influence(predictor: Predictor, fault: ChannelFault, channels: int) -> None:
    """Healthy recordings stay normal, faulty ones anomalous, and ``quality`` has the channel."""
    healthy = verdicts(predictor, beside(fault, channels))
    assert [verdict.value for verdict in healthy] == ["normal"] * 6
    found = [(each.channel, each.fault) for each in healthy[0].quality.channel_faults]
    # Of two channels, the second is inverted relative to the first.
    assert found == [(1 if channels == 2 and fault is inverted else channels - 2, FAULTS[fault])]
    faulty = verdicts(predictor, beside(fault, channels), blade_hz=90)
    assert [verdict.value for verdict in faulty] == ["anomalous"] * 6


def test_equal_channels_have_no_faults() -> None:
    """Also if all of them are dead, clipped or inverted."""
    for fault in (lambda samples: samples, *FAULTS):
        samples = fault(fan(0))
        assert decode(recorded(np.stack([samples, samples], axis=1))).quality.channel_faults == ()


def test_microphones_with_little_in_common_are_intact() -> None:
    """Noise of its own in each channel, and opposite phase of a part."""
    noise = sounds.noise(16_000, 4, level=0.05)
    noise[:, 1] -= 0.5 * noise[:, 0]
    assert decode(recorded(noise)).quality.channel_faults == ()


def test_most_channels_decide_which_is_inverted() -> None:
    """Also if it is the first one, and if only neighbours are similar."""
    sources = sounds.noise(16_000, 9, level=0.05)
    ring = np.stack([sources[:, c : c + 4].sum(axis=1) for c in range(6)], axis=1)
    ring[:, 0] *= -1
    found = decode(recorded(ring), channel="intact").quality.channel_faults
    assert [(each.channel, each.fault) for each in found] == [(0, "inverted")]


def tone(hz: float, phase: float = 0, level: float = 0.3) -> Samples:
    """A tone of four seconds."""
    return level * np.sin(2 * np.pi * hz * np.arange(len(fan(0))) / RATE_HZ + phase)


@pytest.mark.parametrize("hz", [125, 250, 500, 1000, 2000, 3000, 4000])
def test_a_tone_is_neither_dead_nor_an_offset(hz: float) -> None:
    """Also if its period is a divisor of a step between the measured frames, or of a block."""
    noise = sounds.noise(len(fan(0)), 1, level=0.1)[:, 0]
    for columns in ((tone(hz), noise), (tone(hz), tone(hz, 1)), (tone(hz), tone(hz))):
        assert decode(recorded(np.stack(columns, axis=1))).quality.channel_faults == ()
    found = decode(recorded(np.stack((tone(hz), -tone(hz)), axis=1))).quality.channel_faults
    assert [(each.channel, each.fault) for each in found] == [(1, "inverted")]


def test_a_low_tone_of_opposite_signs_is_not_inverted() -> None:
    """A tone of a machine can reach both sides of it with opposite signs; its noise does not."""
    noise = sounds.noise(len(fan(0)), 3, level=0.05)
    for common in (noise[:, :2], noise[:, 1:] + noise[:, :1]):
        columns = common + np.stack((tone(100), -tone(100)), axis=1)
        assert decode(recorded(columns)).quality.channel_faults == ()


def test_a_few_frames_have_no_faults() -> None:
    """Too few to compare; the last block of a recording can be as short."""
    for frames in (1, 2):
        meter = ChannelMeter(2, full_scale=1.0)
        meter.read(sounds.noise(frames, 2, level=0.1))
        assert {each.fault for each in meter.faults(np.zeros(2))} <= {"offset"}


def test_the_mean_of_intact_channels_is_exact() -> None:
    """A dead channel does not halve the level; the mean of all channels is as before."""
    samples = fan(0)
    data = recorded(beside(dead, 3)(samples))
    intact = decode(data, channel="intact")
    np.testing.assert_allclose(intact.samples, (decode(data, channel=0).samples + decode(data, channel=2).samples) / 2)
    np.testing.assert_allclose(decode(data).samples, 2 / 3 * intact.samples, atol=1e-7)


def test_a_mean_that_cancels_is_no_silence(predictor: Predictor) -> None:
    """A model that takes the mean of all channels has nothing to judge; the reason is the wire."""
    content = predictor.model.bundle.content
    assert content.detector is not None
    detector = replace(content.detector, spec=replace(content.detector.spec, channel="mean"))
    earlier = replace(content, spec=replace(SPEC, channel="mean"), detector=detector)
    model = Predictor(ServedModel.as_written(Bundle("earlier", "", earlier)))
    for own_noise in (0, 0.00003):
        columns = np.stack([fan(0), -fan(0)], axis=1) + np.random.default_rng(0).normal(0, own_noise, (64_000, 2))
        verdict = model.predict(model.decode(recorded(columns)))
        assert verdict.unusable is not None
        assert verdict.unusable.code == "inverted"
        assert verdict.unusable.detail.startswith("Channel 1 is inverted, so the mean of the 2 channels cancels")


def test_a_channel_that_is_stuck_is_dead(predictor: Predictor) -> None:
    """Its offset is large, and has no influence."""
    (verdict, *_) = verdicts(predictor, beside(stuck, 3))
    assert verdict.value == "normal"
    assert [(each.channel, each.fault) for each in verdict.quality.channel_faults] == [(1, "dead"), (1, "offset")]
    assert abs(verdict.quality.offset) < 0.001


def test_an_offset_that_clips_is_named(predictor: Predictor) -> None:
    """A smaller gain would not help."""
    for verdict in verdicts(predictor, lambda samples: samples + 0.99):
        assert verdict.unusable is not None
        assert verdict.unusable.code == "clipped"
        assert "The offset is 0.9" in verdict.unusable.detail


def test_the_level_is_without_the_offset(predictor: Predictor) -> None:
    """In the answer, and in the index of a dataset."""
    samples = fan(0)
    clean, shifted = (decode(recorded(samples + level)) for level in (0, 0.3))
    assert shifted.quality.level_dbfs == pytest.approx(clean.quality.level_dbfs, abs=0.01)
    assert shifted.quality.level_with_offset_dbfs == pytest.approx(-10.4, abs=0.1)
    assert read_info(recorded(samples + 0.3)).level_dbfs == pytest.approx(clean.quality.level_dbfs, abs=0.01)
    assert read_info(recorded(0 * samples + 0.3)).level_dbfs is None
    explained = predictor.predict(shifted, explain=True).explanation
    assert explained is not None
    assert explained.level_change_db == pytest.approx(clean.quality.level_dbfs + 30, abs=0.01)


# A classifier alone


@pytest.fixture(scope="module")
def classifiers(original_home: Path) -> tuple[Predictor, Predictor]:
    """A new classifier without a detector, and one of an earlier version. Both call everything normal."""
    content = Registry(original_home).load_predictor("champion").model.bundle.content
    content = replace(content, decision=DecisionThreshold(1.0, None, "never"))
    new = replace(content, spec=replace(content.spec, offset="removed", channel="intact"))
    first, second = (Predictor(ServedModel.as_written(Bundle("alone", "", each))) for each in (new, content))
    return first, second


def long(samples: Samples) -> Samples:
    """Twelve seconds."""
    return np.concatenate([samples] * 3)


@pytest.mark.parametrize(
    ("fault", "rate_hz", "code"),
    [
        (lambda samples: long(samples), 22_050, None),
        (lambda samples: long(samples) * 0, 22_050, "silence"),
        (lambda samples: long(samples) * 100, 22_050, "clipped"),
        (lambda samples: np.concatenate([samples, 0 * samples, 0 * samples]), 22_050, "dropouts"),
        (lambda samples: long(samples), 16_000, "band_limited"),
        (lambda samples: np.stack([long(samples), -long(samples)], axis=1), 22_050, None),
    ],
)
def test_a_classifier_alone_names_what_header_and_samples_show(
    classifiers: tuple[Predictor, Predictor], fault: Callable[[Samples], Samples], rate_hz: int, code: str | None
) -> None:
    """The one of an earlier version judges everything, as before."""
    new, earlier = classifiers
    data = recorded(fault(fan(0)), rate_hz)

    def reason(model: Predictor) -> str | None:
        verdict: Verdict = model.predict(model.decode(data))
        return None if verdict.unusable is None else verdict.unusable.code

    assert reason(new) == code
    assert reason(earlier) is None


def test_a_classifier_alone_leaves_frames_with_gaps_out(classifiers: tuple[Predictor, Predictor]) -> None:
    """Two gaps of 100 ms change its score less than in a classifier of an earlier version."""
    new, earlier = classifiers
    samples = long(fan(0))
    gaps = samples.copy()
    gaps[20_000:22_205] = gaps[90_000:92_205] = 0

    def change(model: Predictor) -> float:
        before, after = (model.clip_results(model.decode(recorded(each, 22_050)))[0] for each in (samples, gaps))
        return float(np.abs(np.subtract(before.probabilities, after.probabilities)).sum())

    assert change(new) < change(earlier) / 2


def test_gaps_are_no_fade_for_a_classifier_alone(classifiers: tuple[Predictor, Predictor]) -> None:
    """Frames of gaps of 200 ms do not count in the level of a quarter, so an unusual sound is reported."""
    content = classifiers[0].model.bundle.content
    content = replace(content, decision=DecisionThreshold(0.0, None, "always"))
    model = Predictor(ServedModel.as_written(Bundle("alone", "", content)))
    samples = long(fan(0))
    for start in (10_000, 20_000, 30_000):
        samples[start : start + 4_410] = 0
    verdict = model.predict(model.decode(recorded(samples, 22_050)))
    assert (verdict.unusable, verdict.value) == (None, "anomalous")


def test_the_checks_without_a_detector_need_no_recording() -> None:
    """A clean recording passes, and one without a level does not."""
    clean = decode(recorded(fan(0))).quality
    spec = FeatureSpec(sample_rate_hz=RATE_HZ, fmax_hz=8000.0, clip_frames=32)
    assert check_recorder(clean, spec) is None
    assert check_recorder(replace(clean, level_dbfs=None), spec) is not None
