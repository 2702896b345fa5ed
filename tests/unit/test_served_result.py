"""What to expect of the served model: false alarms of sessions that neither engines nor threshold know."""

import numpy as np

from ml.detectors.calibration import Calibration
from ml.detectors.thresholds import calibrated_threshold
from ml.training.operating_points import estimate_shares
from ml.training.served_result import ScoredRecording, by_session, held_out_alarms

SESSIONS = np.repeat(np.arange(4), 10)


def calibration(last: float, **changes: object) -> Calibration:
    """Four sessions of ten recordings; the scores of the last session are higher by ``last``."""
    scores = np.tile(np.linspace(0.3, 0.4, 10), 4) + last * (SESSIONS == 3)
    return Calibration(scores, scores, SESSIONS, **{"rate_holds_for": "new_session"} | changes)  # type: ignore[arg-type]  # any field


def test_the_threshold_for_a_session_comes_from_the_others() -> None:
    """All recordings of a loud session are false alarms, although the served threshold is above most of them."""
    found = calibration(0.3)
    served = calibrated_threshold(found, 0.1)
    assert (found.named > served).sum() <= 1
    alarms = held_out_alarms(found, served, 0.1)
    assert alarms[SESSIONS == 3].all()
    assert not alarms[SESSIONS != 3].any()


def test_a_rate_of_the_same_sessions_is_counted_at_the_served_threshold() -> None:
    """Then no session was held out."""
    found = calibration(0.3, rate_holds_for="same_session")
    assert held_out_alarms(found, 0.65, 0.1).tolist() == (found.named > 0.65).tolist()


def test_odd_recordings_count_as_alarms_and_not_in_the_threshold() -> None:
    """The odd recording of a session does not raise the threshold of the others."""
    odd = np.zeros(40, bool)
    odd[9] = True
    found = calibration(0.0, odd=odd)
    found.named[9] = 0.9
    assert held_out_alarms(found, 0.5, 0.1).nonzero()[0].tolist() == [9]


def test_a_share_is_estimated_for_each_flag() -> None:
    """The value is the share of the recordings, with an interval from the sessions."""
    flags = np.stack([SESSIONS == 3, SESSIONS >= 0], axis=1)
    some, every = estimate_shares(flags, SESSIONS, 0)
    assert (some.value, every.value) == (0.25, 1.0)
    assert some.low == 0.0


def test_scores_are_grouped_by_label_and_session() -> None:
    """A session with recordings of both labels is two columns; the normal ones are first."""
    recordings = [
        ScoredRecording("monday", "abnormal", 0.9, True, None),
        ScoredRecording("monday", "normal", 0.1, False, None),
        ScoredRecording("monday", "abnormal", 0.4, False, None),
    ]
    normal, abnormal = by_session(recordings)
    assert (normal.label, normal.scores, normal.anomalous) == ("normal", (0.1,), 0)
    assert (abnormal.label, abnormal.scores, abnormal.anomalous) == ("abnormal", (0.9, 0.4), 1)
