"""The feature specs that fit the recordings: their own rate, their own length."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from ml.dataset.entries import Entry
from ml.features.kinds import FeatureKind
from ml.features.spec import FeatureSpec

# 64 ms frames, half of one apart: 1024 samples at MIMII's 16 kHz. Finer and coarser were no better (decision 0010).
FRAME_S = 0.064
N_MELS = 128
# Longer recordings are heard in windows of this much; MIMII's are of this length.
LONGEST_CLIP_S = 10.0
SHORTEST_CLIP_S = 0.5


def spec_for(entries: Sequence[Entry], kind: FeatureKind) -> FeatureSpec:
    """What a network for these recordings hears.

    Their most frequent sample rate, so that most are not resampled; clips of their median length, at most 10 s; log-mel
    bands without the clip's level, since a microphone that was moved is no fault.
    """
    if kind == "original":
        return FeatureSpec.original()
    rate_hz = statistics.mode(entry.info.sample_rate_hz for entry in entries)
    clip_s = statistics.median(entry.info.duration_s for entry in entries)
    clip_s = min(max(clip_s, SHORTEST_CLIP_S), LONGEST_CLIP_S)
    n_fft, hop = _frame(rate_hz)
    return FeatureSpec(
        sample_rate_hz=rate_hz,
        clip_frames=1 + int(clip_s * rate_hz) // hop,
        n_fft=n_fft,
        hop_length=hop,
        n_mels=N_MELS,
        fmax_hz=rate_hz / 2,
        level="clip_mean",
    )


def detector_spec(spec: FeatureSpec) -> FeatureSpec:
    """What a detector hears of the clips that ``spec`` cuts: the same clips, level and quiet parts kept.

    Where ``spec`` is of the kind ``spectrum``, the spectrum is the same too, and is computed once for both.
    """
    n_fft, hop = _frame(spec.sample_rate_hz)
    return replace(
        spec,
        n_fft=n_fft,
        hop_length=hop,
        clip_frames=1 + max(1, spec.clip_samples // hop),
        window="hann",
        padding="constant",
        n_mels=N_MELS,
        fmin_hz=0.0,
        fmax_hz=spec.sample_rate_hz / 2,
        n_mfcc=None,
        dynamic_range_db=None,
        level="as_recorded",
        silent_frames=0,
    )


def _frame(rate_hz: int) -> tuple[int, int]:
    """Samples in a frame, and from one to the next."""
    n_fft = 2 ** round(math.log2(FRAME_S * rate_hz))
    return n_fft, n_fft // 2
