"""A listener that is killed at any moment leaves whole events, whole clips and the alerts of each change."""

import json
import subprocess
import sys
from pathlib import Path

import soundfile

from listener.clips import ClipWriter
from listener.event_keeper import EventKeeper
from listener.event_time import to_seconds
from listener.events import Event
from listener.options import ListenerOptions
from listener.store import EventStore
from tests.unit.judged_clips import no_alerts

ROOT = Path(__file__).parents[2]
KILLS = 30


def test_kills_leave_no_open_event(tmp_path: Path) -> None:
    """After the next start: one begin and one end of each event, one alert for each, and clips that can be read."""
    command = [sys.executable, "-m", "tests.unit.killed_listener", str(tmp_path), str(KILLS)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    with EventStore(tmp_path, create=True) as store:
        assert len(store.active()) <= 3, "more than one active event of a machine"
        writer = ClipWriter(ListenerOptions(tmp_path, clips_min_free_bytes=0), store, no_alerts)
        EventKeeper(ListenerOptions(tmp_path), store, no_alerts, writer).tick()
        writer.stop()
        assert store.active() == []
        events = store.page(most=1000).events
        assert len(events) > KILLS
        for event in events:
            check(store, tmp_path, event)
        interrupted = [event for event in events if event.state == "interrupted"]
        assert len(interrupted) > KILLS / 3, "the kills met no event under way"
        assert sum(event.clip is not None for event in events) > KILLS / 3


def check(store: EventStore, home: Path, event: Event) -> None:
    """One event is whole."""
    changes = [change for change, _ in store.changes_of(event.id)]
    assert changes[0] == "began"
    assert changes.count("began") == 1
    assert [change for change in changes if change in ("ended", "interrupted")] == [event.state]
    assert event.ended is not None
    assert to_seconds(event.began) <= to_seconds(event.ended)
    rows = store.query("SELECT change, content FROM alerts WHERE event = ?", (event.id,))
    expected = [change for change in changes if change not in ("updated", "clip")]
    # The listener of this test, which has no sinks, has interrupted the last ones.
    assert [row["change"] for row in rows] in (expected, expected[:-1])
    assert all(json.loads(row["content"])["id"] == event.id for row in rows)
    if event.clip is None:
        assert event.missing_clip in ("no_sound", "disk_full")
    else:
        found = soundfile.info(home / "listener" / "clips" / event.clip.file)
        assert found.duration == event.clip.duration_s
