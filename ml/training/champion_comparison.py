"""Comparison of a candidate with the champion, on recordings that neither has learned from.

**Recordings.** Both models judge recordings of the candidate's test side. Recordings that the champion has learned from
are left out. If the split keeps sessions (or machines) together, their whole sessions (or machines) are left out. A
champion with a final fit has learned from its own test side too. If too few recordings remain, the recordings that were
held out of both trainings are used, with the stored verdicts of the champion's measured model.

**Verdicts.** Each recording has a random gain, the same for both models, so that level gives no advantage. The
candidate's verdicts are those of its measured model, because the final fit has learned from the test side. Each model
answers at its own threshold (``compared_verdicts.py``), and the message states whose verdicts were compared.
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
from ml.training.compared_verdicts import ComparedVerdicts, VerdictOrigin
from ml.training.options import GAIN_DB, TrainingOptions
from ml.training.recorded_split import RecordedSplit
from ml.training.training_result import TrainingResult
from ml.training.verdicts import read_verdicts

Basis = Literal["no champion", "itself", "judged by both", "held out of both", "none"]
# A perfect order of 3 recordings of each class occurs by chance once in 20; of 4, once in 70.
FEWEST_OF_A_CLASS = 4


class _SplitUnit(NamedTuple):
    """Recordings that a split keeps on one side, because they resemble each other.

    Attributes:
        key: returns the session, machine or audio hash of a recording.
        plural: name of these units in messages.
        to_add: recordings that would make a comparison possible, for messages.
    """

    key: Callable[[Entry], Hashable]
    plural: str
    to_add: str


SPLIT_UNITS: Mapping[str, _SplitUnit] = {
    "group": _SplitUnit(attrgetter("session"), "sessions", "new sessions"),
    "machine": _SplitUnit(attrgetter("annotation.machine", "annotation.machine_id"), "machines", "other machines"),
    "blocks": _SplitUnit(attrgetter("audio_hash"), "recordings", "new sessions"),
    "given": _SplitUnit(attrgetter("audio_hash"), "recordings", "new test recordings"),
}


@dataclass(frozen=True, slots=True)
class ChampionComparison:
    """Result of comparing a candidate with the champion.

    Attributes:
        candidate: version of the candidate.
        champion: version of the champion; None if there was none.
        basis: recordings that they were compared on; ``none`` if no fair comparison was possible.
        message: the basis and the origin of the verdicts in sentences, or the reason why there is no comparison.
        paired: the figures; None if there are none.
        candidate_verdicts, champion_verdicts: fit and threshold behind the verdicts; None if there are none.
    """

    candidate: str
    champion: str | None
    basis: Basis
    message: str
    paired: PairedComparison | None = None
    candidate_verdicts: VerdictOrigin | None = None
    champion_verdicts: VerdictOrigin | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values. The message has the name ``says`` on disk."""
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
    """Compare a candidate with the champion, on recordings that neither has learned from.

    Args:
        trained: the candidate.
        options: options of its training.
        dataset: recordings of its training.
        home: folder with both versions and their records. The result is written to ``comparison.json`` in the records
            of the candidate, unless it is the champion itself.
        processes: number of processes for judging; None chooses it from the cores and the recordings.
        report: called after each recording.

    Returns:
        The comparison. If the champion cannot be loaded or refuses a recording, the message gives this reason.

    Raises:
        OSError: a recording no longer exists.
    """
    champion = Registry(home).aliases().get("champion")
    if champion is None:
        compared = ChampionComparison(trained.version, None, "no champion", "There is no champion to compare with.")
    elif champion == trained.version:
        # The comparison that made it the champion stays on disk.
        return ChampionComparison(trained.version, champion, "itself", f"{champion} is already the champion.")
    else:
        compared = _compare(_Pair(trained, options, dataset, home, champion), processes, report)
    records.write_comparison(home, trained.version, compared.to_dict())
    return compared


