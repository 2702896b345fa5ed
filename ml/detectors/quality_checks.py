"""Quality checks: whether a recording can be judged. A broken microphone is no fault of the machine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml.audio.recording import AudioQuality
from ml.detectors.out_of_domain import MAX_RELATIVE_DISTANCE, MAX_RELATIVE_FLUCTUATION
from ml.detectors.recorder_checks import (
    CLIPPED_SHARE,
    UnusableReason,
    check_clipped,
    check_dropouts,
    check_inverted,
    check_sample_rate,
    check_silence,
)
from ml.detectors.reference import LINEAR_BANDS, Reference, linear_levels, robust_minimum
from ml.detectors.spectra import Spectra
from ml.features.spec import FeatureSpec

# All limits are chosen here.
# So far below the quietest usual recording, the machine does not run or the microphone is off.
QUIETER_DB = 30.0
MORE_CLIPPED = 3.0  # times the usual share, if normal recordings are clipped
# No fault reduces every band above some frequency by so much; a filter, a codec or a cover does.
MUFFLED_DB = 25.0
MUFFLED_BANDS = 2  # of the 16 bands, counted from the highest
# A smaller reduction is a filter, too, if it begins abruptly. The machine recordings of four datasets, faulty ones
# included, have at most 4.6 dB (decision 17).
EDGE_DB = 8.0
# From here on, it is a filter if the recording is not anomalous with these bands as in normal recordings. One band is
# enough then: MP3 ends at 15/16 of the range.
SLIGHT_EDGE_DB = 5.0
MOST_MUFFLED = 12
NO_SOUND_DB = -50.0  # relative to the mean of all bands: what a resampler leaves above the sound is lower
SHORTEST = 0.8  # of the length of the shortest usual clip


def check_quality(
    quality: AudioQuality,
    clips: Sequence[Spectra],
    reference: Reference,
    spec: FeatureSpec,
    machine: int | None = None,
    *,
    lost: bool = False,
) -> UnusableReason | None:
    """Check whether a recording can be judged.

    The checks are done in this order, and the first failure counts:

    1. ``silence``: every sample has the same value. ``inverted`` if this is because of an inverted channel.
    2. ``too_quiet``: level below ``robust_minimum(levels of normal recordings) - 30 dB``. ``inverted``, too.
    3. ``clipped``: share of samples at full scale above ``max(0.01, 3 * s)``; nine of ten normal recordings have a
       share of at most ``s``.
    4. ``dropouts``: of each clip, more than 20 % of the frames contain a dropout.
    5. ``too_short``: frames of the longest clip below ``0.8 * reference.shortest``.
    6. ``band_limited``: the sample rate is below 0.95 of the detector's, and normal recordings have sound above its
       half. Or in two or more of the 16 bands, counted from the highest, the level is below
       ``floor - 25 dB`` with ``floor`` of :meth:`~ml.detectors.reference.Reference.floor_of`. Or in two to twelve of
       them it is below the floor by more than 8 dB, and by 8 dB more than in the two bands below the next one.

    Args:
        quality: measured facts of the recording.
        clips: spectra of its clips, at least one.
        reference: summary of the normal recordings.
        spec: feature spec that the spectra were computed with.
        machine: number of its machine, from 0; None if not known.
        lost: whether too much is missing of every clip.

    Returns:
        The reason, or None if the recording can be judged.

    Example:
        >>> from ml.detectors.reference import NormalRecording
        >>> clip = Spectra(np.zeros((32, 64), np.float32), np.ones(513, np.float32))
        >>> reference = Reference.of([NormalRecording((clip,), "fan", "monday", level_dbfs=-20.0)], ["fan"])
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32)
        >>> quality = AudioQuality(1.0, 16_000, 1, level_dbfs=-60.0, clipped_share=0.0, digital_silence=False)
        >>> check_quality(quality, [clip], reference, spec).code
        'too_quiet'
    """
    if (silence := check_silence(quality, spec)) is not None:
        return silence
    levels_db = reference.level_dbfs[~np.isnan(reference.level_dbfs)]
    level_dbfs = comparable_level(quality, spec)
    if (
        len(levels_db)
        and level_dbfs is not None
        and level_dbfs < (quietest := float(robust_minimum(levels_db))) - QUIETER_DB
    ):
        return check_inverted(quality, spec) or UnusableReason(
            "too_quiet",
            f"The level is {level_dbfs:.0f} dBFS; normal recordings have {quietest:.0f} dBFS or more. Check "
            "that the machine runs and that the microphone is on.",
        )
    accepted = max(CLIPPED_SHARE, -MORE_CLIPPED * float(robust_minimum(-reference.clipped_share)))
    if (clipped := check_clipped(quality, accepted)) is not None:
        return clipped
    if lost:
        return check_dropouts(quality)
    if (frames := max(clip.frames for clip in clips)) < SHORTEST * reference.shortest:
        seconds = [round(count * spec.hop_length / spec.sample_rate_hz, 1) for count in (frames, reference.shortest)]
        return UnusableReason(
            "too_short",
            f"The recording has {seconds[0]:g} s; the detector was trained on clips of {seconds[1]:g} s, and shorter "
            "ones vary more. Record longer.",
        )
    return _band_limited(quality, clips, reference.floor_of(machine), spec)


def comparable_level(quality: AudioQuality, spec: FeatureSpec) -> float | None:
    """Return the level of a recording as it was measured for the reference, in dBFS; None if it has none.

    References of earlier detectors, which keep the offset, have levels with the offset.

    Args:
        quality: measured facts of the recording.
        spec: feature spec of the detector.

    Example:
        >>> quality = AudioQuality(1.0, 8000, 1, level_dbfs=-40.0, clipped_share=0.0, digital_silence=False, offset=0.1)
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32, offset="removed")
        >>> comparable_level(quality, spec)
        -40.0
    """
    return quality.level_dbfs if spec.offset == "removed" else quality.level_with_offset_dbfs


def check_out_of_domain(relative_fluctuation: float) -> UnusableReason | None:
    """Check whether a recording is out of domain: its relative fluctuation is above 2.

    Args:
        relative_fluctuation: largest value of the recording's clips, from
            :meth:`ml.detectors.out_of_domain.OutOfDomainCheck.relative_fluctuation`.

    Returns:
        The reason, or None if the recording may come from a machine.

    Example:
        >>> check_out_of_domain(2.5).code, check_out_of_domain(2.0)
        ('foreign', None)
    """
    if relative_fluctuation <= MAX_RELATIVE_FLUCTUATION:
        return None
    return UnusableReason(
        "foreign",
        f"The variation of the sound in time is {relative_fluctuation:.1f} times as far from normal as that of nearly "
        f"all normal recordings; at most {MAX_RELATIVE_FLUCTUATION:g} times was expected. Check that only the machine "
        "is recorded.",
    )


def check_spectrum(relative_distance: float) -> UnusableReason | None:
    """Check whether a recording is out of domain: its spectrum is more than twice as far from every machine.

    Args:
        relative_distance: largest value of the recording's clips, from
            :meth:`ml.detectors.out_of_domain.SpectrumCheck.relative_distance`.

    Returns:
        The reason, or None if the recording may come from a machine.

    Example:
        >>> check_spectrum(2.5).code, check_spectrum(2.0)
        ('foreign', None)
    """
    if relative_distance <= MAX_RELATIVE_DISTANCE:
        return None
    return UnusableReason(
        "foreign",
        f"The spectrum of the sound is {relative_distance:.1f} times as far from every machine as that of nearly all "
        f"normal recordings; at most {MAX_RELATIVE_DISTANCE:g} times was expected. Check that only the machine is "
        "recorded.",
    )


def _band_limited(
    quality: AudioQuality, clips: Sequence[Spectra], floor_db: NDArray[np.float64], spec: FeatureSpec
) -> UnusableReason | None:
    """Check whether a recording has no sound above a frequency, but normal recordings have."""
    top_hz = spec.sample_rate_hz / 2
    above = np.arange(LINEAR_BANDS) * top_hz / LINEAR_BANDS >= quality.sample_rate_hz / 2
    if (floor_db[above] > NO_SOUND_DB).any() and (low_rate := check_sample_rate(quality, spec)) is not None:
        return low_rate
    missing = _missing_bands(clips, floor_db)
    if missing == 0:
        return None
    return UnusableReason(
        "band_limited",
        f"The recording has no sound above {band_end_hz(missing, spec):.0f} Hz; normal recordings have sound up to "
        f"{top_hz:.0f} Hz. Check for a filter, a codec or another sample rate.",
    )


def slight_band_limit_reason(low_hz: float, high_hz: float, spec: FeatureSpec) -> UnusableReason:
    """Return the reason for a recording that is normal apart from its lowest or highest bands.

    Args:
        low_hz: begin of the passband in Hz; 0 if nothing is missing below.
        high_hz: its end in Hz; half of the sample rate if nothing is missing above.
        spec: feature spec of the detector.

    Example:
        >>> spec = FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32)
        >>> print(slight_band_limit_reason(0, 6000, spec).detail.split(";")[0])
        Above 6000 Hz, the recording has less sound than normal recordings
    """
    missing_below, missing_above = low_hz > 0, high_hz < spec.sample_rate_hz / 2
    sides = [f"below {low_hz:.0f} Hz"] * missing_below + [f"above {high_hz:.0f} Hz"] * missing_above
    missing = " and ".join(sides)
    rest = "between" if len(sides) == 2 else "above" if missing_below else "below"
    return UnusableReason(
        "band_limited",
        f"{missing[0].upper()}{missing[1:]}, the recording has less sound than normal recordings; {rest}, nothing is "
        "known to be anomalous. Check for a filter, a codec or another sample rate.",
    )


def band_end_hz(missing: int, spec: FeatureSpec) -> float:
    """Return the frequency below the missing bands, in Hz.

    Args:
        missing: number of missing bands, counted from the highest.
        spec: feature spec of the detector.

    Example:
        >>> band_end_hz(4, FeatureSpec(sample_rate_hz=16_000, fmax_hz=8000.0, clip_frames=32))
        6000.0
    """
    return spec.sample_rate_hz / 2 * (LINEAR_BANDS - missing) / LINEAR_BANDS


def slightly_missing_bands(clips: Sequence[Spectra], floor_db: NDArray[np.float64]) -> int:
    """Return the number of bands in which a recording may have been filtered, counted from the highest.

    The largest of 1 to 12 bands that are below the floor by 5 dB more than the two bands below the next one.

    Args:
        clips: spectra of a recording's clips, at least one.
        floor_db: level of each band that nearly all normal recordings reach, ``(LINEAR_BANDS,)``.

    Example:
        >>> power = np.where(np.arange(513) < 400, 1.0, 0.2).astype(np.float32)  # low-pass in band 13 of 16
        >>> slightly_missing_bands([Spectra(np.zeros((4, 8), np.float32), power)], np.zeros(LINEAR_BANDS))
        3
    """
    abrupt = np.flatnonzero(_edges_db(_below_db(clips, floor_db), fewest=1) > SLIGHT_EDGE_DB)
    return 1 + int(abrupt[-1]) if len(abrupt) else 0


def _missing_bands(clips: Sequence[Spectra], floor_db: NDArray[np.float64]) -> int:
    """Return the number of bands without sound, counted from the highest: 0, or two or more."""
    below_db = _below_db(clips, floor_db)
    muffled = below_db > MUFFLED_DB
    missing = LINEAR_BANDS if muffled.all() else int(np.argmin(muffled[::-1]))
    if missing >= MUFFLED_BANDS:
        return missing
    edges_db = _edges_db(below_db, MUFFLED_BANDS)
    steepest = int(np.argmax(edges_db))
    return MUFFLED_BANDS + steepest if edges_db[steepest] > EDGE_DB else 0


def _below_db(clips: Sequence[Spectra], floor_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much each band is below nearly all normal recordings, ``(LINEAR_BANDS,)``."""
    return np.asarray(floor_db - np.max([linear_levels(clip) for clip in clips], axis=0))


def _edges_db(below_db: NDArray[np.float64], fewest: int) -> NDArray[np.float64]:
    """Return how abruptly the highest bands fall, for each number of them from ``fewest`` to 12."""
    return np.array(
        [
            # Between the two sides is one band in which the filter begins.
            below_db[-count:].min() - max(0.0, float(below_db[-count - 3 : -count - 1].max()))
            for count in range(fewest, MOST_MUFFLED + 1)
        ]
    )
