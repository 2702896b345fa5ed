"""Splits: no recording is known from another side, for any dataset, and a leak is named."""

import random
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from ml.dataset.entries import Dataset, Entry
from ml.dataset.indexing.build import index
from ml.dataset.indexing.listing import natural_key
from ml.dataset.levels import auc
from ml.dataset.splitting.blocks import block_sizes
from ml.dataset.splitting.leaks import check_leakage
from ml.dataset.splitting.methods import split
from ml.dataset.splitting.sides import Split
from ml.errors import InvalidParameter, LeakingSplit, SplitImpossible, TooFewRecordings
from tests.unit.datasets import changed, dataset, entry, session

METHODS = ("auto", "group", "blocks", "machine")


def by_side(result: Split) -> dict[str, list[Entry]]:
    """The recordings of each side."""
    found = defaultdict(list)
    for side, each in result.sides():
        found[side].append(each)
    return dict(found)


def counted(result: Split, what: str) -> dict[str, Counter[str]]:
    """How many recordings of each session, label ... each side has."""
    return {side: Counter(e.to_dict()[what] for e in entries) for side, entries in by_side(result).items()}


def fans(ids: int = 3, snrs: tuple[float, ...] = (0.0,), count: int = 12) -> list[Entry]:
    """Recordings as in MIMII: one session per machine id, with both labels, at each SNR."""
    return [
        recording
        for number in range(ids)
        for snr in snrs
        for label in ("normal", "abnormal")
        for recording in session(
            f"fan/id_{number:02}", count, label, machine="fan", machine_id=f"id_{number:02}", snr_db=snr
        )
    ]


def days(normal: int = 4, abnormal: int = 4, count: int = 10) -> list[Entry]:
    """Sessions with one label each."""
    return [e for n in range(normal) for e in session(f"N{n}", count)] + [
        e for n in range(abnormal) for e in session(f"A{n}", count, "abnormal", fault="imbalance" if n % 2 else "clog")
    ]


# Few names of each kind, so that random datasets have possible leaks: shared sessions, copies, several SNRs.
ENTRIES = st.lists(
    st.builds(
        lambda number, label, group, machine_id, snr, fault, sound: entry(
            f"{number}.wav",
            label,
            group,
            machine="fan" if machine_id else None,
            machine_id=machine_id,
            snr_db=snr,
            fault=fault if label == "abnormal" else None,
            audio_hash=f"sound {sound}",
        ),
        st.integers(0, 10_000),
        st.sampled_from(["normal", "abnormal"]),
        st.sampled_from(["a", "b", "c", "d", "e", "f"]),
        st.sampled_from([None, "id_00", "id_02", "id_04"]),
        st.sampled_from([None, 0.0, 6.0]),
        st.sampled_from([None, "clogging"]),
        st.integers(0, 10_000),
    ),
    min_size=1,
    max_size=80,
    unique_by=lambda e: e.path,
)


@st.composite
def structured(draw: st.DrawFn) -> list[Entry]:
    """Sessions of several recordings, of machines at one or several SNRs, with some copies."""
    entries: list[Entry] = []
    for number in range(draw(st.integers(1, 7))):
        machine_id = draw(st.sampled_from([None, "id_00", "id_02", "id_04"]))
        group = draw(st.sampled_from([f"s{number}", f"fan/{machine_id}"]))
        kinds = draw(st.sampled_from([("normal",), ("abnormal",), ("normal", "abnormal")]))
        for snr in draw(st.sampled_from([(0.0,), (0.0,), (0.0, 6.0), (6.0,)])) if machine_id else (None,):
            for label in kinds:
                for n in range(draw(st.integers(1, 12))):
                    path = f"{number}/{snr}/{label}/{n}.wav"
                    facts = {"machine": "fan", "machine_id": machine_id, "snr_db": snr}
                    entries.append(entry(path, label, group, **facts))
    for _ in range(draw(st.integers(0, 3))):
        one, other = (draw(st.integers(0, len(entries) - 1)) for _ in range(2))
        entries[one] = changed(entries[one], audio_hash=entries[other].audio_hash)
    return entries


