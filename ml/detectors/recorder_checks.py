"""Checks of a recording that need no normal recordings: faults of the recorder that its header and samples show."""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.audio.mains_hum import MainsHum
from ml.audio.recording import AudioQuality
from ml.features.spec import FeatureSpec

UnusableCode = Literal[
    "silence",
    "inverted",
    "too_quiet",
    "clipped",
    "dropouts",
    "band_limited",
    "too_short",
    "mains_hum",
    "fades",
    "foreign",
    "channels_swapped",
]
# All limits are chosen here.
# If normal recordings are not clipped, this share of samples at full scale is distortion and no accident.
CLIPPED_SHARE = 0.01
LARGE_OFFSET = 0.05
LOWEST_RATE = 0.95  # of the model's sample rate: a lower one cannot hold its highest bands
# Machine recordings of three datasets, faulty ones included, have at most 5.4 dB (decision 17).
FADE_DB = 6.0
# A smaller change is a fade if the recording is not anomalous without it.
SLIGHT_FADE_DB = 2.0
FADE_PARTS = 4
FADE_BANDS = 0.9
FADE_RANGE_DB = 80.0


@dataclass(frozen=True, slots=True)
class UnusableReason:
    """Why a recording cannot be judged.

    Attributes:
        code: stable name of the reason.
        detail: sentence with the measured and the expected value.
    """

    code: UnusableCode
    detail: str


def swapped_reason(spec: FeatureSpec) -> UnusableReason:
    """Return the reason for a recording whose main and reference channel are swapped.

    Args:
        spec: feature spec of the detector, with a reference channel.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, reference_channel=1)
        >>> swapped_reason(spec).code
        'channels_swapped'
    """
    return UnusableReason(
        "channels_swapped",
        f"Channel {spec.reference_channel}, the reference, has the sound that the microphone of the machine has in "
        "normal recordings, and the other way round. Swap the two plugs, or the channels of the recorder.",
    )


def check_recorder(quality: AudioQuality, spec: FeatureSpec, *, lost: bool = False) -> UnusableReason | None:
    """Check a recording without normal ones to compare it with, as for a classifier alone.

    The checks are ``silence`` or ``inverted``, ``clipped`` above 1 %, ``dropouts``, and ``band_limited`` by the sample
    rate, in this order.

    Args:
        quality: measured facts of the recording.
        spec: feature spec of the model.
        lost: whether too much is missing of every clip.

    Returns:
        The reason, or None if the recording can be judged.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32)
        >>> quality = AudioQuality(1.0, 8000, 1, level_dbfs=-20.0, clipped_share=0.0, digital_silence=False)
        >>> check_recorder(quality, spec).code
        'band_limited'
    """
    return (
        check_silence(quality, spec)
        or check_clipped(quality, CLIPPED_SHARE)
        or (check_dropouts(quality) if lost else None)
        or check_sample_rate(quality, spec)
    )


def check_silence(quality: AudioQuality, spec: FeatureSpec) -> UnusableReason | None:
    """Check whether the used signal has one value only: a dead input, or channels that cancel in the mean.

    Args:
        quality: measured facts of the recording.
        spec: feature spec of the model.

    Example:
        >>> quality = AudioQuality(1.0, 8000, 1, level_dbfs=None, clipped_share=0.0, digital_silence=True)
        >>> check_silence(quality, FeatureSpec(sample_rate_hz=8000, fmax_hz=4000.0, clip_frames=32)).code
        'silence'
    """
    if quality.level_dbfs is not None:
        return None
    return check_inverted(quality, spec) or UnusableReason(
        "silence", "Every sample has the same value: the input has no signal. The sound of a machine was expected."
    )


def check_inverted(quality: AudioQuality, spec: FeatureSpec) -> UnusableReason | None:
    """Return the reason if inverted channels cancel others in the mean, for a recording that is too quiet.

    Args:
        quality: measured facts of the recording.
        spec: feature spec of the model.

    Example:
        >>> quality = AudioQuality(1.0, 8000, 1, level_dbfs=None, clipped_share=0.0, digital_silence=True)
        >>> check_inverted(quality, FeatureSpec(sample_rate_hz=8000, fmax_hz=4000.0, clip_frames=32))
    """
    inverted = quality.faulty_channels("inverted")
    if spec.channel != "mean" or not inverted:
        return None
    return UnusableReason(
        "inverted",
        f"{_channels(inverted)} inverted, so the mean of the {quality.channels} channels cancels the sound. Check the "
        "wires of the microphones.",
    )


def check_clipped(quality: AudioQuality, accepted: float) -> UnusableReason | None:
    """Check whether a recording is clipped.

    Args:
        quality: measured facts of the recording.
        accepted: largest share of samples at full scale that is accepted, 0 to 1.

    Example:
        >>> quality = AudioQuality(1.0, 8000, 1, -9.0, clipped_share=0.2, digital_silence=False, offset=0.8)
        >>> print(check_clipped(quality, 0.01).detail)
        20.0% of the samples are at full scale; at most 1.0% is accepted. The offset is 0.80 of full scale: remove it.
    """
    if quality.clipped_share <= accepted:
        return None
    advice = "Reduce the input gain."
    if abs(quality.offset) >= LARGE_OFFSET:
        advice = f"The offset is {quality.offset:.2f} of full scale: remove it."
    elif clipped := quality.faulty_channels("clipped"):
        advice = f"{_channels(clipped)} clipped: reduce the input gain."
    return UnusableReason(
        "clipped",
        f"{quality.clipped_share:.1%} of the samples are at full scale; at most {accepted:.1%} is accepted. {advice}",
    )


