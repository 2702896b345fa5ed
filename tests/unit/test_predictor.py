"""The predictor: the original's answers, the documented rules, and the same bits every time."""

import dataclasses
import hashlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.classifier.litert import LiteRTNetwork
from ml.errors import BundleDamaged, GoldenClipFailed
from ml.features.extractor import FeatureExtractor
from ml.models.bundle import MANIFEST, Bundle
from ml.models.demonstration import DEMONSTRATION, DEMONSTRATION_NOTE
from ml.models.explanations import occlusion_bands
from ml.models.golden import GOLDEN_TOLERANCE, load_verified, make_golden_clip
from ml.models.labels import ClassLabel, ClassLabels
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.models.served import ServedModel
from ml.models.verdict import Verdict
from testing import keras2
from tests import sounds

# The original's clip: 433 frames of 512 samples at 22 050 Hz, of which the first is centred on the first sample.
RATE_HZ, CLIP, FRAME = 22_050, 432 * 512, 512


@pytest.fixture(scope="session")
def predictor(original_home: Path) -> Predictor:
    """The network with random weights."""
    return Registry(original_home).load_predictor("champion")


@pytest.fixture(scope="session")
def real(real_home: Path) -> Predictor:
    """The original project's published network."""
    return Registry(real_home).load_predictor("champion")


def judge(predictor: Predictor, samples: NDArray[np.float64], rate_hz: int = 16_000) -> Verdict:
    """Judge a float WAV, which rounds nothing."""
    return predictor.predict(predictor.decode(sounds.recording(samples, "float32", rate_hz)))


# The original's answers


@pytest.mark.parametrize("name", ["normal.wav", "pb1.wav", "pb2.wav", "pb3.wav"])
def test_the_original_recordings_get_the_original_answers(real: Predictor, seed: Path, name: str) -> None:
    """The message is that of expected.json; probabilities agree to 1e-4, where 0.02 is required."""
    expected = json.loads((seed / "expected.json").read_text())["answers"][name]
    verdict = real.predict(real.decode((seed / name).read_bytes()))
    assert len(verdict.timeline) == 1
    assert verdict.worst.is_anomalous is expected["Anomaly"]
    assert verdict.worst.label.message == expected["Details"]["Message"]
    assert verdict.worst.probabilities == pytest.approx(expected["Details"]["Probabilities"], abs=1e-4)


def test_the_answer_is_the_networks_for_the_features(predictor: Predictor, original_file: Path) -> None:
    """Probabilities equal those of numpy for the decoded, resampled and fitted MFCCs."""
    sound = sounds.fan(7)
    spec = predictor.model.bundle.content.spec
    extractor = FeatureExtractor(spec)
    features = extractor(extractor.resample(sound[:, 0].astype(np.float32), 16_000))
    expected = keras2.forward(keras2.read_weights(original_file), features)
    assert judge(predictor, sound).worst.probabilities == pytest.approx(expected, abs=1e-5)


def test_equal_channels_give_the_same_answer_as_one(predictor: Predictor) -> None:
    """The model uses the mean of the channels."""
    sound = sounds.fan(3)
    eight = judge(predictor, np.repeat(sound, 8, axis=1))
    assert eight.worst.probabilities == pytest.approx(judge(predictor, sound).worst.probabilities, abs=1e-5)
    assert eight.quality.channels == 8


# Always the same


def test_the_same_to_the_bit_from_many_threads(predictor: Predictor) -> None:
    """Eight threads, a hundred calls, four recordings: each call gives the answer of a single thread."""
    recordings = [predictor.decode(sounds.recording(sounds.fan(2 + 6 * i, seed=i))) for i in range(4)]
    alone = [predictor.predict(recording) for recording in recordings]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: predictor.predict(recordings[i % 4]), range(100)))
    assert found == [alone[i % 4] for i in range(100)]


def test_two_predictors_share_nothing(original_home: Path, predictor: Predictor) -> None:
    """Two predictors of one model give equal answers to the bit, and do not disturb each other."""
    other = Registry(original_home).load_predictor("champion")
    first, second = sounds.fan(4, seed=1), sounds.fan(4, seed=2)
    before = judge(predictor, first)
    judge(other, second)
    assert judge(predictor, first) == before == judge(other, first)


