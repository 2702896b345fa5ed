"""Promotion: only the better candidate, only if the job is still wanted, and only over the compared champion."""

from dataclasses import replace
from pathlib import Path

import pytest

from ml.errors import Cancelled, InvalidParameter
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.paired import PairedComparison, compare_paired
from ml.evaluation.results import Estimate
from ml.models.registry import Registry
from ml.training.promotion import ChampionComparison, promote
from tests.unit import bundles
from tests.unit.judgements import entry, verdict

ROUGHLY = 0.1


def figure(value: float, less: float = ROUGHLY) -> Estimate:
    """An estimate with an interval that reaches so far down and up."""
    return Estimate(value, value - less, value + less)


EQUAL = PairedComparison(
    n=114,
    normal=57,
    abnormal=57,
    groups=19,
    normal_groups=10,
    abnormal_groups=9,
    candidate_auc=figure(0.94),
    champion_auc=figure(0.94),
    auc_difference=figure(0.0),
    candidate_balanced_accuracy=figure(0.9),
    champion_balanced_accuracy=figure(0.9),
    balanced_accuracy_difference=figure(0.0),
    candidate_detection_rate=figure(0.85),
    champion_detection_rate=figure(0.85),
    detection_rate_difference=figure(0.0),
    candidate_false_alarm_rate=figure(0.05, 0.04),
    champion_false_alarm_rate=figure(0.05, 0.04),
    false_alarm_rate_difference=figure(0.0),
    candidate_unusable=0,
    champion_unusable=0,
)
BETTER = replace(
    EQUAL,
    candidate_balanced_accuracy=figure(0.921),
    candidate_detection_rate=figure(0.892),
    balanced_accuracy_difference=figure(0.021, 0.03),
)
HIGHER_AUC = replace(EQUAL, candidate_auc=figure(0.962), auc_difference=figure(0.022, 0.03))


@pytest.fixture
def registry(home: Path) -> Registry:
    """A registry with one version, the champion."""
    return Registry(home)


@pytest.fixture
def first(registry: Registry) -> str:
    """The champion."""
    return registry.resolve("champion")


@pytest.fixture
def second(registry: Registry, first: str) -> str:
    """The candidate."""
    return bundles.further(registry)


@pytest.fixture
def better(first: str, second: str) -> ChampionComparison:
    """A comparison that the candidate wins."""
    return ChampionComparison(second, first, "judged by both", "It has not learned from these sessions.", BETTER)


def fail_if_asked() -> None:
    """Fail: nothing should ask whether the job is still wanted."""
    raise AssertionError("nothing was to be promoted")


def test_the_better_candidate_is_promoted(
    registry: Registry, home: Path, better: ChampionComparison, second: str
) -> None:
    """The reason has the figures, the number of recordings and the comparison's message."""
    found = promote(second, better, "if-better", home)
    assert registry.resolve("champion") == second
    assert (found.version, found.promoted) == (second, True)
    assert found.reason == (
        "Balanced accuracy 0.921 against 0.900, a difference of +0.021 [-0.009, +0.051]: better. Both models judged "
        "the same 114 recordings of 19 sessions. Detected of 57 abnormal ones: 89.2% [79.2%, 99.2%], by the champion "
        "85.0% [75.0%, 95.0%]. False alarms on 57 normal ones: 5.0% [1.0%, 9.0%], by the champion 5.0% [1.0%, 9.0%]. "
        "It has not learned from these sessions."
    )


