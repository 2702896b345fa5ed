"""Advice about the model that answers: three answers to the questions of a user, and warnings with commands."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml.dataset.annotations import ABNORMAL, NORMAL
from ml.detectors.thresholds import SESSIONS_FOR_A_RATE, percent
from ml.evaluation.results import Estimate
from ml.reports.expectations import Expectations, Group, SensitivityRow, SessionScores

# The rule of the warnings, chosen here.
MIN_DETECTED = 0.8  # smallest share of abnormal recordings that are detected
MIN_DETECTED_IN_SESSION = 0.5  # of one session
MAX_FALSE_ALARMS_IN_SESSION = 0.2  # largest share of normal recordings of one session that are anomalous
MAX_NOT_JUDGED = 0.02  # largest share of normal recordings that are not judged


class Answer(NamedTuple):
    """A question of a user, and its answer in a sentence."""

    question: str
    answer: str


def answers(found: Expectations, *, demonstration: bool = False) -> tuple[Answer, ...]:
    """Answer whether the model can be used, what it misses, and how often it raises a false alarm.

    Args:
        found: the expectations.
        demonstration: whether the model is a demonstration, which is for no real machine.
    """
    return (
        Answer("Can I use it?", "Only to try the service: it knows no real machine." if demonstration else _use(found)),
        Answer("What will it miss?", _misses(found)),
        Answer(
            "How often will it raise a false alarm?",
            "Not known for any real machine: it was tested on simulated sound."
            if demonstration
            else _false_alarms(found),
        ),
    )


def warnings(found: Expectations, version: str) -> Iterator[str]:
    """Yield a sentence for each problem of the served verdict, with the command that helps.

    Args:
        found: the expectations.
        version: version of the model, for the commands.
    """
    yield from _detection_warnings(found, version)
    yield from _false_alarm_warnings(found, version)
    unjudged, n = found.not_judged
    if n and unjudged / n > MAX_NOT_JUDGED:
        yield (
            f"{unjudged} of {n} normal held-out recordings are not judged: they are unlike the recordings that the "
            "model has learned from. Record more sessions of normal operation, and train again."
        )


def _use(found: Expectations) -> str:
    abnormal, normal = found.of_label(ABNORMAL), found.of_label(NORMAL)
    if abnormal.n and _value(found.detected) < MIN_DETECTED and _knows_learned_faults(found):
        return (
            "For the recorded faults only: it misses too many abnormal recordings of a session that it does not know."
        )
    if abnormal.n and _value(found.detected) < MIN_DETECTED:
        return "Not as it is: it misses too many abnormal recordings. The warnings below name what helps."
    if _too_many_false_alarms(found):
        return "Not as it is: it raises too many false alarms. The warnings below name what helps."
    if not abnormal.n:
        return "Try it, but expect nothing yet: there was no abnormal recording to test it with."
    few = [
        f"{len(group.sessions)} with {label} recordings"
        for group, label in ((normal, NORMAL), (abnormal, ABNORMAL))
        if len(group.sessions) < SESSIONS_FOR_A_RATE
    ]
    if few or list(warnings(found, "")):
        sessions = f"The figures come from few sessions ({', '.join(few)}) and can change with the next ones."
        return f"With care. {sessions if few else 'Read the warnings below.'}"
    return "Yes, for the recorded machines, with the same microphone in the same place."


def _knows_learned_faults(found: Expectations) -> bool:
    """Return whether enough abnormal recordings are found if the other half of their session is learned from."""
    detected, n = found.learned_faults or (0, 0)
    return n > 0 and detected / n >= MIN_DETECTED


def _misses(found: Expectations) -> str:
    group = found.of_label(ABNORMAL)
    learned = ""
    if found.learned_faults is not None and found.learned_faults[1]:
        detected, n = found.learned_faults
        learned = f" Of recordings of sessions that it has learned from, it detects {detected} of {n}."
    if not group.n:
        return f"Not known: no abnormal recording of another session was tested.{learned}"
    missed = group.n - group.anomalous
    text = (
        f"{missed} of {group.n} abnormal recordings, from {_sessions(group)}"
        f"{' that it had not learned from' if found.learned_faults else ''}; so expect that it detects "
        f"{_range(found.detected)} of them."
    )
    worst = group.sorted_by_share()[0]
    if missed and len(group.sessions) > 1:
        text += f" The most in session {worst.session}: {len(worst.scores) - worst.anomalous} of "
        text += f"{len(worst.scores)}."
    return text + learned


def _false_alarms(found: Expectations) -> str:
    group = found.of_label(NORMAL)
    if not group.n:
        return "Not known: no normal recording was tested."
    which = "a new session" if found.new_session else "the same sessions; how many in a new session is not known"
    each_held_out = ", each held out in turn" if found.new_session and len(group.sessions) > 1 else ""
    text = (
        f"In {_range(found.false_alarms)} of the normal recordings of {which}. Measured: {group.anomalous} of "
        f"{group.n}, from {_sessions(group)}{each_held_out}."
    )
    worst = group.sorted_by_share()[-1]
    if group.anomalous and len(group.sessions) > 1:
        text += f" The most in session {worst.session}: {worst.anomalous} of {len(worst.scores)}."
    return text


def _detection_warnings(found: Expectations, version: str) -> Iterator[str]:
    group = found.of_label(ABNORMAL)
    if not group.n:
        return
    helps = _help_to_detect(found, version)
    if _value(found.detected) < MIN_DETECTED:
        yield (
            f"The model misses {group.n - group.anomalous} of {group.n} abnormal recordings at its threshold. An AUC "
            f"does not show this. {helps}"
        )
        return
    poor = [each for each in group.sorted_by_share() if each.share < MIN_DETECTED_IN_SESSION]
    if poor:
        yield f"The model misses most abnormal recordings of {_listed(poor)}. {helps}"


def _help_to_detect(found: Expectations, version: str) -> str:
    better = next((row for row in found.sensitivities[::-1] if row.threshold < found.threshold), None)
    if better is not None and _value(better.detected) > _value(found.detected):
        return (
            f"At {percent(better.stated_rate)} stated false alarms it detects {_value(better.detected):.0%}:  "
            f"signalml thresholds {version} {_option(found, better)}"
        )
    if found.has_detector:
        return "A lower threshold does not help; record the normal machine in more sessions, and train again."
    return (
        "Record more sessions of each fault and of normal operation, and train again; or add a detector, which needs "
        "normal recordings only:  signalml train DATASET --both"
    )


def _false_alarm_warnings(found: Expectations, version: str) -> Iterator[str]:
    group = found.of_label(NORMAL)
    if _too_many_false_alarms(found):
        yield (
            f"{_value(found.false_alarms):.1%} of the normal recordings are false alarms; {percent(found.stated_rate)} "
            f"was requested. {_help_against_alarms(found, version)}"
        )
        return
    loud = [e for e in group.sorted_by_share()[::-1] if e.share > MAX_FALSE_ALARMS_IN_SESSION]
    if loud:
        yield (
            f"More than {MAX_FALSE_ALARMS_IN_SESSION:.0%} of the normal recordings are false alarms in "
            f"{_listed(loud)}. {_help_against_alarms(found, version)}"
        )


def _option(found: Expectations, row: SensitivityRow) -> str:
    return f"--sensitivity {row.sensitivity}" if found.by_name else f"--threshold {row.threshold:.4g}"


def _help_against_alarms(found: Expectations, version: str) -> str:
    text = "Sessions differ: record more sessions of normal operation, and train again."
    higher = next((row for row in found.sensitivities if row.threshold > found.threshold), None)
    if higher is None:
        return text
    return f"{text} Until then:  signalml thresholds {version} {_option(found, higher)}"


def _too_many_false_alarms(found: Expectations) -> bool:
    """Return whether the interval of the false-alarm rate is wholly above the stated rate."""
    return found.false_alarms.low is not None and found.false_alarms.low > found.stated_rate


def _listed(sessions: Sequence[SessionScores], shown: int = 3) -> str:
    names = ", ".join(each.session for each in sessions[:shown])
    more = f" and {len(sessions) - shown} more" if len(sessions) > shown else ""
    return f"{'session' if len(sessions) == 1 else 'sessions'} {names}{more}"


def _sessions(group: Group) -> str:
    return f"{len(group.sessions)} session{'' if len(group.sessions) == 1 else 's'}"


def _range(rate: Estimate) -> str:
    if rate.low is None or rate.high is None:
        return percent(_value(rate))
    return f"{percent(_value(rate))} ({percent(rate.low)} to {percent(rate.high)})"


def _value(rate: Estimate) -> float:
    return 0.0 if rate.value is None else rate.value
