"""Streams and microphones that are killed, stop or fall silent: each is named, heals, and leaves nothing behind."""

import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from listener.events.event import Event
from listener.events.event_time import to_seconds
from listener.status import SourceStatus
from testing.fans import (
    CLIP_S,
    RULE,
    WITHIN_S,
    add_sources,
    events_of,
    fan_sounds,
    has_judged,
)
from testing.listening import ListenerProcess, PulseServer, RtspServer
from testing.servers import wait_until
from testing.sound_feed import NamedPipe, SoundFeed
from tests.complete import require_listening_programs

HEALED_WITHIN_S = 15.0
# State and a part of the cause of each source, by what happens to it.
EXPECTED = {
    "killed": ("failed", "Connection refused"),
    "stopped": ("stalled", "no sound for"),
    "silent": ("silent", "every sample has the value 0"),
    "closed": ("stalled", "no program writes to the pipe"),
}


class Trouble(NamedTuple):
    """What became of four sources that were in trouble during an event.

    Attributes:
        began, ended: times of the trouble, in seconds since 1970.
        named: state of each source in its trouble.
        healed_s: seconds after the end of the trouble to the next verdict, by source.
        after: state of each source at the end.
        events: all events.
        clips: begin of each judged clip, in seconds since 1970, by source.
        programs: number of the listener's processes before and after it.
        files: number of its open files before and after it.
    """

    began: float
    ended: float
    named: Mapping[str, SourceStatus]
    healed_s: Mapping[str, float]
    after: Mapping[str, SourceStatus]
    events: list[Event]
    clips: Mapping[str, list[float]]
    programs: tuple[int, int]
    files: tuple[int, int]


@pytest.fixture(scope="module")
def trouble(fan_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Trouble:
    """A listener whose sources are all in trouble at once, while their machines have a fault."""
    require_listening_programs()
    folder = tmp_path_factory.mktemp("trouble")
    home = Path(shutil.copytree(fan_home, folder / "home"))
    for name in ("killed", "stopped"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        pulse = stack.enter_context(PulseServer(folder))
        killed, stopped = (stack.enter_context(RtspServer(folder / name)) for name in ("killed", "stopped"))
        pipe = stack.enter_context(NamedPipe(folder / "pcm"))
        feed = stack.enter_context(SoundFeed(fan_sounds(), killed.write, stopped.write, pipe.write))
        microphone = stack.enter_context(SoundFeed(fan_sounds(), pulse.write))
        add_sources(
            home,
            killed={"kind": "stream", "url": killed.url, "timeout_s": 2},
            stopped={"kind": "stream", "url": stopped.url, "timeout_s": 2},
            silent={"kind": "device", "device": pulse.device},
            closed={"kind": "pipe", "path": str(folder / "pcm")},
        )
        play(feed, microphone, "healthy")
        listener = stack.enter_context(ListenerProcess(home, folder, pulse.variables, **RULE))
        wait_until(lambda: has_judged(listener, EXPECTED), WITHIN_S)
        before = listener.processes(), open_files(listener)
        play(feed, microphone, "faulty")
        wait_until(lambda: len(events_of(home)) == len(EXPECTED), WITHIN_S)
        began = time.time()
        microphone.play("silence")
        killed.kill()
        stopped.pause()
        feed.outputs.remove(pipe.write)
        pipe.close()
        named = {name: wait_until(lambda name=name: in_trouble(listener, name), WITHIN_S) for name in EXPECTED}
        play(feed, microphone, "healthy")
        ended = time.time()
        killed.start()
        stopped.resume()
        feed.outputs.append(pipe.write)
        healed_s = {
            name: wait_until(lambda name=name: healed_after(listener, name, ended), WITHIN_S) for name in EXPECTED
        }
        wait_until(lambda: all(each.ended for each in events_of(home)), WITHIN_S)
        after = {name: listener.status_of(name) for name in EXPECTED}
        left = listener.processes(), open_files(listener)
        listener.stop()
    return Trouble(
        began,
        ended,
        named,
        healed_s,
        after,
        events_of(home),
        {name: judged_times(home, name) for name in EXPECTED},
        (len(before[0]), len(left[0])),
        (before[1], left[1]),
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_the_trouble_is_named_with_its_cause(trouble: Trouble, name: str) -> None:
    state, cause = EXPECTED[name]
    assert trouble.named[name].state == state
    assert cause in trouble.named[name].cause


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_judged_again_soon_after_its_return(trouble: Trouble, name: str) -> None:
    assert trouble.healed_s[name] <= HEALED_WITHIN_S
    assert (trouble.after[name].state, trouble.after[name].cause) == ("listening", "")


@pytest.mark.parametrize("name", EXPECTED)
def test_its_event_ends(trouble: Trouble, name: str) -> None:
    events = [each for each in trouble.events if each.machine_id == name]
    assert [each.state for each in events][-1] in ("ended", "interrupted")
    assert events[-1].ended is not None
    assert to_seconds(events[-1].ended) > trouble.began


@pytest.mark.parametrize("name", ["killed", "stopped", "closed"])
def test_no_clip_is_of_the_time_of_the_gap(trouble: Trouble, name: str) -> None:
    """What the pipe of a stopped server holds, at most three seconds, arrives with its return, and is of before it."""
    assert trouble.after[name].gaps >= 1
    gap = trouble.began + CLIP_S, trouble.ended - 3.0
    assert gap[0] < gap[1]
    assert [begin for begin in trouble.clips[name] if gap[0] < begin + CLIP_S and begin < gap[1]] == []


def test_no_process_and_no_file_is_left_over(trouble: Trouble) -> None:
    assert trouble.programs[0] == trouble.programs[1]
    assert abs(trouble.files[1] - trouble.files[0]) <= 2


def play(feed: SoundFeed, microphone: SoundFeed, sound: str) -> None:
    """Play the same on both."""
    feed.play(sound)
    microphone.play(sound)


def in_trouble(listener: ListenerProcess, name: str) -> SourceStatus | None:
    """Return the state of a source as soon as it is what its trouble gives."""
    status = listener.status_of(name)
    state, cause = EXPECTED[name]
    return status if status.state == state and cause in status.cause else None


def healed_after(listener: ListenerProcess, name: str, ended: float) -> float | None:
    """Return the time from the end of a trouble to a verdict after it."""
    status = listener.status_of(name)
    judged = to_seconds(status.judged_at) if status.judged_at else 0.0
    return judged - ended if status.state == "listening" and judged > ended else None


def open_files(listener: ListenerProcess) -> int:
    """Return the number of open files of the listener itself."""
    return listener.processes()[0].num_fds()


def judged_times(home: Path, machine_id: str) -> list[float]:
    """Return the begin of each clip of a machine that was judged."""
    with closing(sqlite3.connect(home / "machines" / "health.sqlite3")) as db:
        rows = db.execute("SELECT recorded_at FROM observations WHERE machine_id = ? ORDER BY id", (machine_id,))
        return [to_seconds(row[0]) for row in rows]