def check_dropouts(quality: AudioQuality) -> UnusableReason:
    """Return the reason for a recording of which too much is missing.

    Args:
        quality: measured facts of the recording.

    Example:
        >>> check_dropouts(AudioQuality(1.0, 8000, 1, -9.0, 0.0, digital_silence=False, dropout_share=0.4)).code
        'dropouts'
    """
    return UnusableReason(
        "dropouts",
        f"Samples are missing in {quality.dropout_share:.0%} of the recording, so often or for so long that no clip is "
        "left. Check the connection and the load of the recorder.",
    )


def check_sample_rate(quality: AudioQuality, spec: FeatureSpec) -> UnusableReason | None:
    """Check whether the sample rate can hold the range of frequencies of a model.

    Args:
        quality: measured facts of the recording.
        spec: feature spec of the model.

    Example:
        >>> quality = AudioQuality(1.0, 15_300, 1, -9.0, 0.0, digital_silence=False)
        >>> check_sample_rate(quality, FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32))
    """
    if quality.sample_rate_hz >= LOWEST_RATE * spec.sample_rate_hz:
        return None
    return UnusableReason(
        "band_limited",
        f"The sample rate is {quality.sample_rate_hz} Hz, so the recording has no sound above "
        f"{quality.sample_rate_hz / 2:.0f} Hz; the model was trained on sound up to {spec.sample_rate_hz / 2:.0f} Hz. "
        f"Record at {spec.sample_rate_hz} Hz or more.",
    )


def hum_reason(hum: MainsHum) -> UnusableReason:
    """Return the reason for a recording that is normal without its mains hum, or has nothing else.

    Args:
        hum: result of :func:`ml.audio.mains_hum.find_hum`.

    Example:
        >>> print(hum_reason(MainsHum(50.0, (1, 2), share=0.9)).detail.split(";")[0])
        Mains hum of 50 Hz and its multiples has 90% of the power
    """
    return UnusableReason(
        "mains_hum",
        f"Mains hum of {hum.mains_hz:.0f} Hz and its multiples has {hum.share:.0%} of the power; without it, nothing "
        "in the recording is known to be anomalous. Check the cable, the ground and the power supply of the recorder. "
        "If they have no hum, the machine has this tone.",
    )


def fade_reason(change_db: float) -> UnusableReason:
    """Return the reason for a recording whose level changes in all bands at once.

    Args:
        change_db: result of :func:`common_change_db`.

    Example:
        >>> fade_reason(12.0).code
        'fades'
    """
    return UnusableReason(
        "fades",
        f"The level changes by {change_db:.0f} dB in nearly all bands during the recording. Check the automatic gain "
        "and the connector of the microphone, and that the machine runs throughout.",
    )


def coded_reason(share: float) -> UnusableReason:
    """Return the reason for a recording that was coded with losses, and is nearly normal without the holes.

    Args:
        share: result of :func:`ml.detectors.lossy_coding.hole_share`.

    Example:
        >>> coded_reason(0.02).code
        'band_limited'
    """
    return UnusableReason(
        "band_limited",
        f"The sound was coded with losses before: {share:.1%} of its spectrogram are holes, as MP3 and similar codecs "
        "leave them. Send WAV or FLAC from the recorder.",
    )


def rounded_reason(high_hz: float) -> UnusableReason:
    """Return the reason for a recording that is normal apart from bands that are as quiet as rounding to 16 bits.

    Args:
        high_hz: frequency above which these bands are, in Hz.

    Example:
        >>> rounded_reason(7500.0).code
        'too_quiet'
    """
    return UnusableReason(
        "too_quiet",
        f"Above {high_hz:.0f} Hz, the sound is quieter than the rounding of samples with 16 bits, and differs from "
        "normal recordings; below, nothing is known to be anomalous. Increase the input gain.",
    )


def common_change_db(log_mel: NDArray[np.float32]) -> float:
    """Compute the largest change of level that nine of ten bands have in common, in dB.

    With the mean level ``l[q, b]`` of band ``b`` in quarter ``q`` of the clip: the largest ``d`` for which two quarters
    exist with ``l[p, b] - l[q, b] >= d`` in nine of ten bands. Levels have a floor 80 dB below the maximum.

    Args:
        log_mel: log-mel spectrum, ``(frames, bands)`` in dB.

    Returns:
        At least 0; 0 for a single frame, which has no second quarter.

    Example:
        >>> log_mel = np.repeat([[0.0], [0.0], [3.0], [12.0]], 10, axis=1)
        >>> log_mel[3, 0] = 0
        >>> common_change_db(log_mel)
        12.0
    """
    floored = np.maximum(log_mel, log_mel.max() - FADE_RANGE_DB)
    quarters = [part.mean(axis=0) for part in np.array_split(floored, FADE_PARTS) if len(part)]
    if len(quarters) == 1:
        return 0.0
    changes_db = np.sort([later - earlier for earlier, later in combinations(quarters, 2)], axis=1)
    tenth = math.ceil((1 - FADE_BANDS) * (changes_db.shape[1] - 1))
    return max(0.0, float(changes_db[:, tenth].max()), float(-changes_db[:, -1 - tenth].min()))


def _channels(numbers: tuple[int, ...]) -> str:
    """Return the channels as the subject of a sentence; the first is 0."""
    return f"Channel {numbers[0]} is" if len(numbers) == 1 else f"Channels {', '.join(map(str, numbers))} are"
