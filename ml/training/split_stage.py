"""Split of a training: of both labels for a classifier, of normal recordings for a detector alone."""

from dataclasses import replace

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset
from ml.dataset.indexing.listing import natural_key
from ml.dataset.splitting.duplicates import drop_duplicates
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
from ml.errors import OneClassOnly, TooFewRecordings
from ml.training.classes import require_both_labels, require_fault_names
from ml.training.label_check import require_plain_labels
from ml.training.options import TrainingOptions

# With 6 of one machine, three or four are trained on. The others are held out or are gap recordings.
MIN_NORMAL_RECORDINGS = 6


def split_recordings(dataset: Dataset, options: TrainingOptions) -> Split:
    """Split the recordings as the options state.

    Raises:
        LabelsContradictNames: names contradict labels, and the options do not confirm them.
        OneClassOnly: a label that the model needs does not occur.
        InvalidParameter: a fault name cannot be a class name, or a machine is held out without the split ``machine``.
        TooFewRecordings, SplitImpossible: see :func:`ml.dataset.splitting.methods.split`.
    """
    require_plain_labels(dataset, confirmed=options.confirm_labels)
    if options.learn == "detector":
        return split_normal(dataset, options)
    require_both_labels(dataset)
    require_fault_names(dataset)
    return split(dataset, method=options.split, held_out=options.held_out, seed=options.seed)


def split_normal(dataset: Dataset, options: TrainingOptions) -> Split:
    """Split the normal recordings, and put all abnormal recordings on the test side.

    A detector learns from no abnormal recording. An abnormal recording can be of a session with normal training
    recordings. If a machine is held out, only the abnormal recordings of that machine are tested.

    Raises:
        OneClassOnly: there is no normal recording.
        TooFewRecordings: fewer than :data:`MIN_NORMAL_RECORDINGS`; see also :func:`ml.dataset.splitting.methods.split`.
        SplitImpossible: see :func:`ml.dataset.splitting.methods.split`.
    """
    normal = tuple(entry for entry in dataset.entries if entry.label == NORMAL)
    if not normal:
        raise OneClassOnly(
            f"All {len(dataset.entries)} recordings in {dataset.name} are abnormal; a detector learns from normal "
            "recordings. Add normal recordings."
        )
    if len(normal) < MIN_NORMAL_RECORDINGS:
        raise TooFewRecordings(
            f"{len(normal)} normal recordings in {dataset.name}; a detector needs at least {MIN_NORMAL_RECORDINGS}, "
            "because some are held out to measure it. A few dozen of each machine are better."
        )
    sides = split(replace(dataset, entries=normal), method=options.split, held_out=options.held_out, seed=options.seed)
    abnormal, left_out = drop_duplicates([entry for entry in dataset.entries if entry.label == ABNORMAL])
    if sides.method == "machine":
        held_out = {entry.machine_name for entry in sides.test}
        others = [entry for entry in abnormal if entry.machine_name not in held_out]
        left_out += [(entry, "Abnormal, of a machine that is not held out.") for entry in others]
        abnormal = [entry for entry in abnormal if entry.machine_name in held_out]
    test = sorted((*sides.test, *abnormal), key=lambda entry: natural_key(entry.path))
    return replace(sides, test=tuple(test), left_out=(*sides.left_out, *left_out))