@dataclass(frozen=True, slots=True)
class _Pair:
    """A candidate with its training, and the champion."""

    trained: TrainingResult
    options: TrainingOptions
    dataset: Dataset
    home: Path
    champion: str

    @property
    def split_unit(self) -> _SplitUnit:
        """The unit that the candidate's split keeps together."""
        return SPLIT_UNITS[self.trained.split.method]

    def unseen_by(self, seen: Callable[[Entry], bool]) -> tuple[JudgedRecording, ...]:
        """Return the candidate's verdicts on recordings of units that the champion has not seen."""
        seen_units = {self.split_unit.key(entry) for entry in self.dataset.entries if seen(entry)}
        return tuple(
            each for each in self.trained.judged_with_gain if self.split_unit.key(each.entry) not in seen_units
        )

    def measured(self, judged: Sequence[JudgedRecording]) -> ComparedVerdicts:
        """Return the candidate's verdicts at the threshold that is served."""
        return ComparedVerdicts.of_measured_fit(
            Registry(self.home),
            self.trained.version,
            judged,
            self.trained.evaluation.threshold,
            served_fit=not self.options.refit,
        )

    def compared(
        self, basis: Basis, message: str, candidate: ComparedVerdicts, champion: ComparedVerdicts
    ) -> ChampionComparison:
        """Compare two lists of verdicts on the same recordings."""
        origins = (candidate.origin.describe(self.trained.version), champion.origin.describe(self.champion))
        return ChampionComparison(
            candidate=self.trained.version,
            champion=self.champion,
            basis=basis,
            message=" ".join((message, *origins)),
            paired=compare_paired(candidate.judged, champion.judged, seed=self.options.seed),
            candidate_verdicts=candidate.origin,
            champion_verdicts=champion.origin,
        )

    def not_compared(self, reason: str) -> ChampionComparison:
        """Return a comparison without figures."""
        return ChampionComparison(self.trained.version, self.champion, "none", reason)


def _compare(pair: _Pair, processes: int | None, report: ProgressCallback) -> ChampionComparison:
    champion, fitted = pair.champion, RecordedSplit.read(pair.home, pair.champion)
    unseen = pair.unseen_by(fitted.served_model_saw) if fitted else pair.trained.judged_with_gain
    try:
        predictor = Registry(pair.home).load_predictor(champion)
        if _enough(unseen):
            judged = _judge_with_champion(predictor, unseen, pair, processes, report)
            served = ComparedVerdicts.of_served_model(predictor, judged)
            return pair.compared("judged by both", _unseen_message(pair, fitted), pair.measured(unseen), served)
    except (AudioError, ModelError) as error:
        return pair.not_compared(f"No comparison with {champion} is possible: {error}")
    both, recorded = _held_out_of_both(pair, fitted) if fitted else ((), ())
    if _enough(both):
        message = "Compared on recordings that were held out of both trainings."
        return pair.compared("held out of both", message, pair.measured(both), _recorded(pair, recorded))
    return pair.not_compared(
        f"No fair comparison with {champion} is possible: at least {FEWEST_OF_A_CLASS} recordings of each class are "
        f"necessary. Of the held-out recordings, {_counted(unseen)} are new to {champion}, and {_counted(both)} were "
        f"held out of both trainings. Add recordings of {pair.split_unit.to_add}, or promote the version yourself."
    )


def _judge_with_champion(
    predictor: Predictor,
    judged: Sequence[JudgedRecording],
    pair: _Pair,
    processes: int | None,
    report: ProgressCallback,
) -> tuple[JudgedRecording, ...]:
    """Return the champion's verdicts on the recordings of ``judged``, with the same gains."""
    return judge(
        predictor,
        pair.dataset,
        [each.entry for each in judged],
        gain_db=GAIN_DB,
        seed=pair.options.seed,
        processes=processes,
        report=report,
    )


def _held_out_of_both(
    pair: _Pair, fitted: RecordedSplit
) -> tuple[tuple[JudgedRecording, ...], tuple[JudgedRecording, ...]]:
    """Return the verdicts of both measured models on recordings that neither has learned from."""
    unseen = pair.unseen_by(fitted.evaluated_model_saw)
    recorded = read_verdicts(pair.home, pair.champion, [each.entry for each in unseen], "random")
    entries = {each.entry for each in recorded}
    return tuple(each for each in unseen if each.entry in entries), recorded


def _recorded(pair: _Pair, recorded: Sequence[JudgedRecording]) -> ComparedVerdicts:
    """Return the stored verdicts of the champion's measured model at the threshold that is served."""
    evaluation = records.read_evaluation(pair.home, pair.champion)
    threshold = None if evaluation is None else evaluation.threshold
    return ComparedVerdicts.of_measured_fit(Registry(pair.home), pair.champion, recorded, threshold, served_fit=False)


def _unseen_message(pair: _Pair, fitted: RecordedSplit | None) -> str:
    if fitted is None:
        return f"{pair.champion} may have learned from some of these recordings: its training is not recorded here."
    return f"{pair.champion} has not learned from these {pair.split_unit.plural}."


def _enough(judged: Sequence[JudgedRecording]) -> bool:
    return min(_classes(judged)) >= FEWEST_OF_A_CLASS


def _counted(judged: Sequence[JudgedRecording]) -> str:
    return "{} normal and {} abnormal".format(*_classes(judged))


def _classes(judged: Sequence[JudgedRecording]) -> tuple[int, int]:
    """Count normal and abnormal recordings."""
    abnormal = sum(each.entry.label == ABNORMAL for each in judged)
    return len(judged) - abnormal, abnormal
