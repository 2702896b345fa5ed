"""The whole way from recordings to a candidate model, as one function.

::

    options.py       what a person chooses
    hearing.py       the feature spec that fits the recordings
    classes.py       what the network is to tell apart: named faults, groups, or healthy and not
    clips.py         recordings as windows that a network is fitted to
    deciding.py      the threshold, from healthy recordings that were held out
    records.py       what is kept of a training beside the bundle: split, evaluation, report
    verdicts.py      what was said of the test side, one of those records
    detecting.py     a detector of the healthy recordings, and the sides it is measured by
    operating.py     what the detector that is served finds at each named false-alarm rate
    tested.py        what the candidate says of the test side, and what that is worth
    scene.py         what the steps share
    card.py          what the bundle says of where it comes from
    report.py        what the report shows
    trained.py       what came of it, and how it is found again
    run.py           the steps, in order
    detector_run.py  the same for a candidate that holds a detector alone
    comparing.py     the candidate beside the champion
    promoting.py     whether the candidate takes the champion's place
"""
