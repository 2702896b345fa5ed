"""Sessions from times in file names, and from times of files that can be those of the recordings."""

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.dataset.annotations import Annotation
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.indexing.listing import ListedRecording
from ml.dataset.indexing.sessions import assign_sessions
from ml.dataset.indexing.times import FileTime, are_recording_times, cut_at_gaps, time_in_name
from ml.dataset.summary import session_summaries
from tests.unit.datasets import write

NOON_S = datetime(2024, 3, 5, 12, 0, tzinfo=UTC).timestamp()
HOUR_S, DAY_S = 3600, 86_400


def sessions(dataset: Dataset) -> dict[str, int]:
    """How many recordings each session has."""
    return dict(Counter(entry.session for entry in dataset.entries))


def origins(dataset: Dataset) -> set[str]:
    """Where the sessions come from."""
    return {facts.origin for facts in dataset.session_facts.values()}


def visits(days: int = 3, count: int = 4, every_s: float = 600.0) -> list[float]:
    """Times of several recordings on each of several days."""
    return [NOON_S + day * DAY_S + number * every_s for day in range(days) for number in range(count)]


def stamped(folder: Path, times_s: list[float]) -> Path:
    """Recordings without a time in their names, whose files have these times."""
    names = [f"{number:04}.wav" for number in range(len(times_s))]
    write(folder, *names)
    for name, time_s in zip(names, times_s, strict=True):
        os.utime(folder / name, (time_s, time_s))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *("2024-03-05_14-30-00.wav", "20240305T143000.wav", "fan_20240305_143000_0007.wav", "2024.03.05 14.30.00.flac"),
        *("normal/rec-2024-03-05T14-30.wav", "20240305-14h30.wav", "mic2_1709649000.wav", "1709649000123.wav"),
    ],
)
def test_times_are_read_from_names(name: str) -> None:
    """Dates with and without separators, Unix seconds and milliseconds."""
    assert time_in_name(name) == datetime(2024, 3, 5, 14, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("name", ["2024-03-05.wav", "2024-03-05_0001.wav", "20240305_17.wav"])
def test_a_date_alone_is_midnight(name: str) -> None:
    """A counter of a few digits is no time of day."""
    assert time_in_name(name) == datetime(2024, 3, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "name", ["00000012.wav", "a.wav", "20241305.wav", "20240231_120000.wav", "19990101.wav", "0000000001.wav", "12.wav"]
)
def test_counters_and_impossible_dates_are_no_times(name: str) -> None:
    """Nothing is read from them."""
    assert time_in_name(name) is None


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=30), st.randoms())
def test_gaps_do_not_depend_on_the_order(times_s: list[float], random: object) -> None:
    """Each time keeps its session, and sessions are numbered in the order of time."""
    numbers = dict(zip(times_s, cut_at_gaps(times_s), strict=True))
    ordered = sorted(times_s)
    assert [numbers[time_s] for time_s in ordered] == cut_at_gaps(ordered)
    assert cut_at_gaps(ordered) == sorted(cut_at_gaps(ordered))
    assert set(numbers.values()) == set(range(max(numbers.values()) + 1))


@pytest.mark.parametrize(
    ("distances_s", "expected"),
    [
        ([60, 60, 1801, 60, 60], 2),
        ([60, 60, 1799, 60, 60], 1),
        ([HOUR_S, HOUR_S, 9 * HOUR_S, HOUR_S], 1),
        ([HOUR_S, HOUR_S, 11 * HOUR_S, HOUR_S], 2),
        ([DAY_S], 1),
        ([], 1),
    ],
)
def test_a_gap_is_long_and_far_longer_than_usual(distances_s: list[float], expected: int) -> None:
    """More than 30 minutes, and more than ten times the median distance."""
    times_s = [0.0]
    for distance_s in distances_s:
        times_s.append(times_s[-1] + distance_s)
    assert max(cut_at_gaps(times_s)) + 1 == expected


