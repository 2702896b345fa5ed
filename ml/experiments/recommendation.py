"""Recommendation of a detector, from the verdicts of a comparison.

**Figure.** Balanced accuracy of the verdicts at a requested false-alarm rate: the mean of the share of abnormal
recordings above the threshold and the share of normal recordings at or below it.

**Rule.** The default detector at the default rate, unless another detector or another rate is clearly better: the
difference is at least 0.02, and its 95 % interval, from common draws of sessions, is above 0. Among those, the one with
the largest difference.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.dataset.entries import ABNORMAL
from ml.detectors.thresholds import percent
from ml.evaluation import metrics
from ml.evaluation.intervals import BootstrapPlan, bootstrap_estimates, wilson_difference
from ml.evaluation.metrics import Floats
from ml.evaluation.results import Estimate
from ml.evaluation.table import ABNORMAL_STRATUM, NORMAL_STRATUM
from ml.experiments.comparison_results import (
    FALSE_ALARM_RATES,
    ComparisonRow,
    DetectorComparison,
    Trial,
    bootstrap_units,
)
from ml.training.choices import TrainingChoices

DEFAULT_RATE: float = TrainingChoices.model_fields["false_alarm_rate"].default
SEPARATOR = "+"
MIN_GAIN = 0.02  # chosen here: a smaller gain is not worth another engine or another rate


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Detector to train, and why.

    Attributes:
        contender: engines of the detector.
        false_alarm_rate: requested false-alarm rate, 0 to 1.
        message: recommendation and reason, in two or three sentences.
        options: options of ``signalml train`` that train this detector.
    """

    contender: str
    false_alarm_rate: float
    message: str
    options: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"options": list(self.options)}


@dataclass(frozen=True, slots=True)
class _Choice:
    """A contender at one of :data:`FALSE_ALARM_RATES`."""

    contender: str
    rate_index: int

    @property
    def rate(self) -> float:
        return FALSE_ALARM_RATES[self.rate_index]


def recommend(comparison: DetectorComparison) -> Recommendation:
    """Recommend a detector and a false-alarm rate by the rule at the top of this module.

    Args:
        comparison: comparison of detectors. Its first contender is the default.
    """
    rows = {row.contender: row for row in comparison.slices[0]}
    default = _Choice(comparison.contenders[0], _default_rate_index())
    if not rows[default.contender].abnormal:
        reason = "Without abnormal recordings it is unknown which detector finds more faults."
        return _recommendation(default, default, f"{reason} {_described(rows, default)}")
    choices = [_Choice(name, i) for name in comparison.contenders for i in range(len(FALSE_ALARM_RATES))]
    differences = _differences(comparison, choices, default)
    better = [(gain.value or 0.0, choice, gain) for choice, gain in differences.items() if _is_clear(gain)]
    if not better:
        reason = "No other detector and no other rate has clearly better verdicts on these recordings."
        return _recommendation(default, default, f"{reason} {_described(rows, default)}")
    _, best, gain = max(better, key=lambda each: each[0])
    reason = (
        f"Its verdicts are better than those of the default at {percent(default.rate)}: the balanced accuracy is "
        f"higher by {gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}]."
    )
    other = f"The default at {percent(default.rate)}: {_figures(rows, default)}."
    return _recommendation(best, default, f"{reason} {_described(rows, best)} {other}")


def _is_clear(gain: Estimate) -> bool:
    return (gain.value or 0.0) >= MIN_GAIN and (gain.low or 0.0) > 0


def _default_rate_index() -> int:
    """Return the index of the rate that is closest to that of a training without options."""
    return min(range(len(FALSE_ALARM_RATES)), key=lambda i: abs(FALSE_ALARM_RATES[i] - DEFAULT_RATE))


def _differences(comparison: DetectorComparison, choices: list[_Choice], default: _Choice) -> dict[_Choice, Estimate]:
    """Return the balanced accuracy of each choice minus that of the default."""
    trials = comparison.trials[default.contender]
    abnormal = np.array([each.entry.label == ABNORMAL for each in trials])
    plan = BootstrapPlan.of(abnormal.astype(np.int64), bootstrap_units(trials), comparison.seed)
    alarms = {choice: _alarms(comparison.trials[choice.contender], choice.rate_index) for choice in choices}

    def differences(weights: Floats) -> Floats:
        accuracy = {choice: metrics.balanced_accuracy(alarm, abnormal, weights) for choice, alarm in alarms.items()}
        return np.stack([accuracy[choice] - accuracy[default] for choice in choices], axis=1)

    units = [plan.units(NORMAL_STRATUM, ABNORMAL_STRATUM)] * len(choices)
    return dict(zip(choices, bootstrap_estimates(differences, plan, units, wilson_difference), strict=True))


def _alarms(trials: Sequence[Trial], rate_index: int) -> NDArray[np.bool_]:
    return np.array([each.score > each.thresholds[rate_index] for each in trials])


def _recommendation(choice: _Choice, default: _Choice, reason: str) -> Recommendation:
    engines = () if choice.contender == default.contender else choice.contender.split(SEPARATOR)
    rate = () if choice.rate == DEFAULT_RATE else ("--false-alarm-rate", f"{choice.rate:g}")
    options = ("--detector", *(part for engine in engines for part in ("--engine", engine)), *rate)
    name = f"the default ({choice.contender})" if choice.contender == default.contender else choice.contender
    message = f"Use {name} at {percent(choice.rate)} requested false alarms. {reason}"
    return Recommendation(choice.contender, choice.rate, message, options)


def _described(rows: dict[str, ComparisonRow], choice: _Choice) -> str:
    return f"At {percent(choice.rate)}: {_figures(rows, choice)}."


def _figures(rows: dict[str, ComparisonRow], choice: _Choice) -> str:
    row = rows[choice.contender]
    detected, false_alarms = row.rates[choice.rate_index]
    found = f"{_share(detected)} of {row.abnormal} abnormal recordings detected, " if row.abnormal else ""
    return f"{found}false alarms on {_share(false_alarms)} of {row.normal} normal ones"


def _share(share: Estimate) -> str:
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
