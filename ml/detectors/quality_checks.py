"""Whether a recording can be judged at all: a dead, clipped or muffled microphone is neither healthy nor a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.audio.recording import AudioQuality
from ml.detectors.out_of_domain import MAX_RELATIVE_FLUCTUATION
from ml.detectors.reference import LINEAR_BANDS, Reference, linear_levels, robust_minimum
from ml.detectors.spectra import Spectra
from ml.features.spec import FeatureSpec

UnusableCode = Literal["silence", "too_quiet", "clipped", "band_limited", "too_short", "foreign"]
# So far below the quietest usual recording there is a machine that stands still or a microphone that is off.
QUIETER_DB = 30.0
# Where healthy recordings are not clipped, this share of samples at full scale is distortion and no mishap.
CLIPPED_SHARE = 0.01
MORE_CLIPPED = 3.0  # times as many as is usual, where they are
# No fault takes so much from every band above some frequency; a filter, a codec or a cover does.
MUFFLED_DB = 25.0
MUFFLED_BANDS = 2  # of the 16, from the top down
SHORTEST = 0.8  # of the shortest usual window


@dataclass(frozen=True, slots=True)
class UnusableReason:
    """Why a recording is not judged: a stable word, and a sentence of what was found and what was expected."""

    code: UnusableCode
    detail: str


def check_quality(
    quality: AudioQuality, clips: Sequence[Spectra], reference: Reference, spec: FeatureSpec
) -> UnusableReason | None:
    """Say why a recording cannot be judged; None where it can.

    Args:
        quality: of the recording.
        clips: its windows as they were heard.
        reference: healthy recordings.
        spec: what the clips were heard by.
    """
    if quality.digital_silence or quality.level_dbfs is None:
        return UnusableReason(
            "silence", "Every sample has the same value: the input is dead; a running machine was expected."
        )
    levels_db = reference.level_dbfs[~np.isnan(reference.level_dbfs)]
    if len(levels_db) and quality.level_dbfs < (quietest := float(robust_minimum(levels_db))) - QUIETER_DB:
        return UnusableReason(
            "too_quiet",
            f"It is at {quality.level_dbfs:.0f} dBFS; healthy recordings are at {quietest:.0f} dBFS or above: does the "
            "machine run, and is the microphone on?",
        )
    accepted = max(CLIPPED_SHARE, -MORE_CLIPPED * float(robust_minimum(-reference.clipped_share)))
    if quality.clipped_share > accepted:
        return UnusableReason(
            "clipped",
            f"{quality.clipped_share:.1%} of its samples are at full scale; at most {accepted:.1%} can be judged: turn "
            "the input down.",
        )
    if (frames := max(len(clip.log_mel) for clip in clips)) < SHORTEST * reference.shortest:
        seconds = [round(count * spec.hop_length / spec.sample_rate_hz, 1) for count in (frames, reference.shortest)]
        return UnusableReason(
            "too_short",
            f"It has {seconds[0]:g} s; windows of {seconds[1]:g} s were learned from, and shorter ones vary more.",
        )
    return _band_limited(clips, reference, spec)


def check_out_of_domain(relative_fluctuation: float) -> UnusableReason | None:
    """Say why a recording is taken for no machine's; None where it may be one's.

    Args:
        relative_fluctuation: from :meth:`ml.detectors.out_of_domain.OutOfDomainCheck.relative_fluctuation`, of its most lively window.
    """
    if relative_fluctuation <= MAX_RELATIVE_FLUCTUATION:
        return None
    return UnusableReason(
        "foreign",
        f"It moves {relative_fluctuation:.1f} times as much as nearly every healthy recording did; at most {MAX_RELATIVE_FLUCTUATION:g} times was "
        "expected: is it the machine alone that is heard?",
    )


def _band_limited(clips: Sequence[Spectra], reference: Reference, spec: FeatureSpec) -> UnusableReason | None:
    """Whether all of the recording ends at a frequency below which healthy recordings do not."""
    levels = np.max([linear_levels(clip) for clip in clips], axis=0)
    muffled = levels < reference.floor_db - MUFFLED_DB
    missing = LINEAR_BANDS if muffled.all() else int(np.argmin(muffled[::-1]))
    if missing < MUFFLED_BANDS:
        return None
    top_hz = spec.sample_rate_hz / 2
    ends_hz = top_hz * (LINEAR_BANDS - missing) / LINEAR_BANDS
    return UnusableReason(
        "band_limited",
        f"There is nothing in it above {ends_hz:.0f} Hz; healthy recordings reach {top_hz:.0f} Hz: was it filtered, "
        "coded or recorded at another rate?",
    )