@pytest.mark.parametrize(
    ("paired", "verdict"),
    [
        pytest.param(
            replace(HIGHER_AUC, balanced_accuracy_difference=figure(-0.01, 0.2)),
            "-0.010 [-0.210, +0.190]: worse",
            id="worse verdicts, higher AUC",
        ),
        pytest.param(
            replace(BETTER, balanced_accuracy_difference=figure(0.02, 0.08)),
            "the interval includes a loss of more than 0.05",
            id="unsure",
        ),
        pytest.param(EQUAL, "equal, AUC 0.940 against 0.940", id="as good"),
        pytest.param(replace(EQUAL, auc_difference=figure(-0.1)), "-0.100 [-0.200, +0.000]: worse", id="tie, worse"),
        pytest.param(
            replace(BETTER, candidate_false_alarm_rate=figure(0.3), false_alarm_rate_difference=figure(0.25)),
            "better, but with more than 20 % false alarms",
            id="too many false alarms",
        ),
    ],
)
def test_a_candidate_that_is_not_better_is_not_promoted(
    registry: Registry, home: Path, first: str, second: str, paired: PairedComparison, verdict: str
) -> None:
    """If it is worse, perhaps much worse, or equal, the champion stays, and the reason states which."""
    compared = ChampionComparison(second, first, "judged by both", "", paired)
    found = promote(second, compared, "if-better", home, still_wanted=fail_if_asked)
    assert registry.resolve("champion") == first
    assert not found.promoted
    assert verdict in found.reason


def test_equal_verdicts_are_decided_by_the_auc(registry: Registry, home: Path, first: str, second: str) -> None:
    """Candidates whose verdicts are equally good are compared by AUC."""
    found = promote(second, ChampionComparison(second, first, "judged by both", "", HIGHER_AUC), "if-better", home)
    assert registry.resolve("champion") == second
    assert found.reason.startswith("Balanced accuracy equal, AUC 0.962 against 0.940, a difference of +0.022")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"false_alarm_rate_difference": figure(-0.05)}, id="fewer than the champion"),
        pytest.param({"candidate_false_alarm_rate": figure(0.2)}, id="one in five"),
    ],
)
def test_some_false_alarms_are_accepted(home: Path, first: str, second: str, changes: dict[str, Estimate]) -> None:
    """A candidate is refused for its false alarms only if they are too many and more than the champion's."""
    many = {"candidate_false_alarm_rate": figure(0.3), "false_alarm_rate_difference": figure(0.25)}
    paired = replace(BETTER, **(many | changes))  # type: ignore[arg-type]  # estimates only
    compared = ChampionComparison(second, first, "judged by both", "", paired)
    assert promote(second, compared, "if-better", home).promoted


Counts = tuple[int, int, int, int]


def detector(detected: Counts, false_alarms: Counts, threshold: float) -> list[JudgedRecording]:
    """Verdicts of a detector on four sessions of 30 normal and four of 25 abnormal recordings, by alarms in each.

    All abnormal recordings have higher scores than all normal ones, except those of false alarms.
    """
    judged = []
    for label, size, alarms in (("normal", 30, false_alarms), ("abnormal", 25, detected)):
        for session, count in enumerate(alarms):
            for number in range(size):
                recording = entry(100 * session + number, label, group=f"{label} {session}")
                score = threshold + (0.1 if number < count else -0.1) + (0.05 if label == "abnormal" else 0)
                judged.append(verdict(recording, score, threshold))
    return judged


USUAL = detector((10, 14, 16, 8), (0, 0, 1, 0), threshold=0.8)  # 48 % detected
SENSITIVE = detector((25, 24, 25, 24), (1, 0, 2, 1), threshold=0.5)  # 98 %
INSENSITIVE = detector((1, 0, 2, 0), (0, 0, 0, 0), threshold=0.84)  # 3 %
FALSE_ALARMS = detector((25, 25, 25, 25), (18, 8, 14, 8), threshold=0.3)  # 40 % false alarms


@pytest.mark.parametrize(
    ("candidate", "champion", "promoted"),
    [
        pytest.param(SENSITIVE, USUAL, True, id="98 % against 48 %"),
        pytest.param(INSENSITIVE, USUAL, False, id="3 % against 48 %"),
        pytest.param(USUAL, SENSITIVE, False, id="48 % against 98 %"),
        pytest.param(USUAL, INSENSITIVE, True, id="48 % against 3 %"),
        pytest.param(FALSE_ALARMS, USUAL, False, id="40 % false alarms"),
        pytest.param(USUAL, USUAL, False, id="the same"),
    ],
)
def test_verdicts_decide_and_not_the_ranking(
    home: Path,
    first: str,
    second: str,
    candidate: list[JudgedRecording],
    champion: list[JudgedRecording],
    promoted: bool,
) -> None:
    """The model with the better verdicts at its threshold is the champion."""
    paired = compare_paired(candidate, champion)
    compared = ChampionComparison(second, first, "judged by both", "", paired)
    found = promote(second, compared, "if-better", home)
    assert found.promoted == promoted, found.reason


