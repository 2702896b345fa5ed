"""Whether a candidate takes the champion's place: told to, or by a rule (decision 11), and never behind one's back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.errors import ChampionChanged, InvalidParameter
from ml.evaluation.intervals import MIN_SESSIONS
from ml.evaluation.results import Estimate
from ml.models.registry import Registry
from ml.training.champion_comparison import ChampionComparison
from ml.training.choices import PromotionPolicy

# What a better candidate may still be worse by, at the lower end of the interval.
NON_INFERIORITY_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a candidate.

    Attributes:
        version: the candidate.
        promoted: whether it is the champion now.
        reason: why, in a sentence with the figures.
    """

    version: str
    promoted: bool
    reason: str


def promote(
    version: str,
    comparison: ChampionComparison | None,
    policy: PromotionPolicy,
    home: Path,
    *,
    still_wanted: Callable[[], None] = lambda: None,
) -> Promotion:
    """Make a candidate the champion, or not.

    Args:
        version: the candidate.
        comparison: with the champion; only ``if-better`` looks at it.
        policy: ``always``, ``never``, or ``if-better``: where there is no champion, or by the rule of decision 11.
        home: where the models are.
        still_wanted: called under the registry's lock right before the switch; what it raises stops that.

    Returns:
        Whether it is the champion now. ``if-better`` leaves a champion alone that nobody compared it with.

    Raises:
        InvalidParameter: ``if-better`` without a comparison of this version.
        ModelError: the version cannot be loaded.
    """
    registry = Registry(home)
    if policy == "never":
        return Promotion(version, False, "Not promoted, as was asked.")
    if policy == "always":
        registry.promote(version, before_write=still_wanted)
        return Promotion(version, True, "Promoted, as was asked, whatever was champion.")
    if comparison is None or comparison.candidate != version:
        raise InvalidParameter(f"{version} is promoted only if it is better, and was compared with no champion.")
    better, reason = _judgement(comparison)
    if not better:
        return Promotion(version, False, reason)
    try:
        registry.promote(version, expected_version=comparison.champion, before_write=still_wanted)
    except ChampionChanged as error:
        return Promotion(version, False, f"{reason} Not promoted all the same: {error} Compare it with that one.")
    return Promotion(version, True, reason)


def _judgement(comparison: ChampionComparison) -> tuple[bool, str]:
    """Whether the candidate is to be promoted, and why."""
    paired = comparison.paired
    if paired is None:
        return comparison.basis != "none", comparison.message
    if paired.auc_difference.value == 0:
        what, difference = "AUC equal, balanced accuracy", paired.balanced_accuracy_difference
        mine, theirs = paired.candidate_balanced_accuracy, paired.champion_balanced_accuracy
    else:
        what, difference = "AUC", paired.auc_difference
        mine, theirs = paired.candidate_auc, paired.champion_auc
    better, verdict = _rule(difference)
    thin = (
        f" A class of fewer than {MIN_SESSIONS} groups makes that interval too narrow."
        if paired.too_few_sessions
        else ""
    )
    return better, (
        f"{what} {mine.value:.3f} against {theirs.value:.3f} on the same {paired.n} recordings of {paired.groups} "
        f"groups, a difference of {difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]: "
        f"{verdict}.{thin} {comparison.message}"
    )


def _rule(difference: Estimate) -> tuple[bool, str]:
    """What a difference means; it is defined, for both classes are there."""
    value, low = difference.value or 0.0, difference.low or 0.0
    if value < 0:
        return False, "worse"
    if value == 0:
        return False, "no better, so the champion stays"
    if low < -NON_INFERIORITY_MARGIN:
        return False, f"better, but it may as well be worse by more than {NON_INFERIORITY_MARGIN}"
    return True, "better"
