"""A candidate beside the champion, on recordings that neither has learned from.

**Which recordings.** Those of the candidate's held-out side that the champion has not learned from, nor from anything
that the candidate's split keeps together with them: the champion then has heard as little of them as the candidate.
Both judge them. A champion that was fitted once more has learned from its own held-out side; where too few other
recordings remain, those that were held out of both trainings are compared by what each measured network said then.

**Which verdicts.** Those with a random gain on each recording, the same for both, so that level cannot win; and, of the
candidate, always those of the network that was measured: the one that was fitted once more knows them all.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ml.dataset.entries import ABNORMAL, Dataset, Entry
from ml.errors import AudioError, ModelError
from ml.evaluation.judged import Judged
from ml.evaluation.paired import Paired, compare
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.system.progress import Report, silent
from ml.training import records
from ml.training.options import GAIN_DB, TrainingOptions
from ml.training.split_records import Fitted
from ml.training.training_result import TrainingResult
from ml.training.verdicts import verdicts_of

Basis = Literal["no champion", "itself", "judged by both", "held out of both", "none"]
# Of three recordings of each class even a perfect order comes up by chance once in 20; of four, once in 70.
FEWEST_OF_A_CLASS = 4


class _Kin(NamedTuple):
    """What a split keeps on one side: a model that has heard one of them is no stranger to the others."""

    of: Callable[[Entry], Hashable]
    called: str
    new: str


KIN: Mapping[str, _Kin] = {
    "group": _Kin(attrgetter("group"), "sessions", "new sessions"),
    "machine": _Kin(attrgetter("machine", "machine_id"), "machines", "other machines"),
    "blocks": _Kin(attrgetter("audio_hash"), "recordings", "new sessions"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside the champion of its time.

    Attributes:
        candidate: its version.
        champion: the champion's; None where there was none.
        basis: on what they were compared; ``none`` where no honest comparison could be made.
        says: the same as a sentence, with counts, or why there is none.
        paired: the figures; None where there are none.
    """

    candidate: str
    champion: str | None
    basis: Basis
    says: str
    paired: Paired | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised."""
        return asdict(self)


def compare_with_champion(
    trained: TrainingResult,
    options: TrainingOptions,
    dataset: Dataset,
    home: Path,
    *,
    processes: int | None = None,
    report: Report = silent,
) -> Comparison:
    """Hold a candidate against the champion, on recordings that neither has learned from.

    Args:
        trained: the candidate.
        options: what it was trained with.
        dataset: what it was trained on.
        home: where the champion and its records are, and where ``comparison.json`` is kept.
        processes: for judging; None decides by cores and recordings.
        report: told after each recording.

    Returns:
        The comparison, or why there is none; a champion that cannot be loaded or refuses a recording is a reason.

    Raises:
        OSError: a recording is not there any more.
    """
    champion = Registry(home).aliases().get("champion")
    if champion is None:
        compared = Comparison(trained.version, None, "no champion", "No model is champion: there is nothing to beat.")
    elif champion == trained.version:
        # What made it champion stays on record.
        return Comparison(trained.version, champion, "itself", f"{champion} is the champion already.")
    else:
        compared = _compared(_Rivals(trained, options, dataset, home, champion), processes, report)
    records.write_comparison(home, trained.version, compared.to_dict())
    return compared


@dataclass(frozen=True, slots=True)
class _Rivals:
    """A candidate, what it was made from, and the champion."""

    trained: TrainingResult
    options: TrainingOptions
    dataset: Dataset
    home: Path
    champion: str

    @property
    def kin(self) -> _Kin:
        """What the candidate's split keeps together."""
        return KIN[self.trained.split.method]

    def strange(self, known: Callable[[Entry], bool]) -> tuple[Judged, ...]:
        """The candidate's verdicts on what is no kin of any recording that the champion knows."""
        heard = {self.kin.of(entry) for entry in self.dataset.entries if known(entry)}
        return tuple(each for each in self.trained.gain_judged if self.kin.of(each.entry) not in heard)

    def found(self, basis: Basis, says: str, mine: Sequence[Judged], theirs: Sequence[Judged]) -> Comparison:
        """The comparison that was made."""
        paired = compare(mine, theirs, seed=self.options.seed)
        return Comparison(self.trained.version, self.champion, basis, says, paired)

    def none(self, why: str) -> Comparison:
        """No comparison, and why."""
        return Comparison(self.trained.version, self.champion, "none", why)


def _compared(rivals: _Rivals, processes: int | None, report: Report) -> Comparison:
    champion, fitted = rivals.champion, Fitted.of(rivals.home, rivals.champion)
    strange = rivals.strange(fitted.served_knows) if fitted else rivals.trained.gain_judged
    try:
        predictor = Registry(rivals.home).predictor(champion)
        if _enough(strange):
            theirs = _heard_by(predictor, strange, rivals, processes, report)
            return rivals.found("judged by both", _told(rivals, fitted), strange, theirs)
    except (AudioError, ModelError) as error:
        return rivals.none(f"There is no comparison with {champion}: {error}")
    both, then = _held_out_of_both(rivals, fitted) if fitted else ((), ())
    if _enough(both):
        says = f"Compared on what was held out of both trainings, as {champion} was measured before its final fit."
        return rivals.found("held out of both", says, both, then)
    return rivals.none(
        f"There is no honest comparison with {champion}: of the held-out recordings {_counted(strange)} are of "
        f"{rivals.kin.called} that it has not learned from, and {_counted(both)} were held out of its own training "
        f"too; at least {FEWEST_OF_A_CLASS} of each class were expected. Add recordings of {rivals.kin.new}, "
        "or promote it by hand."
    )


def _heard_by(
    predictor: Predictor, judged: Sequence[Judged], rivals: _Rivals, processes: int | None, report: Report
) -> tuple[Judged, ...]:
    """What the champion says of what the candidate has judged, under the same gains."""
    return judge(
        predictor,
        rivals.dataset,
        [each.entry for each in judged],
        gain_db=GAIN_DB,
        seed=rivals.options.seed,
        processes=processes,
        report=report,
    )


def _held_out_of_both(rivals: _Rivals, fitted: Fitted) -> tuple[tuple[Judged, ...], tuple[Judged, ...]]:
    """What both measured networks said of recordings that neither had learned from."""
    mine = rivals.strange(fitted.measured_knows)
    then = verdicts_of(rivals.home, rivals.champion, [each.entry for each in mine], "random")
    there = {each.entry for each in then}
    return tuple(each for each in mine if each.entry in there), then


def _told(rivals: _Rivals, fitted: Fitted | None) -> str:
    if fitted is None:
        return f"What {rivals.champion} was fitted on is not recorded here: it may know some of these recordings."
    return f"{rivals.champion} has not learned from these {rivals.kin.called}."


def _enough(judged: Sequence[Judged]) -> bool:
    return min(_classes(judged)) >= FEWEST_OF_A_CLASS


def _counted(judged: Sequence[Judged]) -> str:
    return "{} normal and {} abnormal".format(*_classes(judged))


def _classes(judged: Sequence[Judged]) -> tuple[int, int]:
    """How many are normal, and how many abnormal."""
    abnormal = sum(each.entry.label == ABNORMAL for each in judged)
    return len(judged) - abnormal, abnormal
