"""Feature specs for tests: the original's, and any valid one."""

from hypothesis import strategies as st

from ml.audio.resampling import FILTERS
from ml.features.spec import FeatureSpec

ORIGINAL = FeatureSpec.original()


@st.composite
def specs(draw: st.DrawFn) -> FeatureSpec:
    """Any valid spec of moderate size, frames of odd length and mel filters without a bin included."""
    rate_hz = draw(st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]))
    n_fft = draw(st.one_of(st.sampled_from([256, 512, 1024, 2048, 4096]), st.integers(200, 3_000)))
    fmin_hz = draw(st.floats(0, rate_hz / 8, width=32))
    n_mels = draw(st.integers(1, 160))
    return FeatureSpec(
        sample_rate_hz=rate_hz,
        resampler=draw(st.sampled_from(sorted(FILTERS))),
        clip_frames=draw(st.integers(2, 500)),
        n_fft=n_fft,
        hop_length=draw(st.integers(n_fft // 8, n_fft)),
        window=draw(st.sampled_from(["hann", "hamming", "blackman"])),
        padding=draw(st.sampled_from(["constant", "reflect", "none"])),
        n_mels=n_mels,
        fmin_hz=fmin_hz,
        fmax_hz=draw(st.floats(fmin_hz + rate_hz / 8, rate_hz / 2)),
        n_mfcc=draw(st.one_of(st.none(), st.integers(1, n_mels))),
        dynamic_range_db=draw(st.sampled_from([80.0, 60.0, 20.0])),
    )
