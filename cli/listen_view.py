"""View of a running listener: live on a terminal, lines in a pipe."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.events import QUIET_CHANGES, describe_change
from cli.times import local_time
from listener.events.store import EventChange, EventStore
from listener.live.client import ListenerClient
from listener.sound import PROBLEM_STATES
from listener.status import ListenerStatus, SourceStatus
from ml.errors import EventsUnavailable, ListenerNotRunning
from ml.models.aliases import FIRST_MODEL
from ml.system.text import printable

POLL_S = 0.25
EVENTS_SHOWN = 5
OLD_CHANGES = 100  # that are read at the start, to find the last events
# With more sources, each has one line and not three.
FULL_SOURCES = 5
BAR_WIDTH = 40
LOWEST_DBFS = -90.0
COLOURS = {"normal": "green", "anomalous": "red", "unusable": "yellow", "alarm": "red"}
FULL, EMPTY, MARK = "█", "░", "│"
HINT = "Ctrl-C ends."


class ListenerView:
    """View of the listener of a home, in a thread of its own; a context manager.

    Args:
        home: SIGNALML_HOME.
        console: output.
        ends_with_it: whether the view ends when the listener has ended.
    """

    def __init__(self, home: Path, console: Console, ends_with_it: bool = False) -> None:
        self._client = ListenerClient(home)
        self._home = home
        self._console = console
        self._ends_with_it = ends_with_it
        self._changes: deque[EventChange] = deque(maxlen=EVENTS_SHOWN)
        self._last_change: int | None = None
        self._old_changes = OLD_CHANGES if console.is_terminal else 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)

    def __enter__(self) -> Self:
        """Begin to show the listener."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state, and end."""
        self._ended.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait until the view ends: it is stopped, or its output is closed."""
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._console.is_terminal:
                self._run_live()
            else:
                self._run_lines()
        except OSError:  # its output is closed, such as that of  signalml listen | head
            os.kill(os.getpid(), signal.SIGTERM)

    def _run_live(self) -> None:
        status = None
        with Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            while True:
                ended = self._has_ended()
                status = self._status() or status
                self._changes.extend(self._new_changes())
                if status is not None:
                    live.update(render(status, self._changes), refresh=True)
                if ended:
                    return

    def _run_lines(self) -> None:
        before: dict[str, SourceStatus] = {}
        while True:
            ended = self._has_ended()
            status = self._status()
            lines = [] if status is None else list(describe_progress(before, status.sources))
            lines.extend(describe_change(change) for change in self._new_changes())
            for line in lines:
                self._console.file.write(f"{line}\n")
            self._console.file.flush()
            before = before if status is None else {each.name: each for each in status.sources}
            if ended:
                return

    def _has_ended(self) -> bool:
        """Wait for the next look; returns whether it is the last one."""
        return self._ended.wait(POLL_S) or (self._ends_with_it and self._status() is None)

    def _status(self) -> ListenerStatus | None:
        try:
            return self._client.status()
        except ListenerNotRunning:  # it starts, or has ended
            return None

    def _new_changes(self) -> list[EventChange]:
        """Return the changes of events since the last call; on a terminal, the first call returns the last ones."""
        try:
            with EventStore(self._home) as store:
                after = self._last_change
                if after is None:
                    after = max(0, store.last_change() - self._old_changes)
                found = store.changes(after)
        except EventsUnavailable:
            return []
        self._last_change = found[-1].number if found else after
        return [change for change in found if change.change not in QUIET_CHANGES]


def describe_progress(before: dict[str, SourceStatus], sources: Iterable[SourceStatus]) -> Iterable[str]:
    """Yield a line for each change of a state and each new verdict.

    Args:
        before: state of each source at the last call, by name.
        sources: state of each source now.
    """
    for now in sources:
        old = before.get(now.name)
        name = printable(f"{now.name} ({now.machine_id})")
        if old is None or (old.state, old.cause) != (now.state, now.cause):
            cause = now.cause if now.state != "no_model" else f"{now.cause} {FIRST_MODEL}".strip()
            yield f"{local_time(now.since)}  {name}  {now.state}{printable(f': {cause}' if cause else '')}"
        if now.judged_at is not None and (old is None or old.clips_judged != now.clips_judged):
            count = now.clips_judged - (0 if old is None else old.clips_judged)
            more = f"  (the last of {count})" if count > 1 else ""
            score = "" if now.score is None else f"  score {now.score:.3f} of {now.threshold or 0:.3f}"
            yield f"{local_time(now.judged_at)}  {name}  {now.verdict}{score}{more}"


def render(status: ListenerStatus, changes: Sequence[EventChange]) -> RenderableType:
    """Return the view of a listener, at most 80 characters wide.

    Args:
        status: state of the listener.
        changes: last changes of events, the oldest first.
    """
    notices = [*status.problems, *([FIRST_MODEL] if any(each.state == "no_model" for each in status.sources) else [])]
    parts: list[RenderableType] = [Text(printable(each), style="yellow") for each in notices]
    if not status.sources:
        parts.append(Text("No sources yet; the listener waits for them."))
    full = len(status.sources) <= FULL_SOURCES
    for source in status.sources:
        parts.extend(_full(source) if full else [_compact(source)])
    parts.append(Text("Last events", style="bold"))
    parts.extend(_line(describe_change(change)) for change in list(changes)[-EVENTS_SHOWN:])
    if not changes:
        parts.append(_line("none"))
    dead = sum(sink.dead for sink in status.sinks)
    waiting = sum(sink.waiting for sink in status.sinks)
    alerts = f"Alerts: {waiting} wait, {dead} were given up. " if waiting or dead else ""
    return Group(*parts, Text(f"{alerts}{HINT}", style="dim"))


def _full(source: SourceStatus) -> list[Text]:
    head = _line(f"{source.name}  {source.machine_id}  ", indent="", style="bold")
    head.append(source.state, style="red" if source.state in PROBLEM_STATES else "green")
    if source.machine_state is not None:
        head.append(f"  machine: {source.machine_state}", style=COLOURS.get(source.machine_state, ""))
    if source.clips_skipped or source.gaps:
        head.append(f"  clips skipped: {source.clips_skipped}, gaps: {source.gaps}", style="dim")
    lines = [head]
    if source.cause:
        lines.append(_line(source.cause, style="red" if source.state in PROBLEM_STATES else ""))
    level = source.level_dbfs
    share = 0.0 if level is None else 1 - max(LOWEST_DBFS, min(0.0, level)) / LOWEST_DBFS
    lines.append(_line(f"level  {_bar(share)}  {'-' if level is None else f'{level:.0f} dBFS'}"))
    if source.score is None or source.threshold is None:
        lines.append(_line(f"score  {_bar(0.0)}  no verdict yet"))
    else:
        line = _line(f"score  {_bar(source.score, source.threshold)}  {source.score:.3f} of {source.threshold:.3f}  ")
        line.append(source.verdict or "", style=COLOURS.get(source.verdict or "", ""))
        lines.append(line)
    return lines


def _compact(source: SourceStatus) -> Text:
    line = Text(f"{printable(source.name)[:16]:16}  {printable(source.machine_id)[:16]:16}  ", no_wrap=True)
    line.append(f"{source.state:10}", style="red" if source.state in PROBLEM_STATES else "green")
    line.append("      - dB" if source.level_dbfs is None else f"  {source.level_dbfs:5.0f} dB")
    if source.score is not None:
        line.append(f"  {source.score:.3f}  ")
        line.append(source.verdict or "", style=COLOURS.get(source.verdict or "", ""))
    line.overflow = "ellipsis"
    return line


def _bar(share: float, mark: float | None = None) -> str:
    """Return a bar of a share from 0 to 1, with a mark at another one.

    Example:
        >>> _bar(0.25, 0.5).count("█"), _bar(0.25, 0.5).index("│")
        (10, 20)
    """
    filled = round(max(0.0, min(1.0, share)) * BAR_WIDTH)
    bar = FULL * filled + EMPTY * (BAR_WIDTH - filled)
    if mark is None:
        return bar
    place = min(BAR_WIDTH - 1, round(max(0.0, min(1.0, mark)) * BAR_WIDTH))
    return bar[:place] + MARK + bar[place + 1 :]


def _line(text: str, indent: str = "  ", style: str = "") -> Text:
    return Text(f"{indent}{printable(text)}", style=style, no_wrap=True, overflow="ellipsis")
