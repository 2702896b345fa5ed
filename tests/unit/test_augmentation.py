"""Augmentation: the content of a copy, and the stretch of frames compared with a phase vocoder."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.errors import InvalidParameter
from ml.features.augmentation import Augmentation, AugmentationDraw
from ml.features.extractor import FeatureExtractor
from ml.features.spec import FeatureSpec

HASH = "0123456789abcdef" * 2
SPEC = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, n_fft=1024, hop_length=256, n_mels=64, clip_frames=300)


def fan(seconds: float = 5.0) -> NDArray[np.float32]:
    """Two steady tones in coloured noise, at 16 kHz."""
    generator = np.random.Generator(np.random.PCG64(5))
    time_s = np.arange(int(16_000 * seconds)) / 16_000
    noise = np.convolve(generator.standard_normal(len(time_s)), np.ones(8) / 8, "same")
    return np.asarray(0.1 * np.sin(600 * time_s) + 0.05 * np.sin(4200 * time_s) + 0.05 * noise, np.float32)


@given(seed=st.integers(0, 2**40), copy=st.integers(1, 9))
def test_a_copy_draws_the_same_values_again_and_within_its_ranges(seed: int, copy: int) -> None:
    """Draws depend on seed, hash and copy alone."""
    augmentation = Augmentation.everything(copies=9, seed=seed)
    first, again = augmentation.draw(HASH, copy), augmentation.draw(HASH, copy)
    assert np.array_equal(first.augment_waveform(fan(0.1)), again.augment_waveform(fan(0.1)))
    for drawn, bounds in ((first.gain_db, augmentation.gain_db), (first.stretch, augmentation.stretch)):
        assert drawn is not None
        assert bounds is not None
        assert bounds[0] <= drawn <= bounds[1]


def test_copies_recordings_and_seeds_differ() -> None:
    """Two copies of a recording differ, and so do copies of two recordings."""
    draws = [Augmentation.everything(seed=seed).draw(h, c) for seed in (0, 1) for h in (HASH, "1") for c in (1, 2)]
    assert len({draw.gain_db for draw in draws}) == len(draws)


def test_noise_has_the_power_that_was_drawn() -> None:
    """The SNR is relative to the recording's own power after the gain."""
    draw = AugmentationDraw(6.0, 10.0, None, None, np.random.Generator(np.random.PCG64(0)))
    louder = fan() * np.float32(10**0.3)
    noise = draw.augment_waveform(fan()) - louder
    assert 10 * np.log10(np.mean(louder**2) / np.mean(noise**2)) == pytest.approx(10.0, abs=0.1)


def test_a_roll_keeps_every_sample() -> None:
    """A roll moves samples from one end to the other; silence stays silence under noise."""
    draw = Augmentation(copies=1, roll=True).draw(HASH, 1)
    assert not np.array_equal(draw.augment_waveform(fan()), fan())
    assert np.array_equal(np.sort(draw.augment_waveform(fan())), np.sort(fan()))
    assert (
        not Augmentation(copies=1, noise_snr_db=(0.0, 0.0))
        .draw(HASH, 1)
        .augment_waveform(np.zeros(100, np.float32))
        .any()
    )


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_a_stretch_keeps_the_spectrum_where_a_phase_vocoder_loses_noise(rate: float) -> None:
    """The stretch gives as many frames as librosa; noise bands are 2.5 to 4.5 dB above librosa's and keep their
    level."""
    extractor = FeatureExtractor(SPEC)
    recorded = extractor.log_mel(fan())
    ours = AugmentationDraw(None, None, None, rate, np.random.Generator(np.random.PCG64(0))).stretch_frames(recorded)
    stretched = librosa.effects.time_stretch(fan(), rate=rate, n_fft=1024, hop_length=256)
    theirs = extractor.log_mel(stretched.astype(np.float32))
    assert abs(len(ours) - len(theirs)) <= 2
    edge = slice(8, min(len(ours), len(theirs)) - 8)
    assert 2.5 < np.median(ours[edge].mean(axis=0) - theirs[edge].mean(axis=0)) < 4.5
    assert np.abs(ours.mean(axis=0) - recorded.mean(axis=0)).max() < 0.7


def test_a_stretch_scales_time() -> None:
    """A click in the middle stays in the middle; the number of frames changes by the rate."""
    frames = np.zeros((101, 2), np.float32)
    frames[50] = 10.0
    draw = AugmentationDraw(None, None, None, 1.25, np.random.Generator(np.random.PCG64(0)))
    assert (len(draw.stretch_frames(frames)), int(draw.stretch_frames(frames)[:, 0].argmax())) == (80, 40)


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"copies": 1, "gain_db": (1, -1)}, {"copies": 1, "stretch": (0, 1)}])
def test_invalid_values_are_refused(wrong: dict[str, object]) -> None:
    """Each invalid value raises an error that names Augmentation."""
    with pytest.raises(InvalidParameter, match="Augmentation"):
        Augmentation(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_the_fingerprint_depends_on_the_content_of_a_copy() -> None:
    """The fingerprint changes with the seed and every range, not with the number of copies."""
    prints = {Augmentation.everything(copies=c).fingerprint for c in (1, 2)}
    assert len(prints) == 1
    assert len(prints | {one.fingerprint for one in Augmentation.original()}) == 4
    assert len(prints | {Augmentation.everything(seed=1).fingerprint}) == 2
