"""Calibration over sessions: recordings that stand apart, and rates that hold for new sessions."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.detectors.calibration import Calibration
from ml.detectors.cross_fitting import CrossFit
from ml.detectors.detector import Detector
from ml.detectors.detector_files import detector_from_bytes, detector_to_bytes
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.reference import NormalRecording
from ml.detectors.sessions import find_odd, session_bound
from ml.detectors.spectra import Spectra
from ml.detectors.thresholds import calibrated_threshold, operating_point_at_rate, threshold_at
from ml.errors import BundleDamaged
from tests.unit.detectors import SPEC

ENGINES = [engine_by_name("distance")]


def spectra(offset_db: float, rng: np.random.Generator) -> Spectra:
    """A clip whose spectrum is tilted by ``offset_db``, with a little noise."""
    tilt = np.linspace(-1, 1, SPEC.n_mels) * offset_db
    log_mel = (tilt + rng.normal(0, 0.3, (SPEC.clip_frames, SPEC.n_mels))).astype(np.float32)
    return Spectra(log_mel, rng.uniform(1, 2, 1 + SPEC.n_fft // 2).astype(np.float32))


def recordings(offsets_db: dict[str, list[float]], seed: int = 0) -> list[NormalRecording]:
    """Normal recordings of one machine, by session."""
    rng = np.random.default_rng(seed)
    return [
        NormalRecording((spectra(offset, rng),), "fan/id_00", session, f"{session}/{number}.wav")
        for session, offsets in offsets_db.items()
        for number, offset in enumerate(offsets)
    ]


def days(n: int, count: int = 12, spread_db: float = 1.0, seed: int = 3) -> dict[str, list[float]]:
    """Sessions that differ from each other by ``spread_db``, and hardly within themselves."""
    offsets = np.random.default_rng(seed).normal(0, spread_db, n)
    return {f"day {day}": [float(offset)] * count for day, offset in enumerate(offsets)}


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A detector of six sessions, one of which has a recording that stands apart."""
    offsets = days(6)
    offsets["day 2"][4] += 8.0
    return fit_detector(SPEC, ENGINES, recordings(offsets))


def calibration(scores: NDArray[np.float64], session: NDArray[np.int64], **facts: object) -> Calibration:
    """Scores that no session of their own has influenced."""
    return replace(Calibration(scores, scores, session, rate_holds_for="new_session"), **facts)


def test_one_recording_that_stands_apart_is_found(detector: Detector) -> None:
    """By name, and it is kept in the files of the detector."""
    (odd,) = detector.odd_recordings
    assert (odd.name, odd.machine, odd.session) == ("day 2/4.wav", "fan/id_00", "day 2")
    assert odd.times > 3
    assert detector.calibration.kept.sum() == len(detector.calibration.named) - 1
    again = detector_from_bytes(*detector_to_bytes(detector))
    assert again.odd_recordings == detector.odd_recordings
    assert np.array_equal(again.calibration.kept, detector.calibration.kept)
    assert again.calibration.rate_holds_for == "new_session"


def test_it_does_not_raise_the_threshold(detector: Detector) -> None:
    """The threshold is the same as without the recording, up to what the engines learn from it."""
    without = days(6)
    del without["day 2"][4]
    clean = fit_detector(SPEC, ENGINES, recordings(without))
    highest = detector.calibration.named.max()
    assert calibrated_threshold(detector.calibration, 0.01) < highest - 0.1
    assert calibrated_threshold(detector.calibration, 0.01) == pytest.approx(
        calibrated_threshold(clean.calibration, 0.01), abs=0.1
    )


def test_it_counts_in_the_expected_rate(detector: Detector) -> None:
    """The rate is of all normal recordings: a further one may stand apart, too."""
    point = operating_point_at_rate(detector.calibration, 0.05)
    above = np.count_nonzero(detector.calibration.named > point.threshold)
    assert above >= 1
    assert point.expected_rate.value == pytest.approx((1 + above) / (len(detector.calibration.named) + 1))
    assert (point.n, point.n_odd, point.n_sessions, point.rate_holds_for) == (72, 1, 6, "new_session")


@pytest.mark.parametrize(("apart", "expected"), [(1, 1), (2, 2), (3, 0), (20, 0)])
def test_a_machine_that_varies_has_no_odd_recordings(apart: int, expected: int) -> None:
    """More than one in ten recordings of a session stand apart: none of them is left out."""
    distances = np.where(np.arange(20) < apart, 9.0, 1.0)
    assert find_odd(distances, np.zeros(20, np.int64)).sum() == expected


def test_a_recording_is_compared_with_its_own_session() -> None:
    """A whole session far from the others is no reason to leave its recordings out."""
    distances = np.repeat([1.0, 9.0], 20)
    assert not find_odd(distances, np.repeat([0, 1], 20)).any()


@pytest.mark.parametrize(("sessions", "rank"), [(1, 1), (2, 2), (4, 4), (5, 5), (8, 8), (9, 8), (14, 12)])
def test_the_bound_of_sessions_is_a_rank(sessions: int, rank: int) -> None:
    """The ceil(0.8 (S + 1))-th of the S bounds."""
    values = np.arange(1.0, sessions + 1)
    assert session_bound(values, np.arange(sessions), max) == rank