def test_recordings_without_a_judgement_are_counted_in_the_reason(
    home: Path, second: str, better: ChampionComparison
) -> None:
    """The reason has their number for both models."""
    some = replace(better, paired=replace(BETTER, champion_unusable=7))
    assert "Not judged: 0, by the champion 7." in promote(second, some, "if-better", home).reason


def test_few_sessions_are_noted_in_the_reason(home: Path, second: str, better: ChampionComparison) -> None:
    """The reason states that an interval from two sessions of a class is too narrow."""
    few = replace(better, paired=replace(BETTER, abnormal_groups=2))
    assert (
        "The intervals are too narrow, because a class has fewer than 3 sessions."
        in promote(second, few, "if-better", home).reason
    )


def test_the_first_candidate_is_promoted(tmp_path: Path, home: Path, first: str) -> None:
    """Without a champion, no comparison is necessary."""
    (home / "models" / "aliases.json").unlink()
    found = promote(first, ChampionComparison(first, None, "no champion", "No model is champion."), "if-better", home)
    assert (found.promoted, found.reason) == (True, "No model is champion.")
    assert Registry(home).resolve("champion") == first


def test_a_candidate_without_a_comparison_is_not_promoted(
    registry: Registry, home: Path, first: str, second: str
) -> None:
    """The reason is the comparison's message."""
    compared = ChampionComparison(second, first, "none", "There is no honest comparison.")
    found = promote(second, compared, "if-better", home, still_wanted=fail_if_asked)
    assert (found.promoted, found.reason) == (False, "There is no honest comparison.")
    assert registry.resolve("champion") == first


def test_promoting_the_champion_changes_nothing(registry: Registry, home: Path, first: str) -> None:
    """A job that was started again after its promotion finds it done; nothing is written."""
    before = registry.history()
    found = promote(first, ChampionComparison(first, first, "itself", "It is champion already."), "if-better", home)
    assert found.promoted
    assert registry.history() == before


def test_a_new_champion_since_the_comparison_stays(
    registry: Registry, home: Path, better: ChampionComparison, first: str, second: str
) -> None:
    """The candidate was not compared with it; the reason names all three, and nothing is written."""
    third = bundles.further(registry, 0.75)
    registry.promote(third)
    found = promote(second, better, "if-better", home, still_wanted=fail_if_asked)
    assert not found.promoted
    assert f"{third} is champion now; {first} was expected: {second} was not promoted." in found.reason
    assert registry.aliases() == {"champion": third, "previous": first}


def test_always_and_never_ignore_the_comparison(registry: Registry, home: Path, first: str, second: str) -> None:
    """With always a worse candidate is promoted, with never a better one is not."""
    worse = ChampionComparison(
        second, first, "judged by both", "", replace(BETTER, balanced_accuracy_difference=figure(-0.3))
    )
    assert not promote(second, None, "never", home, still_wanted=fail_if_asked).promoted
    assert registry.resolve("champion") == first
    assert promote(second, worse, "always", home).promoted
    assert registry.resolve("champion") == second


@pytest.mark.parametrize("policy", ["always", "if-better"])
def test_a_cancelled_job_promotes_nothing(
    registry: Registry, home: Path, better: ChampionComparison, first: str, second: str, policy: str
) -> None:
    """A job that was cancelled, or taken over by another worker, changes no champion."""

    def unwanted() -> None:
        raise Cancelled("The job was cancelled.")

    with pytest.raises(Cancelled):
        promote(second, better, policy, home, still_wanted=unwanted)  # type: ignore[arg-type]  # one of the policies
    assert registry.resolve("champion") == first


def test_if_better_needs_a_comparison_of_the_same_version(home: Path, first: str, better: ChampionComparison) -> None:
    """Another version's comparison promotes nothing."""
    for compared in (None, better):
        with pytest.raises(InvalidParameter, match=first):
            promote(first, compared, "if-better", home)
