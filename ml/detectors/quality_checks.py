"""Whether a recording can be judged at all: a dead, clipped or muffled microphone is neither healthy nor a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml.audio.recording import Quality
from ml.detectors.out_of_domain import BEYOND
from ml.detectors.reference import LINEAR_BANDS, Reference, linear_levels, usual_least
from ml.detectors.spectra import Heard
from ml.features.spec import FeatureSpec

Why = Literal["silence", "too_quiet", "clipped", "band_limited", "too_short", "foreign"]
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
class Unusable:
    """Why a recording is not judged: a stable word, and a sentence of what was found and what was expected."""

    why: Why
    says: str


def unusable(quality: Quality, clips: Sequence[Heard], reference: Reference, spec: FeatureSpec) -> Unusable | None:
    """Say why a recording cannot be judged; None where it can.

    Args:
        quality: of the recording.
        clips: its windows as they were heard.
        reference: healthy recordings.
        spec: what the clips were heard by.
    """
    if quality.digital_silence or quality.level_dbfs is None:
        return Unusable(
            "silence", "Every sample has the same value: the input is dead; a running machine was expected."
        )
    levels_db = reference.level_db[~np.isnan(reference.level_db)]
    if len(levels_db) and quality.level_dbfs < (quietest := float(usual_least(levels_db))) - QUIETER_DB:
        return Unusable(
            "too_quiet",
            f"It is at {quality.level_dbfs:.0f} dBFS; healthy recordings are at {quietest:.0f} dBFS or above: does the "
            "machine run, and is the microphone on?",
        )
    accepted = max(CLIPPED_SHARE, -MORE_CLIPPED * float(usual_least(-reference.clipped_share)))
    if quality.clipped_share > accepted:
        return Unusable(
            "clipped",
            f"{quality.clipped_share:.1%} of its samples are at full scale; at most {accepted:.1%} can be judged: turn "
            "the input down.",
        )
    if (frames := max(len(clip.log_mel) for clip in clips)) < SHORTEST * reference.shortest:
        seconds = [round(count * spec.hop_length / spec.sample_rate_hz, 1) for count in (frames, reference.shortest)]
        return Unusable(
            "too_short",
            f"It has {seconds[0]:g} s; windows of {seconds[1]:g} s were learned from, and shorter ones vary more.",
        )
    return _band_limited(clips, reference, spec)


def foreign(beyond: float) -> Unusable | None:
    """Say why a recording is taken for no machine's; None where it may be one's.

    Args:
        beyond: from :meth:`ml.detectors.out_of_domain.Guard.beyond`, of its most lively window.
    """
    if beyond <= BEYOND:
        return None
    return Unusable(
        "foreign",
        f"It moves {beyond:.1f} times as much as nearly every healthy recording did; at most {BEYOND:g} times was "
        "expected: is it the machine alone that is heard?",
    )


def _band_limited(clips: Sequence[Heard], reference: Reference, spec: FeatureSpec) -> Unusable | None:
    """Whether all of the recording ends at a frequency below which healthy recordings do not."""
    levels = np.max([linear_levels(clip) for clip in clips], axis=0)
    muffled = levels < reference.floor_db - MUFFLED_DB
    missing = LINEAR_BANDS if muffled.all() else int(np.argmin(muffled[::-1]))
    if missing < MUFFLED_BANDS:
        return None
    top_hz = spec.sample_rate_hz / 2
    ends_hz = top_hz * (LINEAR_BANDS - missing) / LINEAR_BANDS
    return Unusable(
        "band_limited",
        f"There is nothing in it above {ends_hz:.0f} Hz; healthy recordings reach {top_hz:.0f} Hz: was it filtered, "
        "coded or recorded at another rate?",
    )
