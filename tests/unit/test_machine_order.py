"""Recordings that arrive late, in another order or again: the record is that of an arrival in order, each once."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ml.machines.health import Health
from ml.machines.ledger import Ledger
from ml.machines.limits import OBSERVATIONS_KEPT
from ml.machines.observation import KeyedRequest, Observation
from ml.machines.recording_time import parse_recorded_at
from ml.system.idempotency import digest_of
from tests.unit.ledgers import FILE, SEEN, observation, record

START = datetime(2026, 11, 20, tzinfo=UTC)
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(seconds: float, start: datetime = START) -> str:
    """A time, seconds after the start."""
    return (start + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def recorded(seconds: float, verdict: str = ".", version: str = "fan-1", score: float = 0.2) -> Observation:
    """A verdict whose recording has a known time."""
    return replace(observation(verdict, version=version, score=score), recorded_at=at(seconds), time_from="request")


def uploaded(seconds: float, content: bytes = b"a", key: str | None = None, verdict: str = ".") -> Observation:
    """An upload of these bytes, answered at a time."""
    digest = digest_of(content)
    request = None if key is None else KeyedRequest(key, digest)
    answered = at(seconds, NOW)
    return replace(observation(verdict), at=answered, recorded_at=answered, digest=digest, request=request)


def health_of(home: Path, arrivals: Sequence[Observation], at_once: int = 1) -> Health:
    """The health of a machine after these arrivals, recorded some at a time."""
    with Ledger(home, create=True) as ledger:
        for start in range(0, len(arrivals), at_once):
            ledger.record(arrivals[start : start + at_once])
        return ledger.health("fan-3", latest=OBSERVATIONS_KEPT)


def facts(health: Health) -> list[object]:
    """What must not depend on the order of arrival: all but the ids of alarms and the times of answers."""
    alarms = [replace(alarm, id=0) for alarm in health.alarms]
    latest = [(each.recorded_at, each.verdict, each.score) for each in health.latest]
    counts = [(each.version, each.observations, each.kept, each.drift) for each in health.versions]
    return [health.summary.state, alarms, latest, sorted(counts, key=repr), health.summary.drift, health.every_s]


@pytest.mark.parametrize("text", ["2026-11-28T14:30:00Z", "2026-11-28t14:30:00z", "2026-11-28 15:30:00 +0100"])
def test_a_stated_time_has_several_forms(text: str) -> None:
    """RFC 3339 allows small letters, and a plus sign of a URL can arrive as a space."""
    assert parse_recorded_at(text, datetime(2026, 11, 28, 15, tzinfo=UTC)) == "2026-11-28T14:30:00.000+00:00"


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_arrival_gives_the_same_record(tmp_path: Path, seed: int) -> None:
    """Alarms, histories, drift and rhythm go by the times of the recordings, one by one or several at once."""
    chance = random.Random(seed)
    # Runs of verdicts, so that alarms are raised and cleared.
    verdicts = "".join(chance.choice("...!!!?") * chance.randint(1, 6) for _ in range(40))
    times = [60 * number // (1 + seed % 2) for number in range(len(verdicts))]
    in_order = [
        recorded(time, verdict, f"fan-{number % 2 if seed % 3 else 1}", score=number / 1000)
        for number, (time, verdict) in enumerate(zip(times, verdicts, strict=True))
    ]
    shuffled = sorted(in_order, key=lambda each: (each.recorded_at, chance.random() * 600 + 1))
    chance.shuffle(shuffled)
    expected = health_of(tmp_path / "in-order", in_order)
    found = health_of(tmp_path / "shuffled", shuffled, at_once=1 + seed % 5)
    assert facts(found) == facts(expected)
    assert len(expected.alarms) > 1


def test_a_late_recording_shifts_the_alarm_and_keeps_its_acknowledgement(tmp_path: Path) -> None:
    """The third anomalous verdict arrives last, but belongs before the acknowledged alarm."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([recorded(time, "!") for time in (0, 120, 180)])
        (first,) = ledger.health("fan-3", 0).alarms
        assert first.raised_at == at(180)
        ledger.acknowledge("fan-3", SEEN)
        ledger.record([recorded(60, "!")])
        (alarm,) = ledger.health("fan-3", 0).alarms
    assert (alarm.id, alarm.raised_at, alarm.acknowledged) == (first.id, at(120), SEEN)