def find_leak(result: Split) -> str | None:
    """Find a leak by comparing all pairs of recordings, independently of the product."""
    placed = list(result.sides())
    snrs_of_group = defaultdict(set)
    for _, e in placed:
        snrs_of_group[e.annotation.machine, e.annotation.machine_id, e.session].add(e.annotation.snr_db)
    for number, (side, one) in enumerate(placed):
        for other_side, other in placed[number + 1 :]:
            if side == other_side:
                continue
            if one.path == other.path or one.audio_hash == other.audio_hash:
                return f"{one.path} is {other.path}"
            if result.method != "blocks" and one.session == other.session and "test" in (side, other_side):
                return f"session {one.session}"
            same = one.annotation.machine_id is not None and (one.annotation.machine, one.annotation.machine_id) == (
                other.annotation.machine,
                other.annotation.machine_id,
            )
            groups = [snrs_of_group[e.annotation.machine, e.annotation.machine_id, e.session] for e in (one, other)]
            if (
                same
                and one.annotation.snr_db != other.annotation.snr_db
                and (one.session == other.session or groups[0] != groups[1])
            ):
                return f"{one.path} and {other.path} at another SNR"
    return None


@settings(max_examples=300)
@given(st.one_of(ENTRIES, structured()), st.sampled_from(METHODS), st.integers(0, 3), st.booleans(), st.integers(1, 3))
def test_no_split_of_any_dataset_leaks(entries: list[Entry], method: str, seed: int, explicit: bool, gap: int) -> None:
    """Every recording is in exactly one place, nothing leaks, and the order of the recordings does not matter."""
    try:
        result = split(dataset(entries, explicit_sessions=explicit), method=method, seed=seed, gap=gap)  # type: ignore[arg-type]  # drawn
    except (SplitImpossible, TooFewRecordings) as refused:
        event(type(refused).__name__)
        return
    event(f"split by {result.method}")
    placed = [e for _, e in result.sides()] + [e for e, _ in result.left_out]
    assert sorted(e.path for e in placed) == sorted(e.path for e in entries)
    assert find_leak(result) is None
    shuffled = random.Random(seed).sample(entries, len(entries))
    assert split(dataset(shuffled, explicit_sessions=explicit), method=method, seed=seed, gap=gap) == result  # type: ignore[arg-type]  # drawn


@pytest.mark.parametrize("entries", [fans(), fans(snrs=(0.0, 6.0)), days(), days(2, 2), days(4, 2), fans(12, count=30)])
def test_each_side_has_both_classes_and_about_its_share(entries: list[Entry]) -> None:
    """This holds for every method that auto chooses."""
    result = split(dataset(entries))
    assert {side: set(labels) for side, labels in counted(result, "label").items()} == {
        side: {"normal", "abnormal"} for side in ("train", "validation", "test")
    }
    kept = len(entries) - len(result.left_out)
    assert 0.1 <= len(result.test) / kept <= 0.55
    assert 0.05 <= len(result.validation) / kept <= 0.4


def test_sessions_are_held_out_whole() -> None:
    """With three or more sessions per class, none is on two sides, each fault is on each side, and another seed
    gives another split."""
    entries = [e for n in range(9) for e in session(f"N{n}", 5)] + [
        e for n in range(12) for e in session(f"A{n}", 5, "abnormal", fault=("clog", "imbalance", "voltage")[n % 3])
    ]
    seen = set()
    for seed in range(5):
        result = split(dataset(entries), seed=seed)
        groups = counted(result, "group")
        assert result.method == "group"
        assert not result.left_out
        assert len(set().union(*groups.values())) == sum(map(len, groups.values())) == 21
        assert all(
            set(faults) == {None, "clog", "imbalance", "voltage"} for faults in counted(result, "fault").values()
        )
        assert 0.15 <= len(result.test) / len(entries) <= 0.25
        seen.add(tuple(groups["test"]))
    assert len(seen) > 1