def test_sessions_are_found_in_the_times_of_names(tmp_path: Path) -> None:
    """Named after their start; normal and abnormal recordings of one time are of one session."""
    write(
        tmp_path,
        *(f"normal/2024-03-0{day}_14-{minute}-00.wav" for day in (5, 6) for minute in (10, 20, 30)),
        *(f"abnormal/2024-03-0{day}_14-{minute}-00.wav" for day in (6, 7) for minute in (15, 25)),
    )
    dataset = index(tmp_path)
    assert sessions(dataset) == {"2024-03-06 14:10": 5, "2024-03-07 14:15": 2, "2024-03-05 14:10": 3}
    assert origins(dataset) == {"times in names"}
    found = {each["group"]: each for each in session_summaries(dataset)}["2024-03-06 14:10"]
    assert (found["first"], found["last"]) == ("2024-03-06 14:10", "2024-03-06 14:30")
    assert (found["normal"], found["abnormal"], found["machines"]) == (3, 2, {"": 5})


def test_machines_of_a_manifest_have_sessions_of_their_own(tmp_path: Path) -> None:
    """In the scope of each machine; a given session stays."""
    names = [f"{m}-20240305T{hour:02}{minute}00.wav" for m in "ab" for hour in (8, 16) for minute in (10, 15, 20)]
    write(tmp_path, *names, "c.wav")
    rows = [f"{name},normal,fan,{name[0]}," for name in names]
    (tmp_path / "manifest.csv").write_text(
        "\n".join(["path,label,machine,machine_id,group", *rows, "c.wav,normal,,,mine"])
    )
    dataset = index(tmp_path)
    assert sessions(dataset) == {
        **{f"fan/{m}/2024-03-05 {hour}:10": 3 for m in "ab" for hour in ("08", "16")},
        "mine": 1,
    }
    assert dataset.session_facts["mine"].origin == "given"
    assert dataset.session_facts["fan/a/2024-03-05 08:10"].origin == "times in names"


def test_beginnings_of_names_come_before_times(tmp_path: Path) -> None:
    """Datasets whose sessions were found before keep them."""
    write(tmp_path, *(f"normal/{day}_2024030{day[1]}_1200{n}0.wav" for day in ("N1", "N2") for n in range(3)))
    dataset = index(tmp_path)
    assert sessions(dataset) == {"N1": 3, "N2": 3}
    assert origins(dataset) == {"file names"}
    assert dataset.session_facts["N1"].first == "2024-03-01 12:00"


def named(name: str, day: int, hour: int = 8) -> list[str]:
    """Three recordings of one visit."""
    return [f"{name}_2024030{day}_{hour:02}{minute}00.wav" for minute in (10, 12, 14)]


def test_days_of_one_name_are_sessions(tmp_path: Path) -> None:
    """``fan1`` of Friday and ``fan1`` of Saturday are not recorded one after the other."""
    names = [each for fan in ("fan1", "fan2") for day in (1, 2, 3, 4) for each in named(fan, day)]
    dataset = index(write(tmp_path, *names))
    assert sessions(dataset) == {f"fan{fan}/2024-03-0{day} 08:10": 3 for fan in (1, 2) for day in (1, 2, 3, 4)}
    assert origins(dataset) == {"times in names"}


def test_a_label_at_the_beginning_of_names_is_no_session(tmp_path: Path) -> None:
    """Normal and abnormal recordings of one day are of one session."""
    names = [f"{label}/{each}" for label in ("normal", "abnormal") for day in (1, 2) for each in named(label, day)]
    assert sessions(index(write(tmp_path, *names))) == {"2024-03-01 08:10": 6, "2024-03-02 08:10": 6}


def test_a_pause_of_a_named_session_is_no_gap(tmp_path: Path) -> None:
    """A name with a gap is cut, and the others stay; three hours are a pause."""
    names = [*named("N1", 1), *named("N1", 1, 11), *named("N2", 1), *named("N2", 2)]
    found = sessions(index(write(tmp_path, *names)))
    assert found == {"N1": 6, "N2/2024-03-01 08:10": 3, "N2/2024-03-02 08:10": 3}
    assert sessions(index(write(tmp_path, "N1_again.wav"))) == {"N1": 6, "N2": 6, "N1_again": 1}


