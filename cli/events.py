"""``signalml events``: what happened, when, how long and why."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from api.settings import Settings
from cli.home import created_home
from cli.lazy import MARKUP, DefaultGroup
from cli.output import print_table
from cli.times import TIME_HELP, local_time, parse_time, show_duration
from listener.alerts.routes import route_by_file
from listener.events.clip_files import NO_CLIP, clip_file, spectrogram_file
from listener.events.event import Event, EventState, Review, ReviewVerdict
from listener.events.recordings import make_recording, review_event
from listener.events.schema import EVENTS_FILE
from listener.events.store import MAX_PAGE, EventChange, EventFilter, EventStore
from listener.options import LISTENER_FOLDER
from ml.errors import ClipNotFound
from ml.system.atomic import write_atomic
from ml.system.audit import record_change, user_name
from ml.system.text import printable

FOLLOW_S = 0.5
# Changes that are no news for a person: progress of an event, and its clip.
QUIET_CHANGES = ("updated", "clip")
NO_EVENTS = "No events yet."
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: one line for each event, as it is stored.")]

app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=MARKUP,
    help="Show what happened, when, how long and why; fetch sound, and give a verdict.\n\n"
    "`signalml events` lists the events, the newest first; see `signalml events list --help`.",
)


@app.command(
    "list",
    epilog="Examples:  `signalml events --follow`,  `signalml events --machine fan-3 --since 7d`,  `signalml events "
    "--state active --json`,  `signalml events --not-reviewed`",
)
def list_(
    machine: Annotated[str | None, typer.Option(metavar="ID", help="Only events of this machine.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only events of this source.")] = None,
    state: Annotated[EventState | None, typer.Option(help="Only events in this state.")] = None,
    reviewed: Annotated[
        bool | None, typer.Option("--reviewed/--not-reviewed", help="Only events with, or without, a review.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="That began later: " + TIME_HELP.format(way="ago"))
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="That began before: " + TIME_HELP.format(way="ago"))
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Largest number of events, the newest first.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Print each change of an event when it happens.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List events, the newest first."""
    now = datetime.now(UTC)
    began_after, began_before = (None if each is None else parse_time(each, now, -1) for each in (since, until))
    wanted = EventFilter(machine, source, state, reviewed, began_after, began_before)
    home = Settings().home
    if follow:
        _follow(home, wanted, as_json)
        return
    with EventStore(home) as store:
        events = store.page(wanted, last).events
    if as_json:
        for event in events:
            typer.echo(json.dumps(asdict(event), ensure_ascii=False))
        return
    table = Table("began", "machine", "state", "lasted", "score", "label", "why", "review", "clip", "event", box=None)
    for event in events:
        table.add_row(*_cells(event))
    print_table(table, NO_EVENTS, keys=2)