def test_a_recording_is_not_changed(predictor: Predictor) -> None:
    """Judging writes into no array of the recording."""
    recording = predictor.decode(sounds.recording(sounds.fan(3)))
    kept = recording.samples.copy()
    recording.samples.setflags(write=False)
    occlusion_bands(predictor, recording, predictor.predict(recording).worst)
    np.testing.assert_array_equal(recording.samples, kept)


# Timeline windows


@pytest.mark.parametrize(
    ("duration_s", "windows"),
    [(0.5, 1), (3, 1), (9.9, 1), (10, 1), (10.05, 1), (10.06, 2), (15, 2), (15.1, 3), (25, 4), (61, 12)],
)
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
def test_every_length_is_judged(predictor: Predictor, duration_s: float, windows: int, rate_hz: int) -> None:
    """From half a second to a minute, at several rates, the timeline has the documented number of windows."""
    verdict = judge(predictor, sounds.noise(round(duration_s * rate_hz)), rate_hz)
    assert len(verdict.timeline) == windows
    for window in verdict.timeline:
        assert sum(window.probabilities) == pytest.approx(1, abs=1e-5)
        assert 0 <= window.score <= 1


def documented_windows(samples: int) -> list[tuple[int, int]]:
    """The documented rule: half a clip after the last, and a final window that ends with the recording."""
    if samples < CLIP + FRAME:
        return [(0, samples)]
    windows, start = [], 0
    while start + CLIP < samples:
        windows.append((start, start + CLIP))
        start += CLIP // 2
    return [*windows, (samples - CLIP, samples)]


@settings(max_examples=25)
@given(samples=st.integers(RATE_HZ // 2, 40 * RATE_HZ))
def test_windows_follow_the_documented_rule(predictor: Predictor, samples: int) -> None:
    """Each window is one clip, half a clip after the last; the final one ends with the recording, and no part is
    left out."""
    timeline = judge(predictor, sounds.noise(samples), RATE_HZ).timeline
    found = [(window.start_s, window.end_s) for window in timeline]
    np.testing.assert_allclose(found, np.divide(documented_windows(samples), RATE_HZ), rtol=0, atol=1e-9)
    assert timeline[0].start_s == 0
    assert timeline[-1].end_s == pytest.approx(samples / RATE_HZ, abs=1e-9)
    assert all(later.start_s < earlier.end_s for earlier, later in itertools.pairwise(timeline))


def test_each_window_is_judged_as_if_alone(predictor: Predictor) -> None:
    """A window's probabilities are those of a recording of this part."""
    sound = np.vstack([sounds.fan(12, RATE_HZ, seed=1), sounds.noise(13 * RATE_HZ, level=0.2)])
    timeline = judge(predictor, sound, RATE_HZ).timeline
    for window, (start, stop) in zip(timeline, documented_windows(len(sound)), strict=True):
        alone = judge(predictor, sound[start:stop], RATE_HZ)
        assert alone.timeline[0].probabilities == window.probabilities


def test_the_most_anomalous_window_decides(predictor: Predictor) -> None:
    """The worst window has the highest score, at any place in the recording."""
    quiet, loud = sounds.fan(15), sounds.noise(15 * 16_000, level=0.3)
    scores = {}
    for name, order in (("at the end", (quiet, loud)), ("at the start", (loud, quiet))):
        verdict = judge(predictor, np.vstack(order))
        assert len({window.score for window in verdict.timeline}) > 1
        assert verdict.worst in verdict.timeline
        assert verdict.worst.score == max(window.score for window in verdict.timeline)
        scores[name] = [window.score for window in verdict.timeline].index(verdict.worst.score)
    assert scores["at the end"] > scores["at the start"]


def test_a_repeated_real_recording_keeps_its_verdict(real: Predictor, seed: Path) -> None:
    """A minute of an anomalous recording is anomalous."""
    samples = np.tile(real.decode((seed / "pb1.wav").read_bytes()).samples[:, None], (6, 1))
    verdict = judge(real, samples.astype(np.float64))
    assert len(verdict.timeline) == 11
    assert verdict.worst.is_anomalous
    assert verdict.quality.duration_s == 60


# Score and verdict

probabilities = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4).filter(lambda p: sum(p) > 0)


@given(probabilities, st.lists(st.booleans(), min_size=4, max_size=4).filter(lambda a: 0 < sum(a) < 4))
def test_a_score_above_one_half_means_that_a_fault_is_most_probable(
    predictor: Predictor, weights: list[float], anomalous: list[bool]
) -> None:
    """The score is from 0 to 1, and above 0.5 if and only if the most probable class is a fault."""
    shares = tuple(float(np.float32(w / sum(weights))) for w in weights)
    labels = ClassLabels(tuple(ClassLabel(f"c{i}", f"Class {i}", anomalous=a) for i, a in enumerate(anomalous)))
    score = Predictor(dataclasses.replace(predictor.model, labels=labels)).classifier_score(shares)
    fault = max(p for p, a in zip(shares, anomalous, strict=True) if a)
    healthy = max(p for p, a in zip(shares, anomalous, strict=True) if not a)
    assert 0 <= score <= 1
    assert (score > 0.5) == (fault > healthy)
    assert score == pytest.approx(fault / (fault + healthy))


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.3, 0.4, 0.5, 1.0])
def test_the_threshold_decides_verdict_and_label(predictor: Predictor, threshold: float) -> None:
    """Above it the label is the most probable fault, otherwise the most probable normal class."""
    content = predictor.model.bundle.content
    decision = dataclasses.replace(content.decision, threshold=threshold, false_alarm_rate=0.05)
    moved = Predictor(
        ServedModel.as_written(
            dataclasses.replace(predictor.model.bundle, content=dataclasses.replace(content, decision=decision))
        )
    )
    verdict = judge(moved, sounds.fan(25))
    assert (verdict.threshold, verdict.false_alarm_rate) == (threshold, 0.05)
    for window in verdict.timeline:
        assert window.is_anomalous == (window.score > threshold)
        likely = sorted(zip(window.probabilities, verdict.classes, strict=True), key=lambda pair: -pair[0])
        expected = next(label for _, label in likely if label.anomalous == window.is_anomalous)
        assert window.label == expected


