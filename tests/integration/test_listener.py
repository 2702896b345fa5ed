"""The listener as a process: from sound to an event, its clip and its alert; changed files; kills; a second one."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from listener.config.files import sink_file, source_file
from listener.events.store import EventStore
from listener.live.client import ListenerClient
from ml.errors import EntryNotFound, ListenerNotRunning
from ml.machines.ledger import Ledger
from testing.servers import environment, wait_until
from tests.integration.listeners import PROGRAM, ListenerProcess, PipeWriter, Receiver, running
from tests.unit import listening
from tests.unit.listening import faulty, healthy

SPEED = 10.0
CLIP_S = 3.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a detector of the fan."""
    listening.make_home(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def writer(home: Path, tmp_path: Path) -> Iterator[PipeWriter]:
    """A writer of sound for the source ``hall``."""
    made = PipeWriter(tmp_path / "pipe", SPEED)
    source_file(home).add(
        {"name": "hall", "kind": "pipe", "machine_id": "fan-3", "clip_s": CLIP_S, "path": str(tmp_path / "pipe")}
    )
    made.open()
    yield made
    made.close()


@pytest.fixture
def receiver(home: Path) -> Iterator[Receiver]:
    """A receiver of webhooks that is a sink of the home."""
    made = Receiver()
    sink_file(home).add({"name": "hook", "kind": "webhook", "url": made.url, "allow_private": True})
    yield made
    made.close()


def test_from_sound_to_event_clip_and_alert(home: Path, writer: PipeWriter, receiver: Receiver) -> None:
    """Healthy, faulty, healthy sound: one event, begun soon after the fault, ended, with a clip; an alert for each
    change, once; verdicts in the record of the machine."""
    with running(home) as listener:
        listener.wait_for_model()
        writer.play(healthy(12.0))
        writer.play(faulty(18.0))
        wait_until(lambda: listener.source().event, within_s=30)
        live = listener.client.live("hall")
        shown = next(live)
        live.close()
        assert shown["machine_state"] == "alarm"
        assert 32 <= len(shown["mel"]) <= 64
        sound = listener.client.sound("hall", 6.0)
        writer.play(healthy(21.0))
        wait_until(lambda: listener.source().event is None, within_s=30)
        wait_until(lambda: len(receiver.got) == 2, within_s=30)
        status = wait_until(lambda: (now := listener.source()).clips_judged + now.clips_skipped == 17 and now, 30)
        assert status.gaps == 0
    (home / "last.flac").write_bytes(sound)
    assert soundfile.info(home / "last.flac").duration == pytest.approx(6.0)
    with EventStore(home) as store:
        (event,) = store.page().events
        assert event.state == "ended"
        assert event.anomalous in (5, 6)
        assert event.reasons
        assert [change for change, _ in store.changes_of(event.id)].count("began") == 1
        assert event.clip is not None
    clip = home / "listener" / "clips" / event.clip.file
    samples, _ = soundfile.read(clip)
    # Written faster than real time, so that its times are shorter than its sound.
    assert len(samples) / listening.RATE_HZ == pytest.approx(event.clip.duration_s, abs=0.01)
    assert len(set(receiver.ids)) == len(receiver.got) == 2
    with Ledger(home) as ledger:
        assert len(ledger.health("fan-3", 50).latest) == status.clips_judged


def test_the_files_are_followed(home: Path, writer: PipeWriter, tmp_path: Path) -> None:
    """Sources are added, replaced, disabled and removed while it runs; bad entries and a broken file harm no other."""
    sources = source_file(home)
    with running(home) as listener:
        wait_until(lambda: listener.source().state == "no_data", within_s=30)
        pid = listener.process.pid
        sources.add({"name": "other", "kind": "folder", "machine_id": "fan-4", "path": str(tmp_path)})
        wait_until(lambda: len(listener.status().sources) == 2, within_s=2)
        before = listener.source()
        sources.replace("other", {"kind": "folder", "machine_id": "fan-5", "path": str(tmp_path)})
        wait_until(lambda: listener.source("other").machine_id == "fan-5", within_s=2)
        assert listener.source().since == before.since  # not started again
        good = sources.path.read_text()
        sources.path.write_text(f'{good}\n[[source]]\nname = "bad"\nkind = "stream"\nurl = "file:///etc/passwd"\n')
        wait_until(lambda: listener.status().problems, within_s=2)
        assert "bad" in listener.status().problems[0]
        sources.path.write_text("[[source")
        wait_until(lambda: "cannot be read" in " ".join(listener.status().problems), within_s=2)
        assert [source.name for source in listener.status().sources] == ["hall", "other"]
        sources.path.write_text(good)
        wait_until(lambda: not listener.status().problems, within_s=2)
        sources.replace("other", {"kind": "folder", "machine_id": "fan-5", "path": str(tmp_path), "enabled": False})
        wait_until(lambda: listener.source("other").state == "disabled", within_s=2)
        sources.remove("other")
        wait_until(lambda: len(listener.status().sources) == 1, within_s=2)
        assert listener.process.pid == pid
        with pytest.raises(EntryNotFound):
            next(listener.client.live("other"))
        with pytest.raises(EntryNotFound):
            listener.client.test_sink("none")
    with pytest.raises(ListenerNotRunning):
        ListenerClient(home).status()


def test_no_event_stays_open_after_kills(home: Path, writer: PipeWriter, receiver: Receiver) -> None:
    """Killed at random moments of an alarm: the next start ends each event, and its alerts are delivered."""
    rng = random.Random(16)
    for _ in range(3):
        listener = ListenerProcess(home)
        listener.start()
        listener.wait_for_model()
        writer.play(faulty(12.0 + rng.uniform(0, 6)))
        listener.kill()
    with running(home), EventStore(home) as store:
        # The rest of the sound in the pipe may begin a last event.
        killed = [event for event in store.page().events if event.state != "active"]
        assert len(killed) >= 2
        assert {event.state for event in killed} == {"interrupted"}
        wait_until(lambda: {event.id for event in killed} <= {body["data"]["id"] for body in receiver.got}, within_s=60)
    with EventStore(home) as store:
        assert store.active() == []
        assert all(event.ended for event in store.page().events)
    assert len(set(receiver.ids)) == len({json.dumps(body) for body in receiver.got})


def test_one_listener_for_a_home(home: Path) -> None:
    """A second listener ends at once with its sentence, and the first one goes on."""
    with running(home) as listener:
        second = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(home), "{}"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode != 0
        assert "ListenerRunsAlready: Another listener runs in this home" in second.stderr
        assert listener.answers()


def test_a_home_with_a_long_path(tmp_path: Path) -> None:
    """The socket works where the path is longer than the address of a Unix socket can be; only its user can open it."""
    home = tmp_path / ("long" * 30) / "home"
    home.mkdir(parents=True)
    with running(home) as listener:
        assert listener.status().sources == []
        assert (home / "listener" / "live.sock").stat().st_mode & 0o777 == 0o600
    assert not (home / "listener" / "live.sock").exists()
