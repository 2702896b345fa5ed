"""Rules of a sink, with a clock that the test moves."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from listener.alerts.rules import is_quiet, next_minute, wants
from listener.config.sink_types import EmailSink, MqttSink, ServiceSink, Sink, WebhookSink
from listener.events.event import Event
from listener.events.store import EventStore
from tests.unit.alerts import NOON, Device, ended, event

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time with summer time: NOON is 13:00."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
    assert os.environ.get("TZ") != "Europe/Berlin"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path, create=True) as opened:
        opened.query("PRAGMA synchronous = OFF")  # the computer does not fail here, and a flush takes milliseconds
        yield opened


def hook(**rules: Any) -> WebhookSink:
    muted_until = rules.pop("muted_until", None)
    return WebhookSink(name="hook", url="http://example.org/", muted_until=muted_until, rules=rules)  # type: ignore[arg-type]


def mail(**rules: Any) -> EmailSink:
    values = {"sender": "a@example.org", "to": ("b@example.org",), "server": "smtp://example.org"}
    return EmailSink(name="mail", rules=rules, **values)  # type: ignore[arg-type]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# Which alerts


@pytest.mark.parametrize(
    ("patterns", "machine_id", "expected"),
    [
        (("*",), "hall-3/fan", True),
        (("hall-3/*",), "hall-3/fan", True),
        (("hall-3/*",), "hall-4/fan", False),
        (("fan-1", "fan-2"), "fan-2", True),
        (("FAN-1",), "fan-1", False),
        ((), "fan-1", False),
    ],
)
def test_a_sink_gets_alerts_of_its_machines(patterns: tuple[str, ...], machine_id: str, expected: bool) -> None:
    """Names or patterns; upper and lower case differ."""
    assert wants(hook(machines=patterns), event(machine_id), "began") is expected


def test_a_sink_gets_the_changes_that_it_names() -> None:
    """Progress and clips are no alerts, except for another service."""
    sink = hook(changes=("began", "ended"))
    changes = ("began", "updated", "worsened", "ended", "interrupted", "clip", "reviewed")
    assert [each for each in changes if wants(sink, event(), each)] == ["began", "ended"]
    service = ServiceSink(name="central", url="http://example.org")
    assert [each for each in changes if wants(service, event(), each)] == [each for each in changes if each != "clip"]
    assert not wants(WebhookSink(name="off", url="http://example.org/", enabled=False), event(), "began")


def test_an_end_follows_only_a_beginning_that_was_sent(store: EventStore) -> None:
    """The beginning is not sent because the event is too short: nor is the end."""
    device = Device(store, hook(min_duration_s=30))
    device.ends(device.begins())
    assert device.deliver(60) == []
    long = device.begins()
    assert device.deliver(31) == [("began", "fan-3")]
    device.ends(long)
    device.restart()
    assert device.deliver() == [("ended", "fan-3")]
    assert device.waiting() == 0


def test_a_sink_that_wants_only_ends_gets_them(store: EventStore) -> None:
    """Its rules leave the beginnings out."""
    device = Device(store, hook(changes=("ended",)))
    device.ends(device.begins())
    assert device.deliver() == [("ended", "fan-3")]


def test_email_is_one_message_for_each_alarm(store: EventStore) -> None:
    """By default; with other changes in its rules, more."""
    device = Device(store, mail())
    device.ends(device.worsens(device.begins(), 0.9))
    assert device.deliver() == [("began", "fan-3")]
    assert device.waiting() == 0


def test_a_long_alarm_is_one_email(store: EventStore) -> None:
    """Its events continue each other every hour, and after a restart of the listener."""
    device = Device(store, mail(changes=("began", "worsened", "ended")))
    parts = [device.begins()]
    device.deliver()
    for cause, state in (("longest", "ended"), ("restart", "interrupted"), ("longest", "ended")):
        device.now += 3600
        device.changes(ended(parts[-1], device.now, state=state, cause=cause), state)  # type: ignore[arg-type]
        parts.append(device.begins(continues=parts[-1].id))
        device.restart()
        assert device.deliver() == []
    device.worsens(parts[-1], 0.95)
    device.ends(parts[-1])
    assert device.deliver() == [("worsened", "fan-3"), ("ended", "fan-3")]
    device.begins()
    assert device.deliver() == [("began", "fan-3")]


def test_an_alarm_that_continues_one_that_was_not_sent_is_an_email(store: EventStore) -> None:
    """The first event was too short for the rules."""
    device = Device(store, mail(min_duration_s=60))
    first = device.begins()
    device.now += 10
    device.ends(first, "interrupted")
    device.begins(continues=first.id)
    assert device.deliver_for(120) == [("began", "fan-3")]


def test_an_email_waits_some_seconds_for_its_clip(store: EventStore) -> None:
    """The clip is written after the event has begun; a clip that never comes holds nothing back for long."""
    device = Device(store, mail())
    device.begins(missing_clip="pending")
    assert device.deliver(5) == []
    assert device.deliver(6) == [("began", "fan-3")]


# Least duration


def test_an_event_that_ends_before_the_least_duration_is_never_sent(store: EventStore) -> None:
    """Nothing is sent before; a short event is dropped, and the next one of its machine is not held up."""
    device = Device(store, hook(min_duration_s=60))
    short = device.begins()
    assert device.deliver(30) == []
    device.ends(short)
    assert device.deliver(100) == []
    device.begins()
    assert device.deliver(59) == []
    assert device.deliver(1) == [("began", "fan-3")]


def test_an_event_of_old_recordings_has_its_own_length(store: EventStore) -> None:
    """A folder of last year's recordings: the length is of the recordings, not the time since then."""
    device = Device(store, hook(min_duration_s=60))
    device.changes(event("fan-3", NOON - 365 * 86_400), "began")
    assert device.deliver(1) == []
    assert device.deliver(60) == [("began", "fan-3")]


