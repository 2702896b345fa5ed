"""Live listening with real microphones, streams and receivers: a fault is one event, and one alert at each sink."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import soundfile

from listener.config.files import sink_file
from listener.events.event import Event
from listener.events.event_time import to_seconds
from listener.events.store import EventStore
from testing.fans import (
    BEARING_HZ,
    CLIP_S,
    RULE,
    WITHIN_S,
    add_sources,
    events_of,
    fan_sounds,
    has_judged,
)
from testing.listening import Icecast, ListenerProcess, Mosquitto, PulseServer, RtspServer
from testing.receivers import MailServer, MqttSubscriber, WebhookReceiver
from testing.servers import Serve, wait_until
from testing.sound_feed import RATE_HZ, FolderRecorder, NamedPipe, SoundFeed
from tests.complete import require_listening_programs

KINDS = ("device", "rtsp", "icecast", "folder", "pipe", "mqtt")
WITHOUT_FOLDER = tuple(kind for kind in KINDS if kind != "folder")
BEFORE_S, FAULT_S = 2.0, 6.0
# From a sound to its samples: a microphone, an encoder, a file that must not change any more; and a busy computer.
DELAY_S = 4.0
ONCE_EACH = dict.fromkeys(KINDS, 1)


class Watched(NamedTuple):
    """A fault that sources of all kinds recorded, and what came of it.

    Attributes:
        began, ended: times of the fault, in seconds since 1970.
        events: events of the listener, by machine; a source's machine has its name.
        alarmed: times at which the events were written first, by machine.
        clips: sound of their clips, by machine.
        alerts: machine and change of each alert, by sink.
        ids: ids of the alerts of the webhook.
        reported: events of the central service, by machine.
        downloads: clips of the central service, by machine.
        retained: topics of retained messages of the broker.
    """

    began: float
    ended: float
    events: Mapping[str, Sequence[Event]]
    alarmed: Mapping[str, float]
    clips: Mapping[str, np.ndarray]
    alerts: Mapping[str, Sequence[tuple[str, str]]]
    ids: Sequence[str]
    reported: Mapping[str, Mapping[str, Any]]
    downloads: Mapping[str, bytes]
    retained: Sequence[str]


@pytest.fixture(scope="module")
def watched(fan_home: Path, serve_for_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """One listener with sources of all kinds and four sinks, while a healthy fan has a fault for six seconds."""
    require_listening_programs()
    folder = tmp_path_factory.mktemp("watched")
    home = Path(shutil.copytree(fan_home, folder / "home"))
    central = serve_for_all(folder / "central", wait_for="/livez")
    with ExitStack() as stack:
        pulse, rtsp, icecast, broker = (
            stack.enter_context(each(folder)) for each in (PulseServer, RtspServer, Icecast, Mosquitto)
        )
        phone, webhook = stack.enter_context(MqttSubscriber(broker.port)), stack.enter_context(WebhookReceiver())
        mail, pipe = stack.enter_context(MailServer()), stack.enter_context(NamedPipe(folder / "pcm"))
        recorder = FolderRecorder(folder / "recordings", CLIP_S)
        chunks = in_chunks(lambda data: phone.send("sound/fan", data))
        outputs = (pulse.write, rtsp.write, icecast.write, pipe.write, recorder.write, chunks)
        feed = stack.enter_context(SoundFeed(fan_sounds(), *outputs))
        add_sources(
            home,
            device={"kind": "device", "device": pulse.device},
            rtsp={"kind": "stream", "url": rtsp.url},
            icecast={"kind": "stream", "url": icecast.url},
            folder={"kind": "folder", "path": str(folder / "recordings"), "settle_s": 0.2},
            pipe={"kind": "pipe", "path": str(folder / "pcm")},
            mqtt={"kind": "mqtt", "url": broker.url, "topic": "sound/fan"},
        )
        mail_sink = {"kind": "email", "server": mail.url, "without_tls": True, "sender": "a@b.example"}
        for name, sink in {
            "webhook": {"kind": "webhook", "url": webhook.url, "allow_private": True},
            "broker": {"kind": "mqtt", "url": broker.url, "home_assistant": True},
            "mail": {**mail_sink, "to": ["c@d.example"], "rules": {"changes": ["began"]}},
            "central": {"kind": "service", "url": central.base_url},
        }.items():
            sink_file(home).add({"name": name, **sink})
        feed.play("healthy")
        listener = ListenerProcess(home, folder, pulse.variables, clip_before_s=BEFORE_S, **RULE)
        stack.enter_context(listener)
        wait_until(lambda: has_judged(listener, KINDS), WITHIN_S)
        began = feed.play("faulty")
        feed.wait(FAULT_S)
        ended = feed.play("healthy")
        wait_until(lambda: Counter(each.machine_id for each in events_of(home) if each.ended) == ONCE_EACH, WITHIN_S)
        # The sound that an event had until its end is written after it.
        feed.wait(2 * CLIP_S)
        wait_until(lambda: not any(each.waiting for each in listener.client.status().sinks), WITHIN_S)
        reported = {each["machine_id"]: each for each in central.client.get("/v1/events").json()["events"]}
        downloads = {kind: download(central.client, each["id"]) for kind, each in reported.items()}
        retained = [each.topic for each in phone.messages if each.topic.startswith(("homeassistant/", "signalml/mach"))]
        listener.stop()
        messages = [each.json() for each in webhook.received]
        published = [each.json() for each in phone.of("signalml/events/#")]
        subjects = [str(each["subject"]).split()[0] for each in mail.messages]
    found = events_of(home)
    return Watched(
        began,
        ended,
        {kind: [each for each in found if each.machine_id == kind] for kind in KINDS},
        {each.machine_id: first_written(home, each.id) for each in found},
        {each.machine_id: read_clip(home, each) for each in found},
        {
            "webhook": [(each["data"]["machine_id"], each["type"]) for each in messages],
            "broker": [(each["data"]["machine_id"], each["type"]) for each in published],
            "mail": [(machine, "event.began") for machine in subjects],
        },
        [each["id"] for each in messages],
        reported,
        downloads,
        retained,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_one_event_that_begins_in_time_and_ends_after_it(watched: Watched, kind: str) -> None:
    (event,) = watched.events[kind]
    # The first anomalous clip may have begun before the fault; so may a drop-out of the virtual microphone.
    earliest = -CLIP_S * (RULE["alarm_of"] if kind == "device" else 1) - 0.5
    assert earliest <= to_seconds(event.began) - watched.began <= CLIP_S + DELAY_S
    assert watched.alarmed[kind] - watched.began <= CLIP_S + RULE["alarm_raise"] * CLIP_S + DELAY_S
    assert event.state == "ended"
    assert event.ended is not None
    assert 0 < to_seconds(event.ended) - watched.ended <= CLIP_S + RULE["alarm_of"] * CLIP_S + DELAY_S
    assert event.score > event.threshold
    assert event.reasons


@pytest.mark.parametrize("kind", WITHOUT_FOLDER)
def test_its_clip_holds_the_fault_and_what_came_before(watched: Watched, kind: str) -> None:
    (event,) = watched.events[kind]
    assert event.clip is not None
    # The clip begins two seconds before the event, which may begin a clip before the fault.
    has_tone = tone_seconds(watched.clips[kind])
    assert not has_tone[: int(BEFORE_S) * 2].any()
    assert has_tone.sum() >= (FAULT_S - 1) * 2
    assert np.diff(np.flatnonzero(has_tone)).max() == 1  # without a gap


def test_the_clip_of_a_recording_is_the_recording(watched: Watched) -> None:
    assert len(watched.clips["folder"]) == CLIP_S * RATE_HZ
    assert tone_seconds(watched.clips["folder"]).all()


@pytest.mark.parametrize("sink", ["webhook", "broker"])
def test_a_sink_gets_the_begin_and_the_end_once_each(watched: Watched, sink: str) -> None:
    expected = {(kind, change): 1 for kind in KINDS for change in ("event.began", "event.ended")}
    found = Counter(each for each in watched.alerts[sink] if each[1] != "event.worsened")
    assert found == expected
    for kind in KINDS:
        of_machine = [change for machine, change in watched.alerts[sink] if machine == kind]
        assert (of_machine[0], of_machine[-1]) == ("event.began", "event.ended")


def test_each_alert_has_an_id_of_its_own(watched: Watched) -> None:
    assert len(set(watched.ids)) == len(watched.ids)


def test_a_person_gets_one_mail_for_each_alarm(watched: Watched) -> None:
    assert Counter(watched.alerts["mail"]) == {(kind, "event.began"): 1 for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_another_service_has_the_event_with_its_clip(watched: Watched, kind: str) -> None:
    (event,), reported = watched.events[kind], watched.reported[kind]
    assert len(watched.reported) == len(KINDS)
    assert (reported["id"], reported["state"], reported["ended"]) == (event.id, "ended", event.ended)
    assert event.clip is not None
    assert reported["clip"]["duration_s"] == event.clip.duration_s  # the whole clip, which is written after the end
    assert watched.downloads[kind].startswith(b"fLaC")


@pytest.mark.parametrize("kind", KINDS)
def test_home_assistant_knows_the_machine(watched: Watched, kind: str) -> None:
    assert any(topic.startswith("homeassistant/device/") and kind in topic for topic in watched.retained)
    assert f"signalml/machines/{kind}/state" in watched.retained


def in_chunks(send: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Return an output of a feed that sends a tenth of a second at a time."""
    waiting = bytearray()

    def write(data: bytes) -> None:
        waiting.extend(data)
        if len(waiting) >= RATE_HZ // 5:
            send(bytes(waiting))
            waiting.clear()

    return write


