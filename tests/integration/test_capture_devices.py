"""Capture from a real PulseAudio, a real RTSP server and a real Icecast: sound, loss and return."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from listener.capture.device import device_reader
from listener.capture.devices import list_devices
from listener.capture.ffmpeg import stream_reader
from listener.capture.pcm_reader import PcmReader
from listener.config.source_types import DeviceSource, StreamSource
from testing.listening import Icecast, PulseServer, RtspServer
from testing.servers import wait_until
from testing.sound_feed import RATE_HZ, SoundFeed
from tests.capture import Receiver, running
from tests.complete import require_program

NOISE = {"noise": np.random.default_rng(4).integers(-9000, 9000, RATE_HZ).astype(np.int16)}


def device(name: str) -> PcmReader:
    """A reader of a device."""
    return device_reader(DeviceSource(name="hall", machine_id="fan-1", device=name))


def stream(url: str, transport: str = "tcp") -> PcmReader:
    """A reader of a stream with a short time limit."""
    values = {"name": "hall", "machine_id": "fan-1", "url": url, "transport": transport, "timeout_s": 1}
    return stream_reader(StreamSource.model_validate(values))


def assert_like_noise(receiver: Receiver) -> None:
    """The sound is what was played: its level is right."""
    samples = np.concatenate([block.samples for block in receiver.blocks])
    loud = samples[np.abs(samples).max(axis=1) > 0]
    assert np.sqrt(np.mean(loud**2)) == pytest.approx(9000 / 2**15 / np.sqrt(3), rel=0.1)


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """PulseAudio with one microphone, which this process uses too."""
    require_program("pulseaudio")
    require_program("parec")
    with PulseServer(tmp_path) as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield server


def pactl(*words: str) -> str:
    """The output of pactl."""
    return subprocess.run(("pactl", *words), check=True, capture_output=True, text=True, env=os.environ).stdout


def test_a_device_that_was_removed_is_not_replaced_by_another_one(pulse: PulseServer) -> None:
    """PulseAudio moves the sound to another microphone, which records another machine: this counts as lost.

    The device comes back under another number, and is found by its name.
    """
    with SoundFeed(NOISE, pulse.write) as feed, running(device(pulse.device)) as receiver:
        feed.play("noise")
        receiver.wait_for("listening")
        wait_until(lambda: receiver.seconds > 1)
        pactl("load-module", "module-null-sink", "sink_name=other")
        number = next(
            line.split()[0] for line in pactl("list", "short", "modules").splitlines() if "microphone" in line
        )
        pactl("unload-module", number)
        assert "Stream moved to device other" in receiver.wait_for("failed")
        wait_until(lambda: "No such entity" in receiver.states[-1][1])
        seconds = receiver.seconds
        pulse.plug_in()
        receiver.wait_for("listening", after="failed")
        wait_until(lambda: receiver.seconds > seconds + 1)
    assert_like_noise(receiver)
    assert len(receiver.gaps) == 1


def test_devices_are_listed_by_names_that_can_be_used(pulse: PulseServer) -> None:
    """And the default device is the one of PulseAudio."""
    assert pulse.device in [each.name for each in list_devices()]
    with SoundFeed(NOISE, pulse.write) as feed, running(device("default")) as receiver:
        feed.play("noise")
        receiver.wait_for("listening")
        wait_until(lambda: receiver.seconds > 1)
    assert_like_noise(receiver)


def test_without_a_server_of_sound_the_cause_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the program gave it."""
    require_program("parec")
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nothing")
    with running(device("pulse:mic")) as receiver:
        assert "Connection refused" in receiver.wait_for("failed")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_stream_that_stalls_is_opened_again(tmp_path: Path, transport: str) -> None:
    """The server stops without an end (SIGSTOP); it goes on, and the sound after it follows a gap."""
    require_program("ffmpeg")
    server, feed = RtspServer(tmp_path), SoundFeed(NOISE)
    feed.outputs.append(server.write)
    with server, feed, running(stream(server.url, transport)) as receiver:
        feed.play("noise")
        receiver.wait_for("listening")
        wait_until(lambda: receiver.seconds > 1)
        server.pause()
        receiver.wait_for("stalled")
        time.sleep(3)
        server.resume()
        receiver.wait_for("listening", after="stalled")
        seconds = receiver.seconds
        wait_until(lambda: receiver.seconds > seconds + 1)
    assert len(receiver.gaps) == 1
    assert receiver.gaps[0][0] > 3
    assert_like_noise(receiver)


def test_an_encoder_that_dies_is_awaited(tmp_path: Path) -> None:
    """Icecast ends the stream, answers 404 for a while, and has it again."""
    require_program("icecast2")
    require_program("ffmpeg")
    with Icecast(tmp_path) as server, SoundFeed(NOISE, server.write) as feed:
        feed.play("noise")
        with running(stream(server.url)) as receiver:
            receiver.wait_for("listening")
            wait_until(lambda: receiver.seconds > 1)
            server.encoder.kill()
            receiver.wait_for("failed")
            wait_until(lambda: "404" in receiver.states[-1][1])
            server.encoder.start()
            receiver.wait_for("listening", after="failed")
            seconds = receiver.seconds
            wait_until(lambda: receiver.seconds > seconds + 1)
    assert receiver.gaps
    assert_like_noise(receiver)
