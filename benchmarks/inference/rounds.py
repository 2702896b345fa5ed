"""The measuring itself: the two ways take turns, and only one server is there at a time."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.inference import load, servers
from benchmarks.inference.inprocess import TimerProcess
from benchmarks.inference.samples import REPOSITORY, read_recordings
from benchmarks.inference.servers import RunningServer, ServerSpec
from benchmarks.inference.summary import Round, load_key

PROBABILITY_TOLERANCE = 0.02
WARM_UP_S = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how often. Times in seconds.

    Attributes:
        seconds: of each measurement over HTTP, half as long in process; ``lead_s`` before it is not counted.
        rounds: how often the two take turns.
        clients: at once, beside the measurement with one.
        pause_s: of quiet after a server has stopped.
    """

    seconds: float
    lead_s: float
    rounds: int
    clients: int
    pause_s: float


class WrongAnswer(RuntimeError):
    """A server answers a recording with something else than ``expected.json`` has."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Where everything lies, and where progress is reported.

    Attributes:
        plan: how long and how often.
        data: folder with ``seed/`` in it.
        home: of this service, with a champion in its registry.
        report: told what is being done.
    """

    plan: Schedule
    data: Path
    home: Path
    report: Callable[[str], None]

    def over_http(self, pair: Sequence[ServerSpec]) -> dict[str, list[Round]]:
        """Measure both servers, round by round.

        Raises:
            WrongAnswer, ServerFailed
        """
        for server in pair:
            self.report(f"{server.name}: trying the four recordings")
            self._rehearse(server)
        measured: dict[str, list[Round]] = {server.name: [] for server in pair}
        for number, server in self._in_turns(pair):
            time.sleep(self.plan.pause_s)
            measured[server.name].append(self._visit(number, server))
        return measured

    def in_process(self, ways: Sequence[str]) -> dict[str, list[Round]]:
        """Measure without HTTP, each way in a process of its own."""
        measured: dict[str, list[Round]] = {way: [] for way in ways}
        with ExitStack() as stack:
            workers = {way: stack.enter_context(TimerProcess(way, self.data, self.home)) for way in ways}
            for way, worker in workers.items():
                self.report(f"in process: warming up {way}")
                worker.measure(min(WARM_UP_S, self.plan.seconds))
            for number, way in self._in_turns(ways):
                self.report(f"round {number + 1}, in process: {way}")
                measured[way].append(workers[way].measure(self.plan.seconds / 2))
        return measured

    def _in_turns(self, all_: Sequence[T]) -> Iterator[tuple[int, T]]:
        """A B, B A, A B, ...: a drift of the machine falls on all alike."""
        for number in range(self.plan.rounds):
            for one in all_ if number % 2 == 0 else reversed(all_):
                yield number, one

    def _rehearse(self, server: ServerSpec) -> None:
        """Start once, uncounted: files come into the system's cache, compiled code is kept, and answers are checked."""
        with servers.run_server(server, self._log) as up:
            for sample in read_recordings(self.data):
                details = load.post(up.port, "/inference", sample)["Details"]
                differences = [abs(a - b) for a, b in zip(details["Probabilities"], sample.probabilities, strict=True)]
                if details["Message"] != sample.message or max(differences) > PROBABILITY_TOLERANCE:
                    raise WrongAnswer(f"{server.name} answers {sample.name} with {details}")

    def _visit(self, number: int, server: ServerSpec) -> Round:
        """Start a server, measure it, stop it."""
        say = partial(self._say_of, number, server)
        say("starting")
        with servers.run_server(server, self._log) as up:
            memory_ready = up.memory()
            load.post(up.port, server.routes[0], read_recordings(self.data)[0])
            first_answer_s = time.perf_counter() - up.started
            say("warming up")
            self._load(up, server.routes[0], 2, 0, min(WARM_UP_S, self.plan.seconds))
            loads: dict[str, Any] = {}
            memory_loaded = {}
            for route in server.routes:
                for clients in (1, self.plan.clients):
                    say(f"{route}, clients: {clients}")
                    loads[load_key(route, clients)] = self._load(
                        up, route, clients, self.plan.lead_s, self.plan.seconds
                    )
                memory_loaded[route] = asdict(up.memory())
        return {
            "ready_s": up.ready_s,
            "first_answer_s": first_answer_s,
            "memory_ready": asdict(memory_ready),
            # After the route that both have, so that neither has done more than the other.
            "memory_loaded": memory_loaded[server.routes[0]],
            "load": loads,
        }

    def _load(self, up: RunningServer, route: str, clients: int, lead_s: float, seconds: float) -> dict[str, Any]:
        """Run the load client, in a process of its own."""
        options = {"port": up.port, "route": route, "clients": clients, "lead": lead_s, "seconds": seconds}
        command = [sys.executable, "-m", "benchmarks.inference.load", "--data", str(self.data.resolve())]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured

    def _say_of(self, number: int, server: ServerSpec, what: str) -> None:
        self.report(f"round {number + 1}, {server.name}: {what}")

    @property
    def _log(self) -> Path:
        return self.home / "server.log"
