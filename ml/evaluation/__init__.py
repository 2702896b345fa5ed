"""What a model is worth on recordings that it has not learned from, and how sure one can be of that.

::

    judging.py    recordings -> Judged, through the one scoring path
    metrics.py    AUC, pAUC, rates, F1, calibration, each under any weights of the recordings
    intervals.py  the bootstrap over recording groups that the weights come from
    results.py    Estimate, Slice, Evaluation: what is kept and reported
    evaluating.py Judged -> Evaluation
    comparison.py Judged, twice -> by how much one model is better than another
    fitted.py     which recordings a training has used
    notes.py      what a reader must know beside the numbers

Nothing here needs scikit-learn: a serving installation can evaluate too.
"""

from ml.evaluation.evaluating import evaluate
from ml.evaluation.judging import Judged, default_truth, judge
from ml.evaluation.results import Estimate, Evaluation, Slice

__all__ = ["Estimate", "Evaluation", "Judged", "Slice", "default_truth", "evaluate", "judge"]