def test_with_two_sessions_of_a_class_one_is_tested() -> None:
    """Its validation recordings are a block of the other session, after a gap."""
    result = split(dataset(days(4, 2, count=20)))
    groups = counted(result, "group")
    tested = [group for group in groups["test"] if group.startswith("A")]
    trained = [group for group in groups["train"] if group.startswith("A")]
    assert (len(tested), len(trained)) == (1, 1)
    assert groups["test"][tested[0]] == 20
    assert groups["validation"][trained[0]] >= 2
    assert [reason for e, reason in result.left_out if e.session == trained[0]] == [
        "Gap recording: it was recorded between two sides."
    ]


def test_blocks_are_contiguous_with_gaps_between() -> None:
    """Each session of each label is train | gap | validation | gap | test, or the reverse."""
    entries = fans(count=40)
    result = split(dataset(entries), gap=2)
    assert result.method == "blocks"
    sides = {e.path: side for side, e in result.sides()}
    orders = set()
    for group in ("fan/id_00", "fan/id_01", "fan/id_02"):
        for label in ("normal", "abnormal"):
            row = [
                sides.get(e.path, "gap")
                for e in sorted(entries, key=lambda e: natural_key(e.path))
                if (e.session, e.label) == (group, label)
            ]
            order = [row[0]] + [side for before, side in pairwise(row) if side != before]
            orders.add(tuple(order))
            assert order[:: 1 if order[0] == "train" else -1] == ["train", "gap", "validation", "gap", "test"]
            assert Counter(row) == {"train": 24, "gap": 4, "validation": 5, "test": 7}
    assert len(orders) == 2


@pytest.mark.parametrize("count", range(60))
@pytest.mark.parametrize("gap", [1, 3])
def test_block_sizes_of_small_sessions(count: int, gap: int) -> None:
    """Sizes add up, training is never empty, and no two sides touch."""
    pieces = block_sizes(count, {"validation": 0.15, "test": 0.2}, gap)
    assert sum(length for _, length in pieces) == count
    assert {side for side, _ in pieces} - {None} == (
        {"train"} if count < 3 else {"train", "test"} if count < 5 else {"train", "validation", "test"}
    )
    assert all(length >= 1 for _, length in pieces) or count == 0
    assert not any(one and other for (one, _), (other, _) in pairwise(pieces))


def test_sessions_too_small_for_both_share_the_held_out_sides() -> None:
    """Of ids with three recordings of a class, some are tested and some are for validation."""
    labels = counted(split(dataset(fans(6, count=3))), "label")
    assert all(set(of_side) == {"normal", "abnormal"} for of_side in labels.values())


def test_machine_ids_are_held_out_by_method() -> None:
    """At one SNR every id is on each side by default; by group, whole ids are; by machine, one id is held out."""
    data = dataset(fans())
    every = {"id_00", "id_01", "id_02"}
    assert all(set(ids) == every for ids in counted(split(data), "machine_id").values())
    assert all(len(ids) == 1 for ids in counted(split(data, method="group"), "machine_id").values())
    for name in ("id_01", "fan/id_01"):
        ids = counted(split(data, method="machine", held_out=name), "machine_id")
        assert (set(ids["test"]), set(ids["train"]), set(ids["validation"])) == (
            *({"id_01"}, every - {"id_01"}, every - {"id_01"}),
        )


def test_a_machine_that_cannot_be_cut_is_trained_on() -> None:
    """Beside a held-out machine, one at several SNRs stays whole, while the others give validation blocks."""
    entries = [e for e in fans() if e.annotation.machine_id != "id_01"]
    entries += [e for e in fans(snrs=(0.0, 6.0)) if e.annotation.machine_id == "id_01" and e.label == "normal"]
    ids = counted(split(dataset(entries), method="machine", held_out="id_00"), "machine_id")
    assert (ids["train"]["id_01"], set(ids["validation"]), set(ids["test"])) == (24, {"id_02"}, {"id_00"})