@app.command(epilog="Example:  `signalml events show 019ac7d2f1e84c7b9a3e51d0c2b7`")
def show(event_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show everything about one event: times, scores, reasons, clip, review and changes."""
    with EventStore(Settings().home) as store:
        event, changes = store.get(event_id), store.changes_of(event_id)
    if as_json:
        typer.echo(json.dumps(asdict(event), ensure_ascii=False))
        return
    table = Table("field", "value", box=None, show_header=False)
    for row in _facts(event):
        table.add_row(*row)
    for change, at in changes:
        table.add_row(change, local_time(at))
    print_table(table, "")


@app.command(epilog="Example:  `signalml events clip 019ac7d2f1e84c7b9a3e51d0c2b7 --output fault.flac`")
def clip(
    event_id: IdArgument,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the sound to this file; default: the id, in this folder.")
    ] = None,
    spectrogram: Annotated[
        bool, typer.Option("--spectrogram", help="Write the spectrogram (PNG) and not the sound (FLAC).")
    ] = False,
) -> None:
    """Write the sound of an event, or its spectrogram, to a file."""
    home = Settings().home
    with EventStore(home) as store:
        event = store.get(event_id)
    found = (spectrogram_file if spectrogram else clip_file)(home, event)
    target = output or Path(f"{event.id}{found.suffix}")
    try:
        content = found.read_bytes()
    except FileNotFoundError as error:  # it was deleted meanwhile
        raise ClipNotFound(f"The event {event.id} has no clip: {NO_CLIP['deleted']}.") from error
    write_atomic(target, content)
    typer.echo(f"{target}")


@app.command(
    epilog="Example:  `signalml events review 019ac7d2f1e84c7b9a3e51d0c2b7 --verdict faulty --label imbalance "
    "--note 'Screw was loose'`"
)
def review(
    event_id: IdArgument,
    verdict: Annotated[
        ReviewVerdict | None, typer.Option(help="Verdict; not_the_machine is another sound, such as a forklift.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the fault.")] = None,
    note: Annotated[str, typer.Option(help="Text for people.")] = "",
    by: Annotated[str | None, typer.Option(help="Person who gives the verdict; default: the user.")] = None,
) -> None:
    """Give the verdict of a person on an event."""
    home = Settings().home
    with EventStore(home, route=route_by_file(home)) as store:
        before = store.get(event_id).review
        after = review_event(store, event_id, verdict, label, note, by or user_name()).review
    record_change(home, "event.review", event_id, before=_verdict(before), after=_verdict(after))
    typer.echo(f"event {printable(event_id)} is reviewed")


@app.command(
    epilog="Example:  `signalml events recording 019ac7d2f1e84c7b9a3e51d0c2b7 --dataset hall-3`,  then  `signalml jobs "
    "submit retraining hall-3`"
)
def recording(
    event_id: IdArgument,
    dataset: Annotated[str, typer.Option(help="Name of the dataset; it is created if it does not exist.")],
    label: Annotated[
        str | None, typer.Option(help="normal or abnormal; default: by the verdict of the review.")
    ] = None,
    fault: Annotated[str | None, typer.Option(help="Name of the fault; default: the label of the review.")] = None,
) -> None:
    """Put the sound of an event into a dataset with its label, for the next training."""
    home = created_home().home
    with EventStore(home) as store:
        added = make_recording(home, store, event_id, dataset, label, fault)
    after = {"event": event_id, "recording": added.recording.id, "added": added.added}
    record_change(home, "event.recording", dataset, after=after)
    typer.echo(f"recording {added.recording.id} of {printable(dataset)} has the sound of event {printable(event_id)}")


def describe_change(change: EventChange) -> str:
    """Return a change of an event as one line for people."""
    event = change.event
    parts = (
        local_time(change.at),
        f"{change.change:11}",
        event.machine_id,
        f"score {event.score:.3f} of {event.threshold:.3f}",
        event.label,
        describe_reason(event),
        event.cause,
        event.id,
    )
    return "  ".join(printable(part) for part in parts if part)


def describe_reason(event: Event) -> str:
    """Return the frequency band that deviates most, in words; empty without one.

    Example:
        >>> band = {"low_hz": 413.2, "high_hz": 851.0, "db": 6.24}
        >>> describe_reason(Event("1", "fan", "hall", "", "", 0.9, 0.5, "unknown", "v", reasons=(band,)))
        '6.2 dB louder at 413 to 851 Hz'
        >>> describe_reason(Event("1", "fan", "hall", "", "", 0.9, 0.5, "unknown", "v", reasons=({},)))
        ''
    """
    band = event.reasons[0] if event.reasons else {}
    try:
        db, low_hz, high_hz = (float(band[name]) for name in ("db", "low_hz", "high_hz"))
    except (KeyError, TypeError, ValueError):  # another device reported it
        return ""
    return f"{abs(db):.1f} dB {'louder' if db > 0 else 'softer'} at {low_hz:.0f} to {high_hz:.0f} Hz"


def _follow(home: Path, wanted: EventFilter, as_json: bool) -> None:
    for change in _changes(home):
        if not _matches(change.event, wanted):
            continue
        typer.echo(
            json.dumps(change._asdict() | {"event": asdict(change.event)}) if as_json else describe_change(change)
        )


def _changes(home: Path) -> Iterator[EventChange]:
    """Yield the changes from now on, without end; also of a file that does not exist yet."""
    file = home / LISTENER_FOLDER / EVENTS_FILE
    after = None if file.exists() else 0
    while not file.exists():
        time.sleep(FOLLOW_S)
    with EventStore(home) as store:
        after = store.last_change() if after is None else after
        while True:
            for change in store.changes(after):
                after = change.number
                yield change
            time.sleep(FOLLOW_S)


def _matches(event: Event, wanted: EventFilter) -> bool:
    return (
        wanted.machine_id in (None, event.machine_id)
        and wanted.source in (None, event.source)
        and wanted.state in (None, event.state)
        and wanted.reviewed in (None, event.review is not None)
        and (wanted.since is None or event.began >= wanted.since)
        and (wanted.until is None or event.began < wanted.until)
    )


def _cells(event: Event) -> tuple[str, ...]:
    return (
        local_time(event.began),
        event.machine_id,
        event.state,
        _lasted(event),
        f"{event.score:.3f}",
        event.label,
        describe_reason(event) or "-",
        _verdict(event.review) or "-",
        f"{event.clip.duration_s:.0f} s" if event.clip else event.missing_clip or "-",
        event.id,
    )


def _lasted(event: Event) -> str:
    """Return how long an event lasted or, while it is active, its length until the last judged clip."""
    end = datetime.fromisoformat(event.ended or event.updated)
    return show_duration(max(0.0, (end - datetime.fromisoformat(event.began)).total_seconds()))


def _facts(event: Event) -> Iterator[tuple[str, str]]:
    facts: dict[str, Any] = {
        "machine": event.machine_id,
        "source": event.source,
        "reported by": event.origin,
        "state": event.state,
        "cause": event.cause,
        "began": local_time(event.began),
        "ended": local_time(event.ended),
        "lasted": _lasted(event),
        "anomalous clips": f"{event.anomalous} of {event.clips}",
        "highest score": f"{event.score:.3f}, threshold {event.threshold:.3f}",
        "label": event.label,
        "why": "; ".join(describe_reason(event.changed(reasons=(band,))) for band in event.reasons),
        "model": f"{event.version}, labels {event.labels_revision}, threshold {event.threshold_revision}",
        "continues": event.continues,
        "clip": _describe_clip(event),
        "recording": event.recording,
    }
    if event.review is not None:
        facts |= {"review": _verdict(event.review), "note": event.review.note, "reviewed by": event.review.by}
    return ((name, str(value)) for name, value in facts.items() if value)


def _describe_clip(event: Event) -> str:
    if event.clip is None:
        return f"none: {NO_CLIP.get(event.missing_clip or '', '')}"
    return f"{event.clip.duration_s:.1f} s from {local_time(event.clip.began)}, {event.clip.size_bytes / 1e3:.0f} kB"


def _verdict(found: Review | None) -> str | None:
    if found is None:
        return None
    return ", ".join(filter(None, (found.verdict, found.label))) or "note"
