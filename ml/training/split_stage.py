"""The split of a training: by both labels for a classifier, of normal recordings alone for a detector alone."""

from dataclasses import replace

from ml.dataset.entries import ABNORMAL, NORMAL, Dataset
from ml.dataset.indexing.listing import natural_key
from ml.dataset.splitting.duplicates import drop_duplicates
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
from ml.errors import OneClassOnly, TooFewRecordings
from ml.training.classes import require_both_labels, require_fault_names
from ml.training.options import TrainingOptions

# Of one machine: three or four are learned from, and the others are held out or left out between the sides.
MIN_NORMAL_RECORDINGS = 6


def split_recordings(dataset: Dataset, options: TrainingOptions) -> Split:
    """Divide the recordings as the options ask.

    Raises:
        OneClassOnly: a label is missing that the model needs.
        InvalidParameter: a fault's name that is no class name.
        TooFewRecordings, SplitImpossible: see :func:`ml.dataset.splitting.methods.split`.
    """
    if options.learn == "detector":
        return split_normal(dataset, options)
    require_both_labels(dataset)
    require_fault_names(dataset)
    return split(dataset, method=options.split, held_out=options.held_out, seed=options.seed)


def split_normal(dataset: Dataset, options: TrainingOptions) -> Split:
    """Divide the healthy recordings; every abnormal one is on the test side, since none is learned from.

    An abnormal recording may be of a session that healthy ones are learned from: it is still a sound that was not.
    Where a machine is held out, only that machine's are judged: what is measured is a machine that was never heard.

    Raises:
        OneClassOnly: no healthy recording.
        TooFewRecordings: fewer than :data:`MIN_NORMAL_RECORDINGS`; and see :func:`ml.dataset.split`.
        SplitImpossible: see there.
    """
    healthy = tuple(entry for entry in dataset.entries if entry.label == NORMAL)
    if not healthy:
        raise OneClassOnly(
            f"All {len(dataset.entries)} recordings in {dataset.name} are abnormal; a detector learns from healthy "
            "ones. Add a folder or rows of them."
        )
    if len(healthy) < MIN_NORMAL_RECORDINGS:
        raise TooFewRecordings(
            f"{len(healthy)} healthy recordings in {dataset.name}; a detector is trained on {MIN_NORMAL_RECORDINGS} at least, "
            "since some are held out to measure it, and on a few dozen of each machine well."
        )
    sides = split(replace(dataset, entries=healthy), method=options.split, held_out=options.held_out, seed=options.seed)
    abnormal, left_out = drop_duplicates([entry for entry in dataset.entries if entry.label == ABNORMAL])
    if sides.method == "machine":
        held_out = {(entry.annotation.machine, entry.annotation.machine_id) for entry in sides.test}
        known = [entry for entry in abnormal if (entry.annotation.machine, entry.annotation.machine_id) not in held_out]
        left_out += [(entry, "Abnormal, of a machine that is not held out.") for entry in known]
        abnormal = [entry for entry in abnormal if (entry.annotation.machine, entry.annotation.machine_id) in held_out]
    test = sorted((*sides.test, *abnormal), key=lambda entry: natural_key(entry.path))
    return replace(sides, test=tuple(test), left_out=(*sides.left_out, *left_out))
