"""View of a listener: readable in 80 columns, and lines in a pipe."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.listen_view import EVENTS_SHOWN, FULL_SOURCES, describe_progress, render
from cli.times import parse_time, show_duration
from listener.events.event import Event
from listener.events.store import EventChange
from listener.status import ListenerStatus, SinkStatus, SourceStatus
from ml.errors import InvalidParameter

AT = "2026-11-28T14:30:00.000+00:00"
LONG = "x" * 120


def status(count: int, **values: object) -> ListenerStatus:
    """State of a listener with some sources."""
    source = {"machine_id": "pump-1", "state": "listening", "since": AT, "level_dbfs": -32.0} | values
    sources = [SourceStatus(f"hall-{number}", "stream", **source) for number in range(count)]
    return ListenerStatus(AT, 1, sources)


def change(number: int) -> EventChange:
    """A change of an event."""
    event = Event(f"id-{number}", f"fan-{number}", "hall", AT, AT, 0.9, 0.5, "imbalance", "fan-0123456789")
    return EventChange(number, "began", AT, event)


def lines(shown: ListenerStatus, changes: list[EventChange] | None = None) -> list[str]:
    """The view on a terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    console.print(render(shown, changes or []))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_view_shows_level_score_state_and_events() -> None:
    """Everything about a source, with the threshold in the bar of the score, and the last events."""
    judged = status(1, score=0.124, threshold=0.5, verdict="normal", machine_state="normal")
    found = lines(judged, [change(number) for number in range(9)])
    text = "\n".join(found)
    expected = ("hall-0", "pump-1", "listening", "-32 dBFS", "0.124 of 0.500", "normal", "│", "Last events", "fan-8")
    assert [each for each in expected if each not in text] == []
    assert text.count("began") == EVENTS_SHOWN
    assert "fan-3 " not in text


@pytest.mark.parametrize("count", [0, 1, FULL_SOURCES, FULL_SOURCES + 1, 16])
def test_the_view_fits_in_80_columns(count: int) -> None:
    """With long names and causes, too; many sources have one line each."""
    shown = status(count, machine_id=LONG, state="failed", cause=LONG, score=0.9, threshold=0.5, verdict="anomalous")
    found = lines(shown, [change(1)])
    assert max(cell_len(line.rstrip()) for line in found) <= 80
    assert len(found) <= max(24, count + 5)


def test_the_view_names_what_is_to_be_done() -> None:
    """No model, entries that are not used, no sources, and alerts that wait."""
    text = " ".join("\n".join(lines(status(1, state="no_model", cause="There is no champion."))).split())
    assert "There is no champion." in text
    assert "signalml demo" in text
    shown = status(0)
    shown.problems = ["sources.toml cannot be read"]
    shown.sinks = [SinkStatus("broker", "mqtt", waiting=3, dead=1)]
    text = "\n".join(lines(shown))
    assert [each for each in ("No sources", "sources.toml cannot", "3 wait, 1 were given up") if each not in text] == []


def test_a_control_character_does_not_reach_the_terminal() -> None:
    """Causes come from tools and servers."""
    text = "\n".join(lines(status(1, state="failed", cause="\x1b[2J\x07gone"), [change(1)]))
    assert "\x07" not in text
    assert "\\x1b[2J" in text


def test_a_pipe_gets_a_line_for_each_change_and_each_verdict() -> None:
    """And none while nothing changes."""
    (before,) = status(1).sources
    (line,) = describe_progress({}, [before])
    assert line.endswith("hall-0 (pump-1)  listening")
    assert not list(describe_progress({"hall-0": before}, [before]))
    (judged,) = status(1, judged_at=AT, clips_judged=2, score=0.7, threshold=0.5, verdict="anomalous").sources
    (line,) = describe_progress({"hall-0": before}, [judged])
    assert line.endswith("hall-0 (pump-1)  anomalous  score 0.700 of 0.500  (the last of 2)")
    (stalled,) = status(1, state="stalled", cause="timeout\x1b").sources
    (line,) = describe_progress({"hall-0": before}, [stalled])
    assert line.endswith("stalled: timeout\\x1b")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.6, "1 min"), (3599, "59 min 59 s"), (90_000, "1 d 1 h")])
def test_durations_have_two_units(seconds: float, text: str) -> None:
    """The larger ones."""
    assert show_duration(seconds) == text


@pytest.mark.parametrize("text", ["", "2", "2 h", "soon", "999999d", "2026-13-01"])
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    """With what was expected."""
    from datetime import UTC, datetime

    with pytest.raises(InvalidParameter, match="was expected"):
        parse_time(text, datetime(2026, 11, 28, tzinfo=UTC), -1)
