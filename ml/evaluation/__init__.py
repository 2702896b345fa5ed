"""Evaluation: figures of a model on recordings that it has not learned from, with 95 % intervals.

::

    judged.py      JudgedRecording: a recording and the verdict on it
    table.py       JudgedTable: judged recordings as columns; slices by machine, id and SNR
    metrics.py     AUC, pAUC, rates, F1, calibration, each with any weights of the recordings
    intervals.py   bootstrap over sessions, which gives the weights
    results.py     Estimate, Slice, Evaluation: the stored and reported results
    evaluating.py  judged recordings -> Evaluation
    paired.py      judged recordings of two models -> differences between the models
    notes.py       remarks on the figures

Nothing here needs scikit-learn, so a serving installation can evaluate too.
"""
