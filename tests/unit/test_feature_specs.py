"""Feature specs chosen from recordings."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.features.extractor import FeatureExtractor
from ml.features.feature_specs import LONGEST_CLIP_S, SHORTEST_CLIP_S, detector_spec, spec_for
from ml.features.spec import FeatureSpec
from tests.unit.datasets import entry


def recordings(rates=(16_000,), seconds=(10.0,)):
    pairs = zip(rates, seconds, strict=True)
    return [entry(f"{i}.wav", sample_rate_hz=rate, duration_s=s) for i, (rate, s) in enumerate(pairs)]


def test_a_spec_has_the_most_frequent_rate_and_the_median_length():
    """One recording at another rate, or of another length, changes nothing."""
    spec = spec_for(recordings((48_000, 16_000, 16_000), (60.0, 4.0, 3.0)), "spectrum")
    assert (spec.sample_rate_hz, spec.fmax_hz) == (16_000, 8000.0)
    assert (spec.n_fft, spec.hop_length, spec.level) == (1024, 512, "clip_mean")
    assert spec.clip_s == pytest.approx(4.0, abs=spec.hop_length / 16_000)


@given(st.integers(1000, 192_000), st.floats(0.01, 600))
def test_any_rate_and_length_makes_a_spec(rate, seconds):
    """A frame is 64 ms, to the nearest power of two; a clip is half a second to ten."""
    spec = spec_for(recordings((rate,), (seconds,)), "spectrum")
    assert 0.064 / 2**0.51 <= spec.n_fft / rate <= 0.064 * 2**0.51
    clip_s = min(max(seconds, SHORTEST_CLIP_S), LONGEST_CLIP_S)
    assert clip_s - spec.hop_length / rate <= spec.clip_s <= clip_s


def test_the_original_spec_is_the_same_for_all_recordings():
    """Recordings at 48 kHz give the original's spec too."""
    assert spec_for(recordings((48_000,), (3.0,)), "original") == FeatureSpec.original()


def test_classifier_and_detector_share_one_spectrum():
    """Computed once for both, it is most of the time of an answer."""
    spec = spec_for(recordings((16_000,), (2.0,)), "spectrum")
    assert detector_spec(spec) == replace(spec, level="as_recorded", dynamic_range_db=None)


@pytest.mark.parametrize("offset", [0.01, 0.1, 0.5])
def test_features_do_not_depend_on_an_offset(offset):
    """The same samples with an offset of the microphone have the same features inside the clip."""
    spec = spec_for(recordings((16_000,), (2.0,)), "spectrum")
    sound = np.random.Generator(np.random.PCG64(0)).normal(0, 0.05, 32_000).astype(np.float32)
    difference = FeatureExtractor(spec)(sound + np.float32(offset)) - FeatureExtractor(spec)(sound)
    assert np.abs(difference).max() < 0.01
    kept = FeatureExtractor(replace(spec, offset="kept"))
    assert np.abs(kept(sound + np.float32(offset)) - kept(sound)).max() > 1


@pytest.mark.parametrize("gain", [4.0, 0.25])
def test_features_do_not_depend_on_loudness(gain):
    """The same samples four times as loud have the same features, to a thousandth of a decibel."""
    spec = spec_for(recordings((16_000,), (2.0,)), "spectrum")
    rng = np.random.Generator(np.random.PCG64(0))
    sound = (rng.normal(0, 0.05, 32_000) + np.sin(np.arange(32_000) / 9) * 0.1).astype(np.float32)
    extract = FeatureExtractor(spec)
    np.testing.assert_allclose(extract(sound * np.float32(gain)), extract(sound), atol=1e-3, rtol=0)
    as_recorded = FeatureExtractor(replace(spec, level="as_recorded"))
    assert np.abs(as_recorded(sound * np.float32(gain)) - as_recorded(sound)).max() > 10