def test_an_alarm_that_late_recordings_refute_is_cleared(tmp_path: Path) -> None:
    """Nobody acknowledged the first one: it is gone. The acknowledged one stays in the history."""
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([recorded(time, "!") for time in (0, 100, 200)])
        ledger.record([recorded(time) for time in (10, 20, 110, 120)])
        found = ledger.health("fan-3", 0)
        assert (found.summary.state, found.alarms) == ("normal", ())
        ledger.record([recorded(time, "!") for time in (300, 310)])
        ledger.acknowledge("fan-3", SEEN)
        ledger.record([recorded(time) for time in (205, 206, 301, 302, 303)])
        found = ledger.health("fan-3", 0)
    (alarm,) = found.alarms
    assert found.summary.state == "normal"
    assert (alarm.acknowledged, alarm.cleared_at is not None) == (SEEN, True)


def test_old_recordings_do_not_count_as_new_ones(tmp_path: Path) -> None:
    """A batch of old faults raises its alarm in the past, and the machine of today stays normal."""
    found = health_of(tmp_path, [recorded(3600 + n) for n in range(6)] + [recorded(n, "!") for n in range(5)])
    assert (found.summary.state, found.summary.anomalous) == ("normal", 0)
    (alarm,) = found.alarms
    assert (alarm.raised_at, alarm.cleared_at) == (at(2), at(3603))


def test_a_recording_older_than_all_that_is_kept_is_counted_only(tmp_path: Path) -> None:
    """Between the first hundred and the last nine hundred, nothing is kept, and no alarm changes."""
    in_order = [recorded(number, ".!"[number % 2], score=number / 4000) for number in range(1500)]
    before = health_of(tmp_path, in_order, at_once=400)
    after = health_of(tmp_path, [recorded(300.5, "!")])
    assert (after.versions[0].observations, after.versions[0].kept) == (1501, OBSERVATIONS_KEPT)
    assert (after.latest, after.alarms, after.summary.drift) == (before.latest, before.alarms, before.summary.drift)


def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path) -> None:
    """Without a known time, the order of arrival counts, as before."""
    answered = [replace(observation(verdict), at=at(-n), recorded_at=at(-n)) for n, verdict in enumerate("....!!!")]
    found = health_of(tmp_path, answered)
    assert (found.summary.state, found.latest[0].verdict, found.latest[0].at) == ("alarm", "anomalous", at(-6))


def test_a_retry_counts_once(tmp_path: Path) -> None:
    """Three times the same bytes raise no alarm; other bytes and other machines count."""
    retries = [uploaded(second, b"a", verdict="!") for second in (0, 5, 500)]
    found = health_of(tmp_path, [*retries, uploaded(501, b"b", verdict="!"), uploaded(502, b"b", verdict="!")])
    assert (found.summary.state, found.summary.n_verdicts) == ("normal", 2)
    assert [each.repeats for each in found.latest] == [1, 2]
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([replace(uploaded(503, b"a"), machine_id="fan-4")])
        assert ledger.health("fan-4", 1).summary.n_verdicts == 1


def test_a_retry_after_hours_needs_the_key_of_its_request(tmp_path: Path) -> None:
    """With the key it counts once within a day, and it is no sign of an old file; without it, it counts again."""
    keyed = [uploaded(hours * 3600, key="k", verdict="!") for hours in (0, 1, 2, 23)]
    found = health_of(tmp_path / "keyed", keyed)
    assert (found.summary.n_verdicts, found.summary.identical) == (1, 1)
    found = health_of(tmp_path / "keyed", [uploaded(25 * 3600, key="k", verdict="!")])
    assert found.summary.n_verdicts == 2
    assert health_of(tmp_path / "plain", [uploaded(0), uploaded(3600)]).summary.n_verdicts == 2


def test_a_retry_is_found_under_either_name_of_a_machine(tmp_path: Path) -> None:
    """The first upload was recorded under the short name."""
    first = replace(uploaded(0), machine_id="id_00")
    second = replace(uploaded(5), machine_id="fan/id_00", other_name="id_00")
    with Ledger(tmp_path, create=True) as ledger:
        ledger.record([first])
        repeat = ledger.find_repeat(second)
        assert repeat is not None
        assert repeat.at == first.at
        ledger.record([second])
        assert ledger.health("fan/id_00", 9).summary.n_verdicts == 1


def test_the_same_bytes_of_a_known_time_count_once_for_ever(tmp_path: Path) -> None:
    """A recorder that stores its files sends them again after days."""
    first = replace(uploaded(0), recorded_at=at(0), time_from="file")
    later = replace(uploaded(5 * 24 * 3600), recorded_at=at(0), time_from="file")
    assert health_of(tmp_path, [first, later]).summary.n_verdicts == 1


