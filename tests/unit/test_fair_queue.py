"""Queue of clips: fair to all sources, the newest clip, one clip of a machine at a time."""

import threading
from collections import Counter

from listener.judging.fair_queue import FairQueue, Work


class Clips:
    """Makes works, and remembers which ran or were dropped."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.dropped: list[str] = []

    def work(self, source: str, number: int = 0, machine: str | None = None) -> Work:
        """A work of a source."""
        name = f"{source}{number}"
        return Work(source, machine or source, lambda: self.ran.append(name), lambda: self.dropped.append(name))


def take_all(queue: FairQueue) -> None:
    """Take and run what waits."""
    while queue.waiting:
        work = queue.take()
        assert work is not None
        work.run()
        queue.done(work)


def test_a_newer_clip_replaces_the_one_that_waits() -> None:
    """Of three clips of a source that wait, the last one is judged, and two are dropped."""
    queue, clips = FairQueue(), Clips()
    for number in range(3):
        queue.put_clip(clips.work("a", number))
    take_all(queue)
    assert (clips.ran, clips.dropped) == (["a2"], ["a0", "a1"])


def test_sources_take_turns() -> None:
    """A source that offers clips all the time does not hold up the others: clips are skipped evenly."""
    queue, clips = FairQueue(), Clips()
    for round_ in range(30):
        for source in "abcdef":
            queue.put_clip(clips.work(source, round_))
        for _ in range(2):  # the CPU judges two of six
            work = queue.take()
            assert work is not None
            work.run()
            queue.done(work)
    judged = Counter(name[0] for name in clips.ran)
    assert max(judged.values()) - min(judged.values()) <= 1
    assert set(judged) == set("abcdef")


def test_recordings_are_never_dropped() -> None:
    """All recordings of a folder are judged in order, in turn with the clips of another source."""
    queue, clips = FairQueue(), Clips()
    for number in range(3):
        queue.put_recording(clips.work("folder", number))
    queue.put_clip(clips.work("stream", 0))
    take_all(queue)
    assert clips.ran == ["folder0", "stream0", "folder1", "folder2"]
    assert not clips.dropped


def test_one_clip_of_a_machine_at_a_time() -> None:
    """While a clip of a machine is judged, another thread gets a clip of another machine."""
    queue, clips = FairQueue(), Clips()
    queue.put_clip(clips.work("a", machine="fan"))
    queue.put_clip(clips.work("b", machine="fan"))
    queue.put_clip(clips.work("c", machine="pump"))
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    assert (first.source, second.source) == ("a", "c")
    queue.done(first)
    third = queue.take()
    assert third is not None
    assert third.source == "b"


def test_removal_and_close_drop_what_waits() -> None:
    """What waits of a removed source is dropped; after the close, threads get None and new work is dropped."""
    queue, clips = FairQueue(), Clips()
    queue.put_recording(clips.work("a", 0))
    queue.put_clip(clips.work("a", 1))
    queue.put_clip(clips.work("b"))
    queue.remove("a")
    assert clips.dropped == ["a0", "a1"]
    thread_got: list[Work | None] = []
    queue.put_clip(clips.work("b", 1))
    taken = queue.take()
    thread = threading.Thread(target=lambda: thread_got.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(5)
    assert taken is not None
    assert thread_got == [None]
    queue.put_recording(clips.work("a", 2))
    queue.put_clip(clips.work("a", 3))
    assert clips.dropped[-2:] == ["a2", "a3"]
