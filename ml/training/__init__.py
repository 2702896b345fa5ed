"""The whole way from recordings to a candidate model, as one function.

::

    options.py   what a person chooses
    hearing.py   the feature spec that fits the recordings
    classes.py   what the network is to tell apart: named faults, groups, or healthy and not
    clips.py     recordings as windows that a network is fitted to
    deciding.py  the threshold, from healthy recordings that were held out
    records.py   what is kept of a training beside the bundle: split, evaluation, report
    scene.py     what the steps share
    card.py      what the bundle says of where it comes from
    report.py    what the report shows
    run.py       the steps, in order
"""

from ml.training.options import Options
from ml.training.run import Trained, run

__all__ = ["Options", "Trained", "run"]
