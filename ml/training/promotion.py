"""Promotion of a candidate to champion: on request, or by the rule of decision 11."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.errors import ChampionChanged, InvalidParameter
from ml.evaluation.intervals import MIN_SESSIONS
from ml.evaluation.results import Estimate
from ml.models.registry import Registry
from ml.training.champion_comparison import ChampionComparison
from ml.training.choices import PromotionPolicy

# The lower end of the difference's interval must not be below minus this margin.
NON_INFERIORITY_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class Promotion:
    """Decision about a candidate.

    Attributes:
        version: version of the candidate.
        promoted: whether it is the champion now.
        reason: reason in a sentence, with the figures.
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
    """Promote a candidate if the policy allows it.

    Args:
        version: version of the candidate.
        comparison: comparison with the champion; only ``if-better`` uses it.
        policy: ``always``, ``never``, or ``if-better``: if there is no champion, or by the rule of decision 11.
        home: folder of the models.
        still_wanted: called under the registry's lock right before the change; its exception prevents the change.

    Returns:
        The decision. With ``if-better``, a champion that the candidate was not compared with stays.

    Raises:
        InvalidParameter: ``if-better`` without a comparison of this version.
        ModelError: the version cannot be loaded.
    """
    registry = Registry(home)
    if policy == "never":
        return Promotion(version, False, "Not promoted, as requested.")
    if policy == "always":
        registry.promote(version, before_write=still_wanted)
        return Promotion(version, True, "Promoted as requested, without a comparison.")
    if comparison is None or comparison.candidate != version:
        raise InvalidParameter(f"{version} was not compared with the champion; if-better needs this comparison.")
    better, reason = _decide(comparison)
    if not better:
        return Promotion(version, False, reason)
    try:
        registry.promote(version, expected_version=comparison.champion, before_write=still_wanted)
    except ChampionChanged as error:
        return Promotion(version, False, f"{reason} {error} Compare {version} with the new champion.")
    return Promotion(version, True, reason)


def _decide(comparison: ChampionComparison) -> tuple[bool, str]:
    """Decide whether the candidate is promoted, with the reason."""
    paired = comparison.paired
    if paired is None:
        return comparison.basis != "none", comparison.message
    if paired.auc_difference.value == 0:
        metric, difference = "AUC equal, balanced accuracy", paired.balanced_accuracy_difference
        candidate, champion = paired.candidate_balanced_accuracy, paired.champion_balanced_accuracy
    else:
        metric, difference = "AUC", paired.auc_difference
        candidate, champion = paired.candidate_auc, paired.champion_auc
    better, verdict = _rule(difference)
    narrow = (
        f" The interval is too narrow, because a class has fewer than {MIN_SESSIONS} sessions."
        if paired.too_few_sessions
        else ""
    )
    return better, (
        f"{metric} {candidate.value:.3f} against {champion.value:.3f} on the same {paired.n} recordings of "
        f"{paired.groups} sessions, a difference of {difference.value:+.3f} "
        f"[{difference.low:+.3f}, {difference.high:+.3f}]: {verdict}.{narrow} {comparison.message}"
    )


def _rule(difference: Estimate) -> tuple[bool, str]:
    """Apply the rule to a difference, which is defined because both classes occur."""
    value, low = difference.value or 0.0, difference.low or 0.0
    if value < 0:
        return False, "worse"
    if value == 0:
        return False, "equal, so the champion stays"
    if low < -NON_INFERIORITY_MARGIN:
        return False, f"better, but the interval includes a loss of more than {NON_INFERIORITY_MARGIN}"
    return True, "better"
