"""Training: from recordings to a candidate model, and its promotion.

::

    choices.py               options that a user can choose, declared once
    options.py               options of one training: the choices and the source
    pipeline.py              train(): the stages in order
    context.py               values that all stages share
    split_stage.py           training, validation and test side
    classes.py               classes of the network: named faults, fault groups, or normal and abnormal
    clips.py                 recordings as labelled clips for the network
    classifier_stage.py      features, fit and final fit of the network
    detector_stage.py        fit of the detector, and distances of abnormal recordings
    classifier_folds.py      cross-validation of the network over sessions
    calibration.py           thresholds of a model
    classifier_threshold.py  threshold of a classifier
    candidate.py             a model before it is a version
    held_out_result.py       verdicts and figures of the test side
    served_result.py         what to expect of the served model
    operating_points.py      detection rate of the served detector at each sensitivity
    publication.py           a candidate becomes a version in the registry
    card.py                  model card
    report.py                content of the report
    training_result.py       result of a training, and the search for an existing one
    records.py               files of a training next to the bundle; see also verdicts.py
    recorded_split.py        recordings that a version has learned from
    paths.py                 folder of these files
    compared_verdicts.py     verdicts of one model at the threshold that is served
    champion_comparison.py   candidate and champion on the same recordings
    promotion.py             rule that makes a candidate the champion
"""
