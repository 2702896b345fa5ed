"""Recommendation of a comparison: the default, unless another detector or rate has clearly better verdicts."""

from collections.abc import Mapping
from dataclasses import replace

from cli.training_options import flag_of
from ml.dataset.entries import Label
from ml.experiments.comparison_results import FALSE_ALARM_RATES, DetectorComparison, Trial, comparison_rows
from ml.experiments.recommendation import recommend
from tests.unit.judgements import entry

DEFAULT, OTHER, BASELINE = "discriminant+distance", "distance+neighbours", "baseline"
SESSIONS, PER_SESSION = 5, 10
THRESHOLDS = {0.05: 0.6, 0.01: 0.8}
MANY = 5
Alarms = tuple[int, int]
"""Of ten abnormal, and of ten normal recordings of a session, those that have an alarm at 1 % and at 5 %."""


def trials(detected: Alarms, false_alarms: Alarms, labels: tuple[Label, ...] = ("normal", "abnormal")) -> list[Trial]:
    """Trials of five sessions of ten recordings of each class; if there are many alarms, every second has one more."""
    found = []
    for label in labels:
        at_1, at_5 = detected if label == "abnormal" else false_alarms
        for session in range(SESSIONS):
            more = session % 2 if at_5 > MANY else 0
            for number in range(PER_SESSION):
                score = 0.9 if number < at_1 + more * (at_1 > MANY) else 0.7 if number < at_5 + more else 0.3
                recording = entry(100 * session + number, label, group=f"{label} {session}")
                thresholds = tuple(THRESHOLDS[rate] for rate in FALSE_ALARM_RATES)
                found.append(
                    Trial(entry=recording, subset="fan", score=score, thresholds=thresholds, calibrated_on=100)
                )
    return found


def compared(by_contender: Mapping[str, list[Trial]]) -> DetectorComparison:
    """The comparison of these trials."""
    return DetectorComparison(
        dataset="fans",
        fingerprint="",
        gain_db=6.0,
        seed=0,
        contenders=tuple(by_contender),
        baseline=BASELINE,
        rows=tuple(comparison_rows(by_contender, BASELINE, 0)),
        rejections=(),
        refusals=(),
        spectra=(),
        trials={name: tuple(some) for name, some in by_contender.items()},
        notes=(),
    )


BAD = trials((0, 1), (1, 2))


def test_the_default_is_recommended_unless_another_is_clearly_better() -> None:
    """A slightly better detector does not replace the default; the message has its figures."""
    one_more = trials((7, 8), (0, 2))
    one_more[-1] = replace(one_more[-1], score=0.9)
    found = recommend(compared({DEFAULT: trials((7, 8), (0, 2)), OTHER: one_more, BASELINE: BAD}))
    assert (found.contender, found.false_alarm_rate, found.options) == (DEFAULT, 0.01, ("--detector",))
    assert found.message.startswith(f"Use the default ({DEFAULT}) at 1 % requested false alarms. No other detector")
    assert "74% [70%, 78%] of 50 abnormal recordings detected, false alarms on 0% [0%, 43%] of 50 normal ones." in (
        found.message
    )


def test_a_clearly_better_detector_is_recommended_with_its_command() -> None:
    """The message has the figures of both, and the options name its engines."""
    found = recommend(compared({DEFAULT: trials((3, 3), (0, 2)), OTHER: trials((9, 9), (0, 2)), BASELINE: BAD}))
    assert found.contender == OTHER
    assert found.options == ("--detector", flag_of("engines"), "distance", flag_of("engines"), "neighbours")
    assert found.message.startswith(f"Use {OTHER} at 1 % requested false alarms. Its verdicts are better")
    assert "The default at 1 %: 30% [" in found.message


def test_another_rate_is_recommended_if_its_verdicts_are_clearly_better() -> None:
    """If the default misses faults at its rate and finds them at a higher one, that rate is recommended."""
    found = recommend(compared({DEFAULT: trials((2, 9), (0, 1)), OTHER: trials((2, 5), (0, 1)), BASELINE: BAD}))
    assert (found.contender, found.false_alarm_rate) == (DEFAULT, 0.05)
    assert found.options == ("--detector", flag_of("false_alarm_rate"), "0.05")


def test_without_abnormal_recordings_the_default_is_recommended() -> None:
    """Detections are unknown, and the message states that."""
    normal = {name: trials((0, 0), alarms, ("normal",)) for name, alarms in ((DEFAULT, (1, 3)), (BASELINE, (0, 0)))}
    found = recommend(compared(normal))
    assert found.contender == DEFAULT
    assert "Without abnormal recordings it is unknown" in found.message
    assert "detected" not in found.message