def test_versions_at_several_snrs_stay_together() -> None:
    """They do so with a session for each SNR too; blocks of them are refused, and two ids are too few."""
    several = fans(snrs=(-6.0, 6.0))
    apart = [changed(e, group=f"{e.annotation.snr_db:g}dB/{e.session}") for e in several]
    for entries in (several, apart):
        for explicit in (False, True):
            result = split(dataset(entries, explicit_sessions=explicit))
            assert result.method == "group"
            assert all(len(ids) == 1 for ids in counted(result, "machine_id").values())
        with pytest.raises(SplitImpossible, match=r"several SNRs.*--snr"):
            split(dataset(entries), method="blocks")
        with pytest.raises(
            SplitImpossible, match=r"a split needs 3 machines or sessions of each class; there are 2: .*--snr.*machine"
        ):
            split(dataset([e for e in entries if e.annotation.machine_id != "id_02"]))


def test_sessions_with_every_snr_can_be_on_different_sides() -> None:
    """Sessions of one machine with every SNR may be on two sides; versions of one recording may not."""
    entries = [
        recording
        for number in range(5)
        for snr in (-6.0, 0.0, 6.0)
        for label in ("normal", "abnormal")
        for recording in session(f"s{number}", 6, label, machine="fan", machine_id="id_00", snr_db=snr)
    ]
    groups = counted(split(dataset(entries, explicit_sessions=True)), "group")
    assert len(set().union(*groups.values())) == sum(map(len, groups.values())) == 5


def test_copies_are_left_out() -> None:
    """The first copy is kept; copies with different labels are all left out."""
    entries = days()
    entries[3] = changed(entries[3], audio_hash=entries[25].audio_hash)
    entries[50] = changed(entries[50], audio_hash=entries[12].audio_hash)
    result = split(dataset(entries))
    left_out = {e.path: reason for e, reason in result.left_out if "Gap recording" not in reason}
    assert left_out == {
        entries[25].path: f"The same samples as {entries[3].path}.",
        entries[12].path: left_out[entries[50].path],
        entries[50].path: f"The same samples are labelled {entries[50].annotation.fault} in {entries[50].path} "
        f"and normal in {entries[12].path}.",
    }


def test_normal_recordings_alone_can_be_split() -> None:
    """A detector learns from normal recordings only."""
    assert split(dataset(days(5, 0))).method == "group"
    assert split(dataset(session("all", 30))).method == "blocks"


@pytest.mark.parametrize(
    ("entries", "arguments", "error", "message"),
    [
        (session("a", 1), {}, TooFewRecordings, "of 1 different recordings.*validation side has none"),
        (
            session("a", 40) + session("b", 1, "abnormal"),
            {},
            TooFewRecordings,
            "no abnormal recording for the test side",
        ),
        (fans(1), {"method": "group"}, SplitImpossible, "two or more sessions of each class"),
        (fans(1), {"method": "machine"}, SplitImpossible, "two machine ids are needed; there are 1"),
        (fans(), {"method": "machine", "held_out": "id_09"}, SplitImpossible, "there are fan/id_00, fan/id_01"),
        (fans(), {"held_out": "id_00"}, InvalidParameter, "method machine"),
        (fans(), {"method": "random"}, InvalidParameter, "'random'; one of auto, group, blocks, machine"),
        (fans(), {"test_share": 0}, InvalidParameter, "test_share is 0"),
        (fans(), {"validation_share": float("nan")}, InvalidParameter, "validation_share is nan"),
        (fans(), {"test_share": 0.6, "validation_share": 0.4}, InvalidParameter, "at most 0.9"),
        (fans(), {"gap": 0}, InvalidParameter, "at least 1 recording"),
        (fans(), {"seed": -1}, InvalidParameter, "0 or more"),
    ],
)
def test_impossible_splits_are_refused(entries: list[Entry], arguments: dict, error: type, message: str) -> None:
    """The message has what was found and the remedy."""
    with pytest.raises(error, match=message):
        split(dataset(entries), **arguments)


