"""Feature specs that fit the sample rate and the length of given recordings."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from ml.dataset.entries import Entry
from ml.features.kinds import FeatureKind
from ml.features.spec import FeatureSpec

# 64 ms are 1024 samples at the 16 kHz of MIMII. The hop is half a frame. Shorter and longer frames were no better
# (decision 0010).
FRAME_S = 0.064
N_MELS = 128
# Longer recordings are cut into clips of this length, the length of MIMII's recordings.
LONGEST_CLIP_S = 10.0
SHORTEST_CLIP_S = 0.5


def spec_for(
    entries: Sequence[Entry],
    kind: FeatureKind,
    *,
    main_channel: int | None = None,
    reference_channel: int | None = None,
) -> FeatureSpec:
    """Choose the feature spec of a classifier for these recordings.

    ``spectrum``: log-mel bands (128, 0 Hz to half the sample rate) of the mean of the intact channels, without the
    clip's level and without an offset, because a moved or another microphone is no fault. The sample rate is the most
    frequent one, so most recordings are not resampled. A clip has the median length of the recordings, but 0.5 to 10 s.
    A frame has ``2 ** round(log2(0.064 * rate))`` samples, the hop is half of it. ``original``:
    :meth:`FeatureSpec.original`, whatever the recordings are.

    Args:
        entries: the recordings; at least one for ``spectrum``.
        kind: ``spectrum`` or ``original``.
        main_channel: index of the channel of the machine; None for the mean of all channels but the reference.
        reference_channel: index of the channel that records the hall; None without one.

    Raises:
        statistics.StatisticsError: there are no recordings.

    Example:
        >>> from ml.audio.info import AudioInfo
        >>> from ml.dataset.annotations import Annotation
        >>> info = AudioInfo("00", 10.0, 16_000, 8, 16, "pcm", -30.0, -12.0, 0.0, 2_560_044)  # 10 s at 16 kHz
        >>> entry = Entry(path="normal/1.wav", annotation=Annotation(label="normal"), info=info)
        >>> spec = spec_for([entry], "spectrum")
        >>> spec.n_fft, spec.hop_length, spec.rows, spec.clip_frames, spec.clip_s
        (1024, 512, 128, 313, 9.984)
    """
    if kind == "original":
        original = FeatureSpec.original()
        channel = original.channel if main_channel is None else main_channel
        return replace(original, channel=channel, reference_channel=reference_channel)
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
        channel="intact" if main_channel is None else main_channel,
        reference_channel=reference_channel,
        level="clip_mean",
        offset="removed",
    )


def detector_spec(spec: FeatureSpec) -> FeatureSpec:
    """Derive a detector's spec from a classifier's spec.

    Clips have the same length. Level and quiet parts are kept. Frames, hop and mel bands are those of :func:`spec_for`
    at the sample rate of ``spec``. The offset is removed, so a classifier of the kind ``spectrum`` can use the same
    spectrum.

    Example:
        >>> detector = detector_spec(FeatureSpec.original())
        >>> detector.n_fft, detector.hop_length, detector.rows, detector.level, detector.dynamic_range_db
        (1024, 512, 128, 'as_recorded', None)
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
        offset="removed",
        silent_frames=0,
    )


def _frame(rate_hz: int) -> tuple[int, int]:
    """Return samples per frame and per hop."""
    n_fft = 2 ** round(math.log2(FRAME_S * rate_hz))
    return n_fft, n_fft // 2
