"""What a model is worth on recordings that it has not learned from, and how sure one can be of that.

::

    judged.py     a recording and what a model says of it
    metrics.py    AUC, pAUC, rates, F1, calibration, each under any weights of the recordings
    intervals.py  the bootstrap over recording groups that the weights come from
    results.py    Estimate, Slice, Evaluation: what is kept and reported
    evaluating.py Judged -> Evaluation
    paired.py     Judged, twice -> by how much one model is better than another
    notes.py      what a reader must know beside the numbers

Nothing here needs scikit-learn: a serving installation can evaluate too.
"""