def test_sessions_that_differ_raise_the_threshold() -> None:
    """In the pooled scores, the only session that is far from normal is 2 % of the recordings."""
    scores = np.concatenate([np.full(50, 0.5 + 0.01 * session) for session in range(4)] + [np.full(5, 0.9)])
    session = np.concatenate([np.repeat(np.arange(4), 50), np.full(5, 4)])
    assert threshold_at(scores, 0.05) == 0.53
    assert calibrated_threshold(calibration(scores, session), 0.05) == 0.9
    same = calibration(scores, session, rate_holds_for="same_session")
    assert calibrated_threshold(same, 0.05) == 0.53


def test_the_stated_rate_holds_for_new_sessions() -> None:
    """On average, and in four of five sessions: 12 sessions of a machine that differs from day to day, 5 % stated."""
    rng = np.random.default_rng(0)
    above = []
    for _ in range(200):
        centres = rng.normal(0, 1.0, (13, 1))
        scores = 1 / (1 + np.exp(-(centres + rng.normal(0, 1.0, (13, 20)))))
        known = calibration(scores[:12].ravel(), np.repeat(np.arange(12), 20))
        above.append((scores[12] > calibrated_threshold(known, 0.05)).mean())
    assert 0.005 < np.mean(above) <= 0.05
    assert (np.array(above) <= 0.05).mean() > 0.8


def test_one_session_holds_for_itself_only() -> None:
    """Blocks in time are held out, as before, and the rate holds for that session."""
    found = fit_detector(SPEC, ENGINES, recordings({"monday": [0.0] * 12}))
    assert found.calibration.rate_holds_for == "same_session"
    point = operating_point_at_rate(found.calibration, 0.1)
    assert point.rate_holds_for == "same_session"
    assert "new session" not in point.basis


def test_one_machine_with_one_session_is_enough_to_promise_nothing() -> None:
    """The rate holds for new sessions only if each machine has several."""
    rng = np.random.default_rng(1)
    other = [NormalRecording((spectra(5.0, rng),), "fan/id_02", "day 0", f"other/{n}.wav") for n in range(6)]
    found = fit_detector(SPEC, ENGINES, [*recordings(days(3)), *other])
    assert found.calibration.rate_holds_for == "same_session"


@pytest.mark.parametrize(
    ("machines", "rate_holds_for"),
    [
        ({"fan/id_00": ("d1", "d2", "d3"), "fan/id_01": ("d2", "d3")}, "new_session"),
        ({"fan/id_00": ("d1", "d2", "d3"), "fan/id_01": ("d1",)}, "same_session"),
    ],
)
def test_machines_of_one_session_are_held_out_together(
    machines: dict[str, tuple[str, ...]], rate_holds_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that two machines share is never learned from through the other machine."""
    rng = np.random.default_rng(2)
    normal = [
        NormalRecording((spectra(0.0, rng),), machine, session)
        for machine, sessions in machines.items()
        for session in sessions
        for _ in range(4)
    ]
    folds: list[NDArray[np.int64]] = []
    inner = CrossFit.folds
    monkeypatch.setattr(CrossFit, "folds", lambda self: folds.append(inner(self)) or folds[-1])
    found = fit_detector(SPEC, ENGINES, normal)
    assert found.calibration.rate_holds_for == rate_holds_for
    if rate_holds_for == "new_session":
        of_session = {(each.session, int(fold)) for each, fold in zip(normal, folds[0], strict=True)}
        assert len(of_session) == 3


@pytest.mark.parametrize(
    "odd", [np.zeros(72, np.int64), np.zeros((72, 1), bool), np.ones(72, bool), np.zeros(71, bool)]
)
def test_damaged_odd_recordings_are_refused(detector: Detector, odd: NDArray[np.generic]) -> None:
    """Of another type or length, or all of them: no threshold is computed from such a calibration."""
    damaged = replace(detector, calibration=replace(detector.calibration, odd=odd))
    with pytest.raises(BundleDamaged, match="odd recordings"):
        detector_from_bytes(*detector_to_bytes(damaged))


def test_copies_of_one_recording_have_no_odd_ones() -> None:
    """Their typical distance is 0, so no multiple of it is a limit."""
    assert not find_odd(np.array([0.0] * 11 + [1.0]), np.zeros(12, np.int64)).any()


def test_few_sessions_are_reported() -> None:
    """With three sessions a note states that they support no rate."""
    found = fit_detector(SPEC, ENGINES, recordings(days(3)))
    first, second = operating_point_at_rate(found.calibration, 0.1).notes
    assert first.startswith("3 sessions support no false-alarm rate of a new session")
    assert second == "The interval was drawn from 3 sessions and is rough."


def test_a_detector_with_an_unknown_claim_is_damaged(detector: Detector) -> None:
    """What a rate holds for is one of two values."""
    facts, arrays = detector_to_bytes(detector)
    with pytest.raises(BundleDamaged, match="rate_holds_for"):
        detector_from_bytes(facts.replace(b"new_session", b"ever"), arrays)
