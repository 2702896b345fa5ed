"""Promotion of a candidate to champion: on request, or by the rule of decisions 11 and 20.

**Rule of ``if-better``.** The balanced accuracy of the verdicts decides, each model at the threshold that is served: it
is the mean of the share of abnormal recordings that are answered ``anomalous`` and the share of normal recordings that
are not. The candidate is promoted if its balanced accuracy is higher, and the lower end of the difference's interval is
not below -0.05. If the balanced accuracies are equal, the AUC decides by the same rule; if it is equal too, the
champion stays. A candidate with more false alarms than the champion is not promoted if they are more than 20 %.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ml.detectors.thresholds import percent
from ml.errors import ChampionChanged, InvalidParameter
from ml.evaluation.intervals import MIN_SESSIONS
from ml.evaluation.paired import PairedComparison
from ml.evaluation.results import Estimate
from ml.models.registry import Registry
from ml.training.champion_comparison import ChampionComparison
from ml.training.choices import PromotionPolicy

# The lower end of the difference's interval must not be below minus this margin.
NON_INFERIORITY_MARGIN = 0.05
# Chosen here. An alarm needs 3 of the last 5 verdicts. If verdicts were independent, 20 % false ones would raise it in
# 6 % of all windows, 10 % in 1 %, and 30 % in 16 %.
MAX_FALSE_ALARM_RATE = 0.2


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
        policy: ``always``, ``never``, or ``if-better``: if there is no champion, or by the rule
            above.
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
    metric, difference = _decisive_figure(paired)
    better, verdict = _rule(difference)
    if better and _too_many_false_alarms(paired):
        better, verdict = False, f"better, but with more than {percent(MAX_FALSE_ALARM_RATE)} false alarms"
    decision = (
        f"{metric}, a difference of {difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]: {verdict}."
    )
    return better, " ".join(
        filter(None, (decision, *_verdict_sentences(paired), *_remarks(paired), comparison.message))
    )


def _decisive_figure(paired: PairedComparison) -> tuple[str, Estimate]:
    """Return the figure that decides, in words, and its difference."""
    if paired.balanced_accuracy_difference.value != 0:
        accuracies = paired.candidate_balanced_accuracy, paired.champion_balanced_accuracy
        return _metric("Balanced accuracy", *accuracies), paired.balanced_accuracy_difference
    aucs = _metric("AUC", paired.candidate_auc, paired.champion_auc)
    return f"Balanced accuracy equal, {aucs}", paired.auc_difference


def _metric(name: str, candidate: Estimate, champion: Estimate) -> str:
    return f"{name} {candidate.value:.3f} against {champion.value:.3f}"


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


def _too_many_false_alarms(paired: PairedComparison) -> bool:
    """Whether the candidate has more false alarms than the champion, and more than an automatic promotion accepts."""
    more = (paired.false_alarm_rate_difference.value or 0.0) > 0
    return more and (paired.candidate_false_alarm_rate.value or 0.0) > MAX_FALSE_ALARM_RATE


def _verdict_sentences(paired: PairedComparison) -> tuple[str, str, str]:
    """Describe detections and false alarms of both models."""
    detected, false_alarms = paired.candidate_detection_rate, paired.candidate_false_alarm_rate
    return (
        f"Both models judged the same {paired.n} recordings of {paired.groups} sessions.",
        f"Detected of {paired.abnormal} abnormal ones: {_share(detected)}, by the champion "
        f"{_share(paired.champion_detection_rate)}.",
        f"False alarms on {paired.normal} normal ones: {_share(false_alarms)}, by the champion "
        f"{_share(paired.champion_false_alarm_rate)}.",
    )


def _remarks(paired: PairedComparison) -> Iterator[str]:
    if paired.candidate_unusable or paired.champion_unusable:
        yield f"Not judged: {paired.candidate_unusable}, by the champion {paired.champion_unusable}."
    if paired.too_few_sessions:
        yield f"The intervals are too narrow, because a class has fewer than {MIN_SESSIONS} sessions."


def _share(share: Estimate) -> str:
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}]"
