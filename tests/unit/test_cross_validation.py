"""Cross-validation: whole sessions or halves in time are held out, and no fold tests what it learned from."""

from ml.dataset.entries import Entry
from ml.experiments.cross_validation import Subset, split_subsets
from tests.unit.datasets import session


def of_machine(machine_id: str, snr_db: float = 0.0, normal: int = 6, abnormal: int = 2) -> list[Entry]:
    """A fan of one session, as in MIMII."""
    known = {"machine": "fan", "machine_id": machine_id, "snr_db": snr_db}
    group = f"fan/{machine_id}"
    return [*session(group, normal, **known), *session(group, abnormal, "abnormal", **known)]


def check(subset: Subset) -> None:
    """Check that no fold of a subset shares a recording, and that each learns from normal ones only."""
    for fold in subset.folds:
        assert not {entry.path for entry in fold.train} & {entry.path for entry in fold.test}
        assert all(entry.label == "normal" for entry in fold.train)


def test_each_kind_of_machine_and_snr_is_a_subset() -> None:
    """Versions of a recording at several SNRs are in different subsets, and so are machines of several kinds."""
    pump = session("pump/id_00", 6, machine="pump", machine_id="id_00", snr_db=0.0)
    found = split_subsets([*of_machine("id_00"), *of_machine("id_00", -6.0), *pump])
    assert [subset.name for subset in found] == ["fan at -6 dB", "fan at 0 dB", "pump at 0 dB"]
    for subset in found:
        check(subset)
        assert {entry.annotation.snr_db for entry in subset.entries} == {subset.snr_db}


def test_sessions_are_held_out_in_turn() -> None:
    """Every normal recording is tested once, by a detector that has not learned from its session."""
    entries = [entry for name in ("N1", "N2", "N3") for entry in session(name, 4)] + session("A1", 3, "abnormal")
    (subset,) = split_subsets(entries)
    check(subset)
    assert len(subset.folds) == 3
    for fold in subset.folds:
        normal = {entry.session for entry in fold.test if entry.label == "normal"}
        assert not normal & {entry.session for entry in fold.train}
        assert sum(entry.label == "abnormal" for entry in fold.test) == 3
    tested = [entry.path for fold in subset.folds for entry in fold.test if entry.label == "normal"]
    assert sorted(tested) == sorted(entry.path for entry in entries if entry.label == "normal")


def test_more_sessions_than_folds_are_held_out_together() -> None:
    """Twelve sessions make five folds, and no session is on both sides of a fold."""
    (subset,) = split_subsets([entry for number in range(12) for entry in session(f"s{number:02d}", 2)])
    assert len(subset.folds) == 5
    for fold in subset.folds:
        assert not {entry.session for entry in fold.test} & {entry.session for entry in fold.train}


def test_one_session_is_cut_into_halves_in_time() -> None:
    """Each half is contiguous, and is tested by a detector that has learned from the other."""
    (subset,) = split_subsets([*of_machine("id_00"), *of_machine("id_02")])
    check(subset)
    assert len(subset.folds) == 2
    for fold, numbers in zip(subset.folds, ([0, 1, 2], [3, 4, 5]), strict=True):
        normal = [entry.path for entry in fold.test if entry.label == "normal"]
        expected = [f"fan/{machine_id}/normal/0.0/{n}.wav" for machine_id in ("id_00", "id_02") for n in numbers]
        assert normal == expected


def test_a_machines_only_recording_is_learned_from() -> None:
    """It cannot be held out, and the abnormal recordings of its machine are not tested."""
    (subset,) = split_subsets([*of_machine("id_00"), *of_machine("id_02", normal=1)])
    for fold in subset.folds:
        assert "fan/id_02/normal/0.0/0.wav" in {entry.path for entry in fold.train}
        assert {entry.annotation.machine_id for entry in fold.test} == {"id_00"}


def test_too_few_recordings_make_no_fold() -> None:
    """Three normal recordings, or one for each of many machines, are too few for a fold."""
    assert not split_subsets(of_machine("id_00", normal=3))[0].folds
    assert not split_subsets([entry for n in range(9) for entry in of_machine(f"id_{n:02d}", normal=1)])[0].folds
    assert not split_subsets(of_machine("id_00", normal=0))[0].folds