# Cool-down


def test_a_cool_down_holds_back_what_is_not_worse(store: EventStore) -> None:
    """An event that has ended meanwhile is never sent; other machines are not concerned."""
    device = Device(store, hook(cooldown_s=600, changes=("began", "worsened")))
    device.ends(device.begins(score=0.8))
    assert device.deliver() == [("began", "fan-3")]
    device.now += 60
    device.begins("fan-4", score=0.6)
    device.ends(device.begins(score=0.7))
    assert device.deliver() == [("began", "fan-4")]
    assert device.deliver_for(700) == []


def test_a_cool_down_never_hides_a_worse_event(store: EventStore) -> None:
    """Also after a restart."""
    device = Device(store, hook(cooldown_s=600))
    device.ends(device.begins(score=0.8))
    device.deliver()
    device.restart()
    device.begins(score=0.9)
    assert device.deliver(10) == [("began", "fan-3")]


@pytest.mark.parametrize("changes", [("began",), ("began", "worsened", "ended", "interrupted")])
def test_a_cool_down_never_hides_a_worsening(store: EventStore, changes: tuple[str, ...]) -> None:
    """An event that is held back becomes worse than what was sent: it is sent at once."""
    device = Device(store, hook(cooldown_s=600, changes=changes))
    device.ends(device.begins(score=0.8))
    device.deliver()
    device.now += 60
    quiet = device.begins(score=0.6)
    assert device.deliver(10) == []
    device.worsens(quiet, 0.95)
    assert device.deliver(1)[0][0] == "began"


def test_a_cool_down_ends_while_the_event_lasts(store: EventStore) -> None:
    """An alarm that began in the cool-down and still lasts after it is sent then, not forgotten."""
    device = Device(store, hook(cooldown_s=300))
    device.ends(device.begins(score=0.8))
    device.deliver()
    device.begins(score=0.6)
    assert device.deliver_for(280) == []
    assert device.deliver_for(60) == [("began", "fan-3")]


def test_a_cool_down_begins_with_the_end_of_an_event(store: EventStore) -> None:
    """Not with its beginning, also for a sink that is not sent ends."""
    device = Device(store, hook(cooldown_s=600, changes=("began",)))
    long = device.begins(score=0.8)
    device.deliver()
    device.now += 7200
    device.ends(long)
    device.now += 60
    device.ends(device.begins(score=0.7))
    assert device.deliver_for(900) == []