def test_a_verdict_has_the_version(predictor: Predictor, original_home: Path) -> None:
    """It also has the revision of the labels, the classes and the recording's quality."""
    verdict = judge(predictor, sounds.fan(1))
    assert verdict.version == Registry(original_home).resolve("champion")
    assert verdict.labels_revision == 1
    assert verdict.classes == predictor.model.labels.classes
    assert verdict.quality.duration_s == 1


def test_a_demonstration_model_states_what_it_is(predictor: Predictor) -> None:
    """In each verdict; a model of another source has no note."""
    model = predictor.model
    content = dataclasses.replace(model.bundle.content, card={"source": {"kind": DEMONSTRATION}})
    bundle = dataclasses.replace(model.bundle, content=content)
    demonstration = Predictor(dataclasses.replace(model, bundle=bundle))
    silence = np.zeros((16_000, 1))
    assert judge(demonstration, silence).note == DEMONSTRATION_NOTE
    assert judge(predictor, silence).note is None


def test_a_model_can_use_one_channel(predictor: Predictor) -> None:
    """A spec with channel 1 uses that channel only."""
    content = predictor.model.bundle.content
    spec = dataclasses.replace(content.spec, channel=1)
    second = Predictor(
        ServedModel.as_written(
            dataclasses.replace(predictor.model.bundle, content=dataclasses.replace(content, spec=spec))
        )
    )
    verdict = judge(second, np.hstack([sounds.noise(32_000, level=0.3), sounds.fan(2)]))
    assert verdict.worst.probabilities == judge(predictor, sounds.fan(2)).worst.probabilities


# Occlusion


@pytest.mark.parametrize("count", [1, 2, 8, 128, 200])
def test_bands_are_sorted_and_cover_the_range(predictor: Predictor, count: int) -> None:
    """They are finite, the strongest first, from 0 to half the sample rate, and never more than the mel bands."""
    recording = predictor.decode(sounds.recording(sounds.fan(12)))
    bands = occlusion_bands(predictor, recording, predictor.predict(recording).worst, count)
    assert 0 < len(bands) <= min(count, 128)
    drops = [band.score_drop for band in bands]
    assert drops == sorted(drops, reverse=True)
    assert all(-1 <= drop <= 1 for drop in drops)
    by_frequency = sorted(bands, key=lambda band: band.low_hz)
    assert by_frequency[0].low_hz == 0
    assert by_frequency[-1].high_hz == pytest.approx(8_000)
    assert all(band.low_hz < band.high_hz for band in bands)
    assert all(upper.low_hz <= lower.high_hz for lower, upper in itertools.pairwise(by_frequency))


