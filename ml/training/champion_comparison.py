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
from ml.evaluation.judged import JudgedRecording
from ml.evaluation.paired import PairedComparison, compare_paired
from ml.models.judging import judge
from ml.models.predictor import Predictor
from ml.models.registry import Registry
from ml.system.progress import ProgressCallback, ignore_progress
from ml.training import records
from ml.training.options import GAIN_DB, TrainingOptions
from ml.training.recorded_split import RecordedSplit
from ml.training.training_result import TrainingResult
from ml.training.verdicts import read_verdicts

Basis = Literal["no champion", "itself", "judged by both", "held out of both", "none"]
# Of three recordings of each class even a perfect order comes up by chance once in 20; of four, once in 70.
FEWEST_OF_A_CLASS = 4


class _SplitUnit(NamedTuple):
    """What a split keeps on one side: a model that has heard one of them is no stranger to the others."""

    key: Callable[[Entry], Hashable]
    called: str
    new: str


SPLIT_UNITS: Mapping[str, _SplitUnit] = {
    "group": _SplitUnit(attrgetter("session"), "sessions", "new sessions"),
    "machine": _SplitUnit(attrgetter("annotation.machine", "annotation.machine_id"), "machines", "other machines"),
    "blocks": _SplitUnit(attrgetter("audio_hash"), "recordings", "new sessions"),
}


@dataclass(frozen=True, slots=True)
class ChampionComparison:
    """A candidate beside the champion of its time.

    Attributes:
        candidate: its version.
        champion: the champion's; None where there was none.
        basis: on what they were compared; ``none`` where no honest comparison could be made.
        message: the basis in a sentence with counts, or the reason why there is none.
        paired: the figures; None where there are none.
    """

    candidate: str
    champion: str | None
    basis: Basis
    message: str
    paired: PairedComparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as serialised; ``says`` is the name that the message has on disk."""
        return {("says" if name == "message" else name): value for name, value in asdict(self).items()}


def compare_with_champion(
    trained: TrainingResult,
    options: TrainingOptions,
    dataset: Dataset,
    home: Path,
    *,
    processes: int | None = None,
    report: ProgressCallback = ignore_progress,
) -> ChampionComparison:
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
        compared = ChampionComparison(
            trained.version, None, "no champion", "No model is champion: there is nothing to beat."
        )
    elif champion == trained.version:
        # What made it champion stays on record.
        return ChampionComparison(trained.version, champion, "itself", f"{champion} is the champion already.")
    else:
        compared = _compare(_Rivals(trained, options, dataset, home, champion), processes, report)
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
    def split_unit(self) -> _SplitUnit:
        """What the candidate's split keeps together."""
        return SPLIT_UNITS[self.trained.split.method]

    def unseen_by(self, known: Callable[[Entry], bool]) -> tuple[JudgedRecording, ...]:
        """The candidate's verdicts on what is no kin of any recording that the champion knows."""
        heard = {self.split_unit.key(entry) for entry in self.dataset.entries if known(entry)}
        return tuple(each for each in self.trained.judged_with_gain if self.split_unit.key(each.entry) not in heard)

    def found(
        self, basis: Basis, says: str, mine: Sequence[JudgedRecording], theirs: Sequence[JudgedRecording]
    ) -> ChampionComparison:
        """The comparison that was made."""
        paired = compare_paired(mine, theirs, seed=self.options.seed)
        return ChampionComparison(self.trained.version, self.champion, basis, says, paired)

    def none(self, why: str) -> ChampionComparison:
        """No comparison, and why."""
        return ChampionComparison(self.trained.version, self.champion, "none", why)


def _compare(rivals: _Rivals, processes: int | None, report: ProgressCallback) -> ChampionComparison:
    champion, fitted = rivals.champion, RecordedSplit.read(rivals.home, rivals.champion)
    strange = rivals.unseen_by(fitted.served_model_saw) if fitted else rivals.trained.judged_with_gain
    try:
        predictor = Registry(rivals.home).load_predictor(champion)
        if _enough(strange):
            theirs = _judge_with_champion(predictor, strange, rivals, processes, report)
            return rivals.found("judged by both", _unseen_message(rivals, fitted), strange, theirs)
    except (AudioError, ModelError) as error:
        return rivals.none(f"There is no comparison with {champion}: {error}")
    both, then = _held_out_of_both(rivals, fitted) if fitted else ((), ())
    if _enough(both):
        says = f"Compared on what was held out of both trainings, as {champion} was measured before its final fit."
        return rivals.found("held out of both", says, both, then)
    return rivals.none(
        f"There is no honest comparison with {champion}: of the held-out recordings {_counted(strange)} are of "
        f"{rivals.split_unit.called} that it has not learned from, and {_counted(both)} were held out of its own training "
        f"too; at least {FEWEST_OF_A_CLASS} of each class were expected. Add recordings of {rivals.split_unit.new}, "
        "or promote it by hand."
    )


def _judge_with_champion(
    predictor: Predictor,
    judged: Sequence[JudgedRecording],
    rivals: _Rivals,
    processes: int | None,
    report: ProgressCallback,
) -> tuple[JudgedRecording, ...]:
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


def _held_out_of_both(
    rivals: _Rivals, fitted: RecordedSplit
) -> tuple[tuple[JudgedRecording, ...], tuple[JudgedRecording, ...]]:
    """What both measured networks said of recordings that neither had learned from."""
    mine = rivals.unseen_by(fitted.evaluated_model_saw)
    then = read_verdicts(rivals.home, rivals.champion, [each.entry for each in mine], "random")
    there = {each.entry for each in then}
    return tuple(each for each in mine if each.entry in there), then


def _unseen_message(rivals: _Rivals, fitted: RecordedSplit | None) -> str:
    if fitted is None:
        return f"What {rivals.champion} was fitted on is not recorded here: it may know some of these recordings."
    return f"{rivals.champion} has not learned from these {rivals.split_unit.called}."


def _enough(judged: Sequence[JudgedRecording]) -> bool:
    return min(_classes(judged)) >= FEWEST_OF_A_CLASS


def _counted(judged: Sequence[JudgedRecording]) -> str:
    return "{} normal and {} abnormal".format(*_classes(judged))


def _classes(judged: Sequence[JudgedRecording]) -> tuple[int, int]:
    """How many are normal, and how many abnormal."""
    abnormal = sum(each.entry.label == ABNORMAL for each in judged)
    return len(judged) - abnormal, abnormal