# Quiet hours


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        (("22:00-06:00",), ["2026-11-29T22:00:00+01:00", "2026-11-30T05:59:59+01:00"], ["2026-11-30T06:00:00+01:00"]),
        (("Fri 22:00-06:00",), ["2026-11-28T05:00:00+01:00"], ["2026-11-29T05:00:00+01:00"]),
        (("Sat-Sun 00:00-24:00",), ["2026-11-29T23:59:59+01:00"], ["2026-11-30T00:00:00+01:00"]),
        (("Sat-Mon 08:00-09:00",), ["2026-11-30T08:30:00+01:00"], ["2026-12-01T08:30:00+01:00"]),
        # 02:30 comes twice when the clocks are set back, and not at all when they are set forward.
        (("02:00-03:00",), ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"], ["2026-03-29T01:00:00+00:00"]),
        ((), [], ["2026-11-29T12:00:00+01:00"]),
    ],
)
def test_quiet_hours_are_local(hours: tuple[str, ...], quiet: list[str], loud: list[str]) -> None:
    """Over midnight, on some days, and with summer time."""
    assert all(is_quiet(hook(quiet_hours=hours), at(each)) for each in quiet)
    assert not any(is_quiet(hook(quiet_hours=hours), at(each)) for each in loud)


def test_quiet_hours_end_with_one_digest_of_what_has_ended(store: EventStore) -> None:
    """What still lasts is sent by itself, and so is its end."""
    device = Device(store, hook(quiet_hours=("13:00-15:00",)))
    for number in range(5):
        device.ends(device.begins(f"fan-{number}", score=0.5 + number / 10))
        device.now += 60
    lasting = device.begins("pump")
    assert device.deliver_for(HOUR_S) == []
    device.restart()
    assert device.deliver_for(HOUR_S) == [("digest", ""), ("began", "pump")]
    (digest,) = device.digests
    assert (digest.reason, digest.machines, digest.changes) == ("quiet_hours", 5, {"began": 5})
    assert [each.machine_id for each in digest.worst] == ["fan-4", "fan-3", "fan-2", "fan-1", "fan-0"]
    device.ends(lasting)
    assert device.deliver() == [("ended", "pump")]
    assert device.waiting() == 0


def test_an_end_in_quiet_hours_of_an_event_that_was_sent_follows_later(store: EventStore) -> None:
    """It is not lost in a digest: the receiver knows the event."""
    device = Device(store, hook(quiet_hours=("14:00-15:00",)))
    began = device.begins()
    assert device.deliver() == [("began", "fan-3")]
    device.now += HOUR_S + 60
    device.ends(began)
    assert device.deliver() == []
    assert device.deliver(HOUR_S) == [("ended", "fan-3")]


def test_alerts_are_sent_in_the_minute_in_which_quiet_hours_end() -> None:
    """Ranges end on a full minute of the clock."""
    assert next_minute(NOON + 1) == next_minute(NOON + 59.9) == NOON + 60


# Mute


def test_a_muted_sink_gets_nothing_and_later_only_what_lasts(store: EventStore) -> None:
    """What ended meanwhile is never sent."""
    device = Device(store, hook(muted_until="2026-11-29T14:00:00"))
    device.ends(device.begins("fan-1"))
    device.begins("fan-2")
    assert device.deliver_for(HOUR_S - 60) == []
    assert device.deliver_for(120) == [("began", "fan-2")]
    assert device.waiting() == 0


def test_a_time_that_cannot_be_read_is_refused() -> None:
    """When the sink is configured."""
    with pytest.raises(ValueError, match="was expected"):
        hook(muted_until="tomorrow")


# Digest in place of a storm


def test_a_storm_becomes_one_digest(store: EventStore) -> None:
    """1000 alarms of 50 machines within a minute: the first ones are sent, and one digest of all others."""
    device = Device(store, hook(digest_above=20, changes=("began",)))
    for number in range(1000):
        device.begins(f"fan-{number % 50}", score=0.5 + (number % 50) / 100)
        device.now += 0.05
        if number % 100 == 0:
            device.deliver()
    assert device.deliver_for(120, 1.0)[-1] == ("digest", "")
    assert device.delivered.count(("digest", "")) == 1
    assert len(device.delivered) == 21
    (digest,) = device.digests
    assert (digest.reason, digest.alerts, digest.machines, len(digest.events)) == ("storm", 980, 50, 980)
    assert (digest.worst[0].machine_id, digest.worst[0].score) == ("fan-49", 0.99)
    assert device.waiting() == 0
    assert device.deliver_for(300) == []