def test_bands_of_real_recordings_have_a_share_of_the_score(real: Predictor, seed: Path) -> None:
    """On a real fault some band has a share of the score."""
    recording = real.decode((seed / "pb1.wav").read_bytes())
    bands = occlusion_bands(real, recording, real.predict(recording).worst)
    assert len(bands) == 8
    assert bands[0].score_drop > 0.01


@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_is_judged_and_marked(predictor: Predictor, level: float) -> None:
    """A dead input gets an answer with finite numbers, and the quality facts have digital silence."""
    recording = predictor.decode(sounds.recording(np.full((32_000, 1), level), "float32"))
    verdict = predictor.predict(recording)
    assert verdict.quality.digital_silence
    assert np.isfinite(verdict.worst.probabilities).all()
    assert np.isfinite([band.score_drop for band in occlusion_bands(predictor, recording, verdict.worst)]).all()


# Refusals


def test_another_input_shape_is_refused(predictor: Predictor) -> None:
    """The spec must give the network's input shape."""
    content = predictor.model.bundle.content
    spec = dataclasses.replace(content.spec, n_mfcc=13)
    with pytest.raises(BundleDamaged, match=r"\(1, 40, 433, 1\).*\(1, 13, 433, 1\)"):
        Predictor(
            ServedModel.as_written(
                dataclasses.replace(predictor.model.bundle, content=dataclasses.replace(content, spec=spec))
            )
        )


def test_labels_must_be_as_many_as_outputs(predictor: Predictor) -> None:
    """This holds for later labels too."""
    labels = ClassLabels((ClassLabel("a", "A", anomalous=False), ClassLabel("b", "B", anomalous=True)))
    with pytest.raises(BundleDamaged, match=r"4 outputs; 2 were expected"):
        Predictor(dataclasses.replace(predictor.model, labels=labels))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + bytes(64), bytes(10_000)])
def test_other_bytes_than_a_network_are_refused(content: bytes) -> None:
    """The error is BundleDamaged, with LiteRT's message."""
    with pytest.raises(BundleDamaged, match="LiteRT"):
        LiteRTNetwork(content)


# The golden clip


def test_the_golden_clip_never_changes() -> None:
    """Its bytes are pinned, because a bundle that was written elsewhere is checked with them."""
    assert (
        hashlib.sha256(make_golden_clip()).hexdigest()
        == "1526b7872efe4b9c4650d5d0c1816564ed8036a8ebdde60f2394bbbc25ea05ed"
    )
    samples = sounds.read_with_soundfile(make_golden_clip())
    assert samples.shape == (48_000, 1)
    assert np.abs(samples).max() < 0.5


@pytest.mark.parametrize(("off_by", "loads"), [(0.5 * GOLDEN_TOLERANCE, True), (2 * GOLDEN_TOLERANCE, False)])
def test_the_golden_answer_is_checked_within_its_tolerance(predictor: Predictor, off_by: float, loads: bool) -> None:
    """Another processor's rounding is accepted; another network is not."""
    golden = predictor.model.bundle.content.golden_clip
    first, *rest = golden.probabilities
    moved = dataclasses.replace(golden, probabilities=(first + off_by, *rest))
    edited = dataclasses.replace(
        predictor.model.bundle, content=dataclasses.replace(predictor.model.bundle.content, golden_clip=moved)
    )
    if loads:
        assert load_verified(ServedModel.as_written(edited)).model.bundle == edited
    else:
        with pytest.raises(GoldenClipFailed, match="golden clip"):
            load_verified(ServedModel.as_written(edited))


def test_every_bundle_in_the_registry_loads_from_disk(original_home: Path) -> None:
    """A version that is read again has the same content."""
    registry = Registry(original_home)
    for version in registry.versions():
        assert Bundle.read(registry.path(version)) == registry.read(version)
        assert registry.path(version).joinpath(MANIFEST).is_file()