def test_one_name_without_a_time_leaves_all_as_they_are(tmp_path: Path) -> None:
    """A part of the recordings would be in no session."""
    names = [f"normal/2024-03-0{day}_12-{minute}.wav" for day in (5, 6) for minute in (10, 20, 30)]
    dataset = index(write(tmp_path, *names, "normal/again.wav"))
    assert sessions(dataset) == {"normal": 7}
    assert origins(dataset) == {"none"}


def test_sessions_are_found_in_the_times_of_files(tmp_path: Path) -> None:
    """If the times can be those of the recordings; three visits on three days."""
    dataset = index(stamped(tmp_path, visits()))
    assert sessions(dataset) == {"2024-03-05 12:00": 4, "2024-03-06 12:00": 4, "2024-03-07 12:00": 4}
    assert origins(dataset) == {"file times"}
    assert dataset.session_facts["2024-03-05 12:00"].last == "2024-03-05 12:30"


@pytest.mark.parametrize(
    "times_s",
    [
        pytest.param([NOON_S] * 12, id="one date for all"),
        pytest.param(visits(every_s=0.1), id="copied on three days"),
        pytest.param([time_s - 40 * 366 * DAY_S for time_s in visits()], id="a clock that was never set"),
        pytest.param([NOON_S + n * 600 for _ in range(3) for n in range(4)], id="a clock that starts again"),
        pytest.param(visits()[::-1], id="copied backwards"),
        pytest.param(visits(days=1, count=12), id="one visit"),
        pytest.param([NOON_S + n * DAY_S for n in range(12)], id="one recording a day"),
    ],
)
def test_other_file_times_tell_nothing(tmp_path: Path, times_s: list[float]) -> None:
    """All recordings stay in one session, as before."""
    dataset = index(stamped(tmp_path, times_s))
    assert sessions(dataset) == {"normal": 12}
    assert origins(dataset) == {"none"}


def test_recordings_of_several_folders_have_an_order_each(tmp_path: Path) -> None:
    """Faulty recordings are later than normal ones, though their folder comes first."""
    stamped(tmp_path / "normal", visits(days=2))
    stamped(tmp_path / "abnormal", [time_s + 3 * DAY_S for time_s in visits(days=1)])
    assert sessions(index(tmp_path)) == {"2024-03-08 12:00": 4, "2024-03-05 12:00": 4, "2024-03-06 12:00": 4}


def test_an_unreadable_file_hides_no_session(tmp_path: Path) -> None:
    """It is refused as before."""
    stamped(tmp_path, visits())
    (tmp_path / "0005.wav").write_bytes(b"RIFF")
    os.utime(tmp_path / "0005.wav", (visits()[5],) * 2)
    dataset = index(tmp_path)
    assert list(sessions(dataset).values()) == [4, 3, 4]
    assert len(dataset.refusals) == 1


def test_a_file_without_a_time_leaves_all_as_they_are() -> None:
    """Such as one that was removed meanwhile."""
    listed = [ListedRecording(path=f"{n}.wav", annotation=Annotation("normal")) for n in range(12)]
    times = dict(zip(listed, visits(), strict=True))
    found = assign_sessions(listed, lambda each: FileTime(times[each], 10.0))
    assert len({each.annotation.session for each in found}) == 3
    del times[listed[7]]
    found = assign_sessions(listed, lambda each: FileTime(times[each], 10.0) if each in times else None)
    assert {(each.annotation.session, each.session_origin) for each in found} == {("normal", "none")}


def test_a_single_file_of_a_folder_has_a_possible_time() -> None:
    """If its clock was set."""
    assert are_recording_times([FileTime(NOON_S, 10.0)])
    assert not are_recording_times([FileTime(1.0, 10.0)])