def test_alerts_up_to_the_limit_are_sent_by_themselves(store: EventStore) -> None:
    """Twenty in a minute are no storm, and the next minute has its own twenty."""
    device = Device(store, hook(digest_above=20))
    for _ in range(2):
        for number in range(20):
            device.begins(f"fan-{number}")
        assert len(device.deliver(61)) == 20
    assert not device.digests


def test_a_storm_survives_a_kill(store: EventStore) -> None:
    """A new process counts on, and makes one digest."""
    device = Device(store, hook(digest_above=5))
    for number in range(30):
        device.begins(f"fan-{number}")
    device.deliver()
    device.restart()
    device.deliver(30)
    device.restart()
    assert device.deliver(31) == [("digest", "")]
    assert len(device.delivered) == 6


def test_the_end_of_an_event_of_a_digest_is_not_sent_but_its_worsening_is(store: EventStore) -> None:
    """After the storm, a thousand ends would be another one."""
    device = Device(store, hook(digest_above=1))
    first, second, third = (device.begins(f"fan-{number}") for number in range(3))
    assert device.deliver_for(70) == [("began", "fan-0"), ("digest", "")]
    device.ends(first)
    device.ends(second)
    assert device.deliver(61) == [("ended", "fan-0")]
    device.worsens(third, 0.99)
    assert device.deliver(61) == [("worsened", "fan-2")]


def test_another_service_gets_every_event(store: EventStore) -> None:
    """It keeps the state of events: no digest, and of several changes that wait, the newest."""
    device = Device(store, ServiceSink(name="central", url="http://example.org"))
    for number in range(100):
        device.ends(device.worsens(device.begins(f"fan-{number}"), 0.9))
    assert device.deliver() == [("ended", f"fan-{number}") for number in range(100)]


# Clock


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S, -365 * 86_400])
def test_a_clock_that_jumps_holds_nothing_up(store: EventStore, jump_s: float) -> None:
    """Alerts before and after the jump arrive, within the bounds of a normal pause."""
    device = Device(store, hook())
    began = device.begins()
    device.outbox.failed(device.outbox.waiting("hook")[0], "away", device.now + 60)
    device.now += jump_s
    assert device.deliver_for(360) == [("began", "fan-3")]
    device.ends(began)
    assert device.deliver_for(60) == [("ended", "fan-3")]


def test_a_clock_that_is_set_back_does_not_make_a_storm_last(store: EventStore) -> None:
    """The minute of the count is in the future then."""
    device = Device(store, hook(digest_above=2))
    for number in range(4):
        device.begins(f"fan-{number}")
    device.deliver()
    device.now -= 7200
    assert [change for change, _ in device.deliver_for(180)].count("began") >= 1
    assert device.waiting() == 0


# Sent again


def test_what_a_person_sends_again_is_sent(store: EventStore) -> None:
    """No rule delays or drops it."""
    sink = hook(min_duration_s=60, quiet_hours=("00:00-24:00",))
    device = Device(store, sink)
    device.ends(device.begins())
    for _ in range(2):
        device.outbox.give_up(device.outbox.waiting("hook")[0], "410")
    device.outbox.send_again("hook")
    assert device.deliver() == [("began", "fan-3"), ("ended", "fan-3")]


def test_every_kind_of_sink_has_these_rules() -> None:
    """The default changes of e-mail are fewer."""
    kinds: list[Sink] = [hook(), mail(), MqttSink(name="mqtt", url="mqtt://broker")]
    assert [wants(each, ended(event(), NOON), "ended") for each in kinds] == [True, False, True]
    assert datetime.fromtimestamp(NOON, UTC).hour == 12


def test_an_event_that_was_deleted_is_sent_as_it_was(store: EventStore) -> None:
    """The alert has it."""
    device = Device(store, hook())
    began: Event = device.begins()
    store.remove([began.id])
    assert device.deliver() == [("began", "fan-3")]
