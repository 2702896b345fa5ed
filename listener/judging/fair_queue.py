"""Queue of clips and recordings that wait for a judging thread, fair to all sources.

Each source has at most one clip that waits. A newer clip replaces it: if the CPU cannot keep up, clips are skipped, the
newest is judged, and no source is behind by more than a hop. Sources take turns, so that clips are skipped evenly.
Recordings of folders wait in turn and are never replaced. Of one machine, one clip at a time is judged, so that its
verdicts are recorded in order.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """One clip or recording that waits.

    Attributes:
        source: name of its source.
        machine_id: machine that it is of.
        run: judges it.
        drop: called instead of ``run`` if it is not judged: a newer clip replaced it, or its source ended.
    """

    source: str
    machine_id: str
    run: Callable[[], None]
    drop: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Line:
    """What waits of one source."""

    recordings: deque[Work] = field(default_factory=deque)
    clip: Work | None = None

    def first(self) -> Work | None:
        return self.recordings[0] if self.recordings else self.clip

    def remove_first(self) -> None:
        if self.recordings:
            self.recordings.popleft()
        else:
            self.clip = None

    def all(self) -> list[Work]:
        return [*self.recordings, *([] if self.clip is None else [self.clip])]


class FairQueue:
    """Queue for several threads that put work in, and several that take it."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._busy: set[str] = set()  # machines
        self._is_closed = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Number of clips and recordings that wait."""
        with self._changed:
            return sum(len(line.all()) for line in self._lines.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing that was taken is under way."""
        with self._changed:
            return not self._busy and not any(line.all() for line in self._lines.values())

    def put_clip(self, clip: Work) -> None:
        """Add a clip; the one of its source that waits is dropped."""
        with self._changed:
            line = self._lines.setdefault(clip.source, _Line())
            before, line.clip = line.clip, clip
            dropped = [clip] if self._is_closed else [] if before is None else [before]
            self._changed.notify()
        for each in dropped:
            each.drop()

    def put_recording(self, recording: Work) -> None:
        """Add a recording; it is dropped only if its source is removed, or the queue closed."""
        with self._changed:
            is_closed = self._is_closed
            if not is_closed:
                self._lines.setdefault(recording.source, _Line()).recordings.append(recording)
                self._changed.notify()
        if is_closed:
            recording.drop()

    def take(self) -> Work | None:
        """Wait for work of the source whose turn it is; the caller calls :meth:`done` after it.

        Returns:
            The work; None after :meth:`close`.
        """
        with self._changed:
            while not self._is_closed:
                work = self._next()
                if work is not None:
                    return work
                self._changed.wait()
        return None

    def done(self, work: Work) -> None:
        """Note that a work has ended, so that the next one of its machine can begin."""
        with self._changed:
            self._busy.discard(work.machine_id)
            self._changed.notify()

    def remove(self, source: str) -> None:
        """Drop what waits of a source."""
        with self._changed:
            line = self._lines.pop(source, _Line())
        for each in line.all():
            each.drop()

    def close(self) -> None:
        """Drop all that waits; all threads that wait get None."""
        with self._changed:
            self._is_closed = True
            waiting = [work for line in self._lines.values() for work in line.all()]
            self._lines.clear()
            self._changed.notify_all()
        for each in waiting:
            each.drop()

    def _next(self) -> Work | None:
        for source, line in self._lines.items():
            work = line.first()
            if work is not None and work.machine_id not in self._busy:
                line.remove_first()
                self._lines.move_to_end(source)
                self._busy.add(work.machine_id)
                return work
        return None
