"""Alerts in plain words, for e-mail."""

from datetime import datetime

from listener.alerts.alert_message import TEST_TEXT, AlertMessage
from listener.alerts.digest import Digest
from listener.events.event import Event
from ml.system.text import printable

SUBJECTS = {
    "event.began": "{machine} sounds abnormal",
    "event.worsened": "{machine} sounds worse",
    "event.ended": "{machine} sounds normal again",
    "event.interrupted": "{machine} is no longer watched",
}
FIRST_LINES = {
    "event.began": "{machine} sounds abnormal since {began}.",
    "event.worsened": "{machine} sounds abnormal since {began}, and it has become worse.",
    "event.ended": "{machine} sounded abnormal from {began} to {ended}. The alarm has cleared.",
    "event.interrupted": "{machine} sounded abnormal from {began}. Since {ended}, it cannot be judged any more.",
}
DIGEST_REASONS = {
    "storm": "There were too many alerts within a minute; these are in one message.",
    "quiet_hours": "These events began and ended during the quiet hours.",
}


def subject(message: AlertMessage) -> str:
    """Return the subject: one line without control characters."""
    if message.digest is not None:
        digest = message.digest
        return f"{digest.alerts} alerts of {_count(digest.machines, 'machine')}"
    if message.event is None:
        return "Test alert of signalml"
    machine = message.event.machine_id
    return printable(SUBJECTS.get(message.type, "{machine}: alert").format(machine=machine))


def text(message: AlertMessage, device_name: str) -> str:
    """Return the message in plain words."""
    if message.digest is not None:
        lines = _digest_lines(message.digest)
    elif message.event is not None:
        lines = _event_lines(message.type, message.current or message.event)
    else:
        lines = [TEST_TEXT]
    device = [f"Device: {device_name}"] if device_name else []
    return "\n".join(printable(line) for line in [*lines, *device, f"Alert: {message.id}"]) + "\n"


def local_time(time: str) -> str:
    """Return a time in ISO 8601 as local time with its offset."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _event_lines(kind: str, event: Event) -> list[str]:
    ended = local_time(event.ended) if event.ended else "now"
    first = FIRST_LINES.get(kind, "{machine}: alert since {began}.")
    lines = [
        first.format(machine=event.machine_id, began=local_time(event.began), ended=ended),
        "",
        f"Highest score: {event.score:.2f} (threshold {event.threshold:.2f}), label {event.label}",
        f"Clips: {event.anomalous} of {event.clips} abnormal",
        *_reason_lines(event),
        f"Cause: {event.cause}" if event.cause else "",
        f"Source: {event.source}",
        f"Reported by: {event.origin}" if event.origin else "",
        f"Model: {event.version}",
        f"Event: {event.id}",
    ]
    return [line for number, line in enumerate(lines) if line or number == 1]


def _reason_lines(event: Event) -> list[str]:
    """Return the frequency bands that deviate most, each in one line."""
    found = []
    for each in event.reasons:
        low, high, level = each.get("low_hz"), each.get("high_hz"), each.get("db")
        if isinstance(low, int | float) and isinstance(high, int | float):
            deviation = f": {level:+.1f} dB" if isinstance(level, int | float) else ""
            found.append(f"Reason: {low:.0f} to {high:.0f} Hz{deviation}")
    return found


def _digest_lines(digest: Digest) -> list[str]:
    changes = ", ".join(f"{number} {change}" for change, number in digest.changes.items())
    return [
        f"{digest.alerts} alerts ({changes}) of {_count(digest.machines, 'machine')}, from "
        f"{local_time(digest.began)} to {local_time(digest.ended)}.",
        DIGEST_REASONS[digest.reason],
        "",
        "Machines with the highest scores:",
        *(
            f"  {each.machine_id}: score {each.score:.2f} (threshold {each.threshold:.2f}), label {each.label}, "
            f"{_count(each.events, 'event')}, {'still active' if each.active else 'over'}"
            for each in digest.worst
        ),
        "",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
