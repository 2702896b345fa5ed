"""Reconnects of one stream: what is left of processes, descriptors, threads and memory.

::

    python -m benchmarks.listening.reconnects [--reconnects 200]

A server sends noise in real time over HTTP. Again and again the connection ends in one of four ways, in turn: ffmpeg is
killed, ffmpeg is stopped (SIGSTOP), the server closes the connection, the server sends nothing more. After each the
sound must come again. Meanwhile the wall clock is set forward and back by an hour. Waiting times, time limits and
programs are those of a user. Four sources do it at the same time, each with its server. Nothing may be left over, each
reconnect must be one gap, and none may take longer than 15 s after the time limit of the stream.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from listener.capture.ffmpeg import stream_reader
from listener.capture.program import Program
from listener.config.source_types import StreamSource
from listener.sound import SoundBlock, SourceState
from testing.clocks import FakeClock
from testing.servers import wait_until

RATE_HZ, CHUNK_S = 16_000, 0.05
SOUND_S = 1.0  # of sound between two failures
SOURCES = 4
WARM_UP = 4  # reconnects of each source before the first count: the memory of a process settles
JUMP_EVERY_S, HOUR_S = 7.0, 3600
WITHIN_S = 60.0
MOST_GROWTH_MIB = 1.0
HEALED_WITHIN_S = 5.0 + 15.0  # the time limit of the stream, and the longest way back
WAV = bytes.fromhex("52494646ffffffff57415645666d74201000000001000100803e0000007d00000200100064617461ffffffff")


class Handler(BaseHTTPRequestHandler):
    """Sends noise in real time."""

    def do_GET(self) -> None:
        """Send until the server gets the command to close, or the client has gone."""
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

    def report_gap(self, _seconds: float, _cause: str) -> None:
        """Count a gap."""
        self.gaps += 1

    def report_state(self, state: SourceState, _cause: str = "") -> None:
        """Count a state."""
        self.states[state] = self.states.get(state, 0) + 1

    def judge_recording(self, *_: Any) -> None:
        """Not for sound in blocks."""


class Source:
    """One source with its server.

    Attributes:
        receiver: what was received.
        times: times from each failure to sound again, in seconds.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.listening.reconnects", "--serve"]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        url = f"http://127.0.0.1:{self._server.stdout.readline().strip()}/"
        self._reader = stream_reader(StreamSource(name="hall", machine_id="fan-1", url=url))
        self.receiver = Receiver()
        self.times: list[float] = []
        self._thread = threading.Thread(target=self._reader.run, args=(self.receiver,))

    def start(self) -> None:
        """Start the reader, and wait for sound."""
        self._thread.start()
        wait_until(lambda: self.receiver.seconds > SOUND_S, WITHIN_S)

    def stop(self) -> None:
        """End the reader."""
        self._reader.stop()
        self._thread.join()

    def close(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.communicate()

    def reconnect(self, reconnects: int) -> None:
        """End the connection again and again, and wait each time for sound."""
        for number in range(reconnects):
            starts, seconds, began = self._reader.starts, self.receiver.seconds, time.monotonic()
            self._fail(number % 4)
            wait_until(lambda: self._reader.starts > starts, WITHIN_S)  # noqa: B023 - called at once
            seconds = self.receiver.seconds
            wait_until(lambda: self.receiver.seconds > seconds, WITHIN_S)  # noqa: B023 - called at once
            self.times.append(time.monotonic() - began)
            wait_until(lambda: self.receiver.seconds > seconds + SOUND_S, WITHIN_S)  # noqa: B023 - called at once

    def _fail(self, way: int) -> None:
        if way < 2:
            connection = self._reader._connection
            assert connection is not None
            assert isinstance(connection._source, Program)
            os.kill(connection._source.pid, (signal.SIGKILL, signal.SIGSTOP)[way])
            return
        assert self._server.stdin is not None
        self._server.stdin.write(("close\n", "silence\n")[way - 2])
        self._server.stdin.flush()


def count() -> dict[str, float]:
    """Return what this process holds, once threads that ended have left the system."""
    time.sleep(1)
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "children": len(process.children(recursive=True)),
        "memory_mib": round(process.memory_info().rss / 2**20, 2),
    }


def reconnect_all(sources: list[Source], each: int) -> None:
    """Let all sources reconnect so often, at the same time."""
    threads = [threading.Thread(target=source.reconnect, args=(each,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def jumping(clock: Callable[[int], None]) -> Iterator[None]:
    """Set the wall clock forward and back by an hour, again and again."""
    stopped = threading.Event()

    def jump() -> None:
        for hours in itertools.cycle((1, 0, -1, 0)):
            if stopped.wait(JUMP_EVERY_S):
                return
            clock(hours * HOUR_S)

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def measure(reconnects: int, clock: Callable[[int], None]) -> dict[str, Any]:
    """Reconnect so often; returns the counts before and after, and the times."""
    sources = [Source() for _ in range(SOURCES)]
    idle = count()
    for source in sources:
        source.start()
    reconnect_all(sources, WARM_UP)
    before, gaps = count(), sum(source.receiver.gaps for source in sources)
    with jumping(clock):
        reconnect_all(sources, reconnects // SOURCES)
    after, gaps = count(), sum(source.receiver.gaps for source in sources) - gaps
    for source in sources:
        source.stop()
    times = sorted(each for source in sources for each in source.times[WARM_UP:])
    result = {
        "reconnects": len(times),
        "while_they_run": {"before": before, "after": after},
        "idle": {"before": idle, "after": count()},
        "gaps": gaps,
        "states": sum((Counter(source.receiver.states) for source in sources), Counter()),
        "median_s": round(times[len(times) // 2], 1),
        "longest_s": round(times[-1], 1),
    }
    for source in sources:
        source.close()
    return result


def problems(result: dict[str, Any]) -> list[str]:
    """Return what is not as it must be."""
    before, after = result["while_they_run"]["before"], result["while_they_run"]["after"]
    found = [f"more {name}" for name in ("descriptors", "threads", "children") if after[name] > before[name]]
    if after["memory_mib"] - before["memory_mib"] > MOST_GROWTH_MIB:
        found.append("more memory")
    if result["gaps"] != result["reconnects"]:
        found.append("gaps that are none, or gaps without a report")
    if result["longest_s"] > HEALED_WITHIN_S:
        found.append("a reconnect took too long")
    return found


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
        result = measure(options.reconnects, clock.shift)
        print(json.dumps(result, indent=2))
        if found := problems(result):
            sys.exit("; ".join(found))
    else:
        with tempfile.TemporaryDirectory() as folder, FakeClock(Path(folder)).applied():
            command = [sys.executable, "-m", "benchmarks.listening.reconnects", "--clock", f"{folder}/offset"]
            sys.exit(subprocess.run([*command, "--reconnects", str(options.reconnects)], check=False).returncode)


if __name__ == "__main__":
    main()