@pytest.mark.parametrize("source", ["arrival", "file"])
def test_a_recorder_that_sends_one_file_for_ever_is_noticed(tmp_path: Path, source: str) -> None:
    """Its state is ``unheard``, with or without a time in the file; the next real recording ends it."""
    stuck = [uploaded(1800 * number) for number in range(4)]
    if source == "file":
        stuck = [replace(each, recorded_at=at(0), time_from="file") for each in stuck]
    found = health_of(tmp_path, stuck)
    assert (found.summary.state, found.summary.identical) == ("unheard", 4)
    found = health_of(tmp_path, [uploaded(7200, b"new")])
    assert (found.summary.state, found.summary.identical) == ("normal", 1)


def test_a_key_is_kept_with_its_request_for_a_day(tmp_path: Path) -> None:
    """Its request is found until then."""
    with Ledger(tmp_path, create=True) as ledger:
        assert ledger.find_request("k") is None
        ledger.remember_request(KeyedRequest("k", "request"))
        ledger.remember_request(KeyedRequest("k", "another"))
        assert ledger.find_request("k") == "request"
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        db.execute("UPDATE requests SET at = ?", (at(0),))
    with Ledger(tmp_path) as ledger:
        assert ledger.find_request("k") is None


def test_a_removed_machine_leaves_nothing(tmp_path: Path) -> None:
    """Verdicts and alarms go with it; other machines stay."""
    record(tmp_path, "!!!")
    record(tmp_path, ".", "other")
    with Ledger(tmp_path) as ledger:
        ledger.remove("fan-3")
        assert list(ledger.states()) == ["other"]
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        assert db.execute("SELECT count(*) FROM alarms").fetchone() == (0,)
        assert db.execute("SELECT DISTINCT machine_id FROM observations").fetchall() == [("other",)]


FORMAT_1 = """
CREATE TABLE machines (machine_id TEXT PRIMARY KEY, heard_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE observations (id INTEGER PRIMARY KEY, machine_id TEXT NOT NULL REFERENCES machines ON DELETE CASCADE,
    version TEXT NOT NULL, number INTEGER, at TEXT NOT NULL, threshold_revision INTEGER NOT NULL, score REAL NOT NULL,
    threshold REAL NOT NULL, verdict TEXT NOT NULL, label TEXT NOT NULL);
CREATE INDEX observations_of_machine ON observations (machine_id, id);
CREATE INDEX judged_of_machine ON observations (machine_id, id) WHERE number IS NOT NULL;
CREATE UNIQUE INDEX observations_of_version ON observations (machine_id, version, number);
CREATE TABLE alarms (id INTEGER PRIMARY KEY AUTOINCREMENT, machine_id TEXT NOT NULL REFERENCES machines ON DELETE
    CASCADE, raised_at TEXT NOT NULL, version TEXT NOT NULL, anomalous INTEGER NOT NULL, of INTEGER NOT NULL,
    acknowledged_at TEXT, acknowledged_by TEXT, acknowledged_key TEXT, note TEXT, cleared_at TEXT);
CREATE INDEX alarms_of_machine ON alarms (machine_id, id);
CREATE UNIQUE INDEX one_lasting_alarm ON alarms (machine_id) WHERE cleared_at IS NULL;
PRAGMA user_version = 1;
"""


@pytest.mark.parametrize("read_first", [True, False])
def test_a_record_of_the_first_format_is_continued(tmp_path: Path, read_first: bool) -> None:
    """Verdicts keep their order though the clock was set back; the alarm goes on, and can clear."""
    (tmp_path / FILE).parent.mkdir()
    times = [at(0), at(60), at(30), at(90)]
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        db.executescript(FORMAT_1)
        db.execute("INSERT INTO machines VALUES ('fan-3', ?)", (times[-1],))
        for number, (time, verdict) in enumerate(zip(times, ("normal", *["anomalous"] * 3), strict=True), 1):
            facts = (number, "fan-3", "fan-1", number, time, 1, number / 10, 0.5, verdict, "normal")
            db.execute(f"INSERT INTO observations VALUES ({', '.join('?' * 10)})", facts)
        db.execute(
            "INSERT INTO alarms (machine_id, raised_at, version, anomalous, of) VALUES ('fan-3', ?, 'fan-1', 3, 4)",
            (times[-1],),
        )
    if read_first:
        with Ledger(tmp_path) as ledger:
            assert ledger.states() == {"fan-3": "alarm"}
    record(tmp_path, "....")
    with Ledger(tmp_path) as ledger:
        found = ledger.health("fan-3", latest=9)
    assert [each.at for each in found.latest][:3:-1] == times
    assert (found.summary.state, found.versions[0].observations) == ("normal", 8)
    (alarm,) = found.alarms
    assert (alarm.raised_at, alarm.cleared_at) == (times[-1], found.latest[0].recorded_at)