def first_written(home: Path, event_id: str) -> float:
    """Return the time at which an event was written first, in seconds since 1970."""
    with EventStore(home) as store:
        return to_seconds(store.changes_of(event_id)[0][1])


def read_clip(home: Path, event: Event) -> np.ndarray:
    """Return the samples of the clip of an event."""
    assert event.clip is not None
    samples, rate_hz = soundfile.read(home / "listener" / "clips" / event.clip.file)
    assert rate_hz == RATE_HZ
    assert abs(len(samples) / rate_hz - event.clip.duration_s) < 0.01
    return np.asarray(samples)


def tone_seconds(samples: np.ndarray) -> np.ndarray:
    """Return for each half second whether it has the tone of the fault."""
    halves = samples[: len(samples) // (RATE_HZ // 2) * (RATE_HZ // 2)].reshape(-1, RATE_HZ // 2)
    power = np.square(np.abs(np.fft.rfft(halves * np.hanning(halves.shape[1]))))
    near = slice(int(BEARING_HZ / 2) - 10, int(BEARING_HZ / 2) + 11)
    return np.asarray(power[:, near].sum(axis=1) > 0.05 * power.sum(axis=1))


def download(client: httpx.Client, event_id: str) -> bytes:
    """Return the clip of an event of a service."""
    return client.get(f"/v1/events/{event_id}/clip").content