def leaking_splits() -> dict[str, tuple[Split, str]]:
    """Splits with a leak, and a part of the refusal's message."""
    good = split(dataset(days()))
    (first, *train), validation, (tested, *test) = good.train, good.validation, good.test
    blocks = split(dataset(fans(1, count=40)))
    gaps = tuple(e for e, _ in blocks.left_out)
    several = split(dataset(fans(snrs=(0.0, 6.0))))
    at_other = next(e for e in several.test if e.annotation.snr_db == 6.0)
    return {
        "path": (replace(good, validation=(*validation, first)), first.path),
        "sound": (replace(good, train=(changed(first, audio_hash=tested.audio_hash), *train)), "same samples"),
        "group": (
            replace(good, train=(*good.train, tested), test=tuple(test)),
            f"Sessions must stay on one side: {tested.session} is on the train side",
        ),
        "neighbours": (replace(blocks, train=(*blocks.train, *gaps), left_out=()), "neighbours in session fan/id_00"),
        "snr": (
            replace(
                several,
                train=(*several.train, changed(at_other, group="x")),
                test=tuple(e for e in several.test if e is not at_other),
            ),
            f"fan {at_other.annotation.machine_id} is on the",
        ),
    }


@pytest.mark.parametrize("leak", ["path", "sound", "group", "neighbours", "snr"])
def test_a_leak_is_refused_by_name(leak: str) -> None:
    """A split from any source is checked."""
    result, message = leaking_splits()[leak]
    with pytest.raises(LeakingSplit) as refused:
        check_leakage(result)
    assert message in str(refused.value)


def test_splits_of_the_real_recordings(data: Path) -> None:
    """pc_fan and uav are split by session, MIMII by blocks of each id at one SNR and by id at several."""
    recordings = data / "recordings"
    pc_fan = split(index(recordings / "pc_fan"))
    groups = counted(pc_fan, "group")
    assert pc_fan.method == "group"
    assert not set(groups["test"]) & (set(groups["train"]) | set(groups["validation"]))
    assert set(map(len, (set(groups["test"]), set(groups["train"])))) <= {2, 3}
    uav = split(index(recordings / "uav_propeller"))
    assert uav.method == "group"
    assert all(len(faults) == 5 for side, faults in counted(uav, "fault").items() if side != "validation")
    one = split(index(recordings / "mimii" / "0_dB_fan"))
    assert one.method == "blocks"
    assert all({"id_00", "id_02"} <= set(ids) for ids in counted(one, "machine_id").values())
    several = split(index(recordings / "mimii"))
    groups = counted(several, "group")
    assert several.method == "group"
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 12


def split_in_every_way(source: Dataset) -> None:
    """Split with every method and some seeds; each split checks itself for leaks."""
    for method in METHODS:
        for seed in range(3):
            try:
                split(source, method=method, seed=seed)  # type: ignore[arg-type]  # drawn
            except (SplitImpossible, TooFewRecordings):
                continue


def test_no_real_split_leaks(data: Path) -> None:
    """All development datasets, methods and some seeds are tried."""
    for name in ("pc_fan", "uav_propeller", "mimii", "mimii/-6_dB_fan"):
        split_in_every_way(index(data / "recordings" / name))


def test_auc_of_level() -> None:
    """It equals a count of pairs with ties as half; with one class there is none."""
    normal, abnormal = [1.0, 2.0, 2.0, 5.0], [2.0, 3.0, 7.0]
    pairs = [(a > n) + (a == n) / 2 for a in abnormal for n in normal]
    assert auc(normal, abnormal) == pytest.approx(sum(pairs) / len(pairs))
    assert auc([], [1.0]) is None
