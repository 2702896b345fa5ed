"""``signalml listen`` as a process: from sound on stdin to lines and a view, and its end; and in ``signalml run``."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from listener.events.store import EventStore
from listener.live.client import ListenerClient
from ml.errors import ListenerNotRunning
from testing.servers import PATIENCE_S, ROOT, environment, wait_until
from testing.sound_feed import RATE_HZ, SoundFeed
from tests import sounds
from tests.commands import assert_one_sentence, signalml, start, succeeds

PIPE = ("--source", "pipe:-", "--machine", "fan-3", "--clip", "1")


def int16(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    """Samples as a microphone gives them."""
    return (samples[:, 0] * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)


SOUNDS = {
    "healthy": int16(sounds.fan(4.0)),
    "faulty": int16(sounds.sine(440, RATE_HZ, RATE_HZ, 0.5)),
}


class Listening:
    """A running ``signalml listen`` with sound on stdin.

    Args:
        home: its SIGNALML_HOME.
        words: its arguments.
        terminal: whether its output is a terminal with 80 columns.
    """

    def __init__(self, home: Path, *words: str, terminal: bool = False) -> None:
        self._reader, writer = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.errors = home.parent / "errors.log"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "listen", *words],
                env=environment(home=home, alarm_raise=2, alarm_of=3, alarm_clear=0),
                cwd=home.parent,
                stdin=subprocess.PIPE,
                stdout=writer,
                stderr=writer if terminal else errors,
                start_new_session=True,
                bufsize=0,
            )
        os.close(writer)
        assert self.process.stdin is not None
        self.stdin = self.process.stdin
        self._output = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return self._output.decode(errors="replace")

    def shows(self, pattern: str) -> bool:
        """Whether its output has this pattern."""
        assert self.process.poll() is None, self.output + self.errors.read_text()
        return re.search(pattern, self.output) is not None

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_S)
        self._thread.join(5)
        return status

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stdin.close()
        os.close(self._reader)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._reader, 2**16)
            except OSError:  # the end of a terminal
                return
            if not data:
                return
            self._output += data


@contextmanager
def listening(home: Path, *words: str, terminal: bool = False) -> Iterator[tuple[Listening, SoundFeed]]:
    """A running listener, and the sound that it gets."""
    running = Listening(home, *words, terminal=terminal)

    def write(data: bytes) -> None:
        with suppress(BrokenPipeError):  # it has ended
            running.stdin.write(data)

    try:
        with SoundFeed(SOUNDS, write) as feed:
            yield running, feed
    finally:
        running.close()


def test_sound_on_stdin_becomes_lines_and_an_event(home: Path) -> None:
    """A line for each state, each verdict and each change of an event; Ctrl-C ends it, and the event with it."""
    with listening(home, *PIPE) as (running, feed):
        feed.play("healthy")
        wait_until(lambda: running.shows(r"pipe \(fan-3\)  normal  score 0\.\d{3} of 0\.\d{3}"))
        assert running.shows(r"pipe \(fan-3\)  listening")
        feed.play("faulty")
        wait_until(lambda: running.shows("began +fan-3"))
        assert running.shows(r"pipe \(fan-3\)  anomalous")
        watched = signalml(home, "sources", "--json")
        assert json.loads(watched.stdout) == []  # the source of the command line is none of the home
        assert_one_sentence(signalml(home, "listen", "--quiet"), "Another listener", "--watch")
        watching = start(home, "listen", "--watch")
        assert watching.stdout is not None
        assert "pipe (fan-3)" in watching.stdout.readline()
        assert running.stop() == 0
    assert watching.wait(PATIENCE_S) == 0  # it ends with the listener
    watching.communicate()
    assert "\x1b" not in running.output
    assert "Traceback" not in running.errors.read_text()
    with EventStore(home) as store:
        (event,) = store.page().events
    assert (event.machine_id, event.state) == ("fan-3", "interrupted")
    assert event.id in succeeds(home, "events")
    with pytest.raises(ListenerNotRunning):
        ListenerClient(home).status()


def test_a_terminal_shows_it_live_in_80_columns(home: Path) -> None:
    """Level, score against threshold, state and last events; SIGTERM leaves the terminal usable."""
    with listening(home, *PIPE, terminal=True) as (running, feed):
        feed.play("faulty")
        wait_until(lambda: running.shows("began +fan-3"))
        assert running.shows(r"level  .*-?\d+ dBFS")
        assert running.shows(r"score  .*│.* 0\.\d{3} of 0\.\d{3}")
        assert running.stop(signal.SIGTERM) == 0
    assert running.output.rstrip().endswith("\x1b[?25h")  # the cursor is shown again
    assert "interrupted" in running.output.rpartition("Last events")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", running.output.replace("\x1b[1A", "\n"))  # one line up
    assert not [line for line in re.split(r"[\r\n]+", plain) if len(line) > 80]
    assert "XNNPACK" not in plain


def test_without_a_model_the_sentence_names_what_to_do(tmp_path: Path) -> None:
    """And the listener goes on: a model that is promoted later judges."""
    with listening(tmp_path / "home", *PIPE) as (running, feed):
        feed.play("healthy")
        wait_until(lambda: running.shows("no_model: .*signalml demo"))
        assert running.stop() == 0


def test_the_health_check_of_the_image_asks_the_listener(home: Path) -> None:
    """The command of Dockerfile.listener succeeds while a listener runs, also without sources, and fails without."""
    text = (ROOT / "Dockerfile.listener").read_text()
    command = json.loads(re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])\n", text, re.S)[0])

    def status() -> int:
        words = [sys.executable, *command[1:]]
        return subprocess.run(words, env=environment(home=home), capture_output=True, check=False).returncode

    assert status() != 0
    running = Listening(home, "--quiet")
    try:
        wait_until(lambda: status() == 0)
        assert running.stop(signal.SIGTERM) == 0
        assert running.output == ""
    finally:
        running.close()


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("--source", "pipe:-"), ["--machine"]),
        (("--source", "nosuch:thing", "--machine", "fan-3"), ["nosuch:thing", "device:default"]),
        (("--source", "file:///etc/passwd", "--machine", "fan-3"), ["file:///etc/passwd"]),
        (("--source", "device:hw:0", "--machine", "fan-3"), ["device: ", "pulse:NAME"]),
        (("--source", "mqtt://broker", "--machine", "fan-3"), ["topic"]),
        (("--machine", "fan-3"), ["--machine needs --source"]),
        (("--watch",), ["signalml listen"]),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_source_that_cannot_be_used_is_refused(home: Path, words: tuple[str, ...], fragments: list[str]) -> None:
    """In one sentence, before anything starts."""
    assert_one_sentence(signalml(home, "listen", *words), *fragments)
