"""Reconnects of one stream: what is left of processes, descriptors, threads and memory.

::

    python -m benchmarks.listening.reconnects [--reconnects 200]

A server sends noise in real time over HTTP. Again and again the connection ends in one of four ways, in turn: ffmpeg is
killed, ffmpeg is stopped (SIGSTOP), the server closes the connection, the server sends nothing more. After each the
sound must come again. Every tenth time the wall clock is set forward or back by an hour. Waiting times, time limits and
programs are those of a user.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from listener.capture.ffmpeg import stream_reader
from listener.capture.pcm_reader import PcmReader
from listener.sound import SoundBlock, SourceState
from listener.source_types import StreamSource
from testing.clocks import FakeClock
from testing.servers import wait_until

RATE_HZ, CHUNK_S = 16_000, 0.05
SOUND_S = 1.0  # of sound between two failures
WARM_UP = 20  # reconnects before the first count: memory of a process settles
JUMP_EVERY, HOUR_S = 10, 3600
WITHIN_S = 60.0
WAV = bytes.fromhex("52494646ffffffff57415645666d74201000000001000100803e0000007d00000200100064617461ffffffff")


class Handler(BaseHTTPRequestHandler):
    """Sends noise in real time."""

    def do_GET(self) -> None:
        """Send until the server is told to close, or the client has gone."""
        server = self.server
        assert isinstance(server, Server)
        server.closing.clear()
        server.silent.clear()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WAV)
        with suppress(OSError):
            while not server.closing.wait(CHUNK_S):
                if not server.silent.is_set():
                    self.wfile.write(os.urandom(2 * int(RATE_HZ * CHUNK_S)))

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


class Server(ThreadingHTTPServer):
    """Server of the stream; it runs in a process of its own, so that its threads do not count."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.closing, self.silent = threading.Event(), threading.Event()


def serve() -> None:
    """Serve; each line of stdin is a command."""
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    for line in sys.stdin:
        {"close": server.closing, "silence": server.silent}[line.strip()].set()


class Receiver:
    """Counts sound, gaps and states."""

    def __init__(self) -> None:
        self.seconds, self.gaps = 0.0, 0
        self.states: dict[str, int] = {}

    def receive(self, block: SoundBlock) -> None:
        """Count a block."""
        self.seconds += len(block.samples) / block.sample_rate_hz

    def report_gap(self, seconds: float, cause: str) -> None:
        """Count a gap."""
        self.gaps += 1

    def report_state(self, state: SourceState, cause: str = "") -> None:
        """Count a state."""
        self.states[state] = self.states.get(state, 0) + 1

    def judge_recording(self, *_: Any) -> None:
        """Not for sound in blocks."""


def count() -> dict[str, float]:
    """Return what this process holds."""
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(process.children(recursive=True)),
        "memory_mib": round(process.memory_info().rss / 2**20, 2),
    }


def failures(server: "subprocess.Popen[str]") -> list[Callable[[], None]]:
    """Return the ways in which a connection ends."""

    def program() -> psutil.Process:
        return next(each for each in psutil.Process().children() if each.pid != server.pid)

    def command(word: str) -> None:
        assert server.stdin is not None
        server.stdin.write(f"{word}\n")
        server.stdin.flush()

    return [
        lambda: program().send_signal(signal.SIGKILL),
        lambda: program().send_signal(signal.SIGSTOP),
        lambda: command("close"),
        lambda: command("silence"),
    ]


def reconnect(reader: PcmReader, receiver: Receiver, fail: Callable[[], None]) -> float:
    """End one connection, and wait for sound of the next one; returns the time that this took, in seconds."""
    starts, began = reader.starts, time.monotonic()
    fail()
    wait_until(lambda: reader.starts > starts, WITHIN_S)
    seconds = receiver.seconds
    wait_until(lambda: receiver.seconds > seconds, WITHIN_S)
    took = time.monotonic() - began
    wait_until(lambda: receiver.seconds > seconds + SOUND_S, WITHIN_S)
    return took


@contextmanager
def running(port: int) -> Iterator[tuple[PcmReader, Receiver]]:
    """A reader of the stream in a thread."""
    reader = stream_reader(StreamSource(name="hall", machine_id="fan-1", url=f"http://127.0.0.1:{port}/"))
    receiver = Receiver()
    thread = threading.Thread(target=reader.run, args=(receiver,))
    thread.start()
    try:
        yield reader, receiver
    finally:
        reader.stop()
        thread.join()


def measure(reconnects: int, clock: Callable[[int], None]) -> dict[str, Any]:
    """Reconnect so often; returns the counts before and after, and the times."""
    command = [sys.executable, "-m", "benchmarks.listening.reconnects", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        idle = count()
        with running(int(server.stdout.readline())) as (reader, receiver):
            wait_until(lambda: receiver.seconds > SOUND_S, WITHIN_S)
            ways, times, before = failures(server), [], count()
            for number in range(WARM_UP + reconnects):
                if number == WARM_UP:
                    before, gaps = count(), receiver.gaps
                if number % JUMP_EVERY == 0:
                    clock(HOUR_S * (number // JUMP_EVERY % 3 - 1))
                times.append(reconnect(reader, receiver, ways[number % len(ways)]))
            after = count()
        result = {
            "reconnects": reconnects,
            "while_it_runs": {"before": before, "after": after},
            "idle": {"before": idle, "after": count()},
            "gaps": receiver.gaps - gaps,
            "states": receiver.states,
            "longest_s": round(max(times), 1),
            "median_s": round(sorted(times)[len(times) // 2], 1),
        }
        server.kill()
    return result


def main() -> None:
    """Measure in a process whose wall clock can be set."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reconnects", type=int, default=200)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--clock", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.clock is not None:
        clock = FakeClock.__new__(FakeClock)
        clock._file = options.clock
        print(json.dumps(measure(options.reconnects, clock.shift), indent=2))
    else:
        with tempfile.TemporaryDirectory() as folder, FakeClock(Path(folder)).applied():
            command = [sys.executable, "-m", "benchmarks.listening.reconnects", "--clock", f"{folder}/offset"]
            subprocess.run([*command, "--reconnects", str(options.reconnects)], check=True)


if __name__ == "__main__":
    main()
