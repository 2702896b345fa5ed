"""The processes behind the service: how they end, and what happens when one of them is killed."""

import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from testing.servers import Serve, ServerProcess, wait_until
from tests.integration.uploads import WAV_TYPE


def ended(process: psutil.Process) -> bool:
    """Whether it is gone, or only waits for somebody to read its exit status."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def workers(server: ServerProcess) -> list[psutil.Process]:
    """The API processes of a server that has several."""
    return [child for child in server.processes()[1:] if not ended(child)]


def judged(server: ServerProcess, wav: bytes) -> int:
    """The status of the answer to a recording, on a connection of its own."""
    return server.afresh("POST", "/v1/predict", content=wav, headers=WAV_TYPE).status_code


def both_serve(server: ServerProcess) -> bool:
    """Whether two processes have loaded the model."""
    return [line["message"] for line in server.lines()].count("serving") >= 2


@pytest.mark.parametrize("processes", [1, 2])
def test_on_sigterm_it_answers_first_what_it_has_begun(
    serve: Serve, original_home: Path, long_wav: bytes, processes: int
) -> None:
    """A recording that is being judged at SIGTERM is judged to the end; then nothing is left behind."""
    server = serve(original_home, processes=processes, inference_threads=1)
    running = server.processes()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(judged, server, long_wav)
        received = 'signalml_inference_stage_seconds_count{stage="receive"} 1.0'
        wait_until(lambda: received in server.client.get("/metrics").text)
        assert not asked.done()
        server.stop()
    assert asked.result() == 200
    wait_until(lambda: all(map(ended, running)))
    assert list(original_home.glob(".metrics-*")) == []


def test_counters_are_shown_while_a_process_is_about_to_count_for_the_first_time(
    serve: Serve, original_home: Path
) -> None:
    """Its file of counters is there but has no size yet: the others' are shown, and its own follow."""
    server = serve(original_home, processes=2)
    server.client.get("/health/live")
    (counters,) = original_home.glob(".metrics-*")
    (counters / "counter_999999.db").touch()
    for _ in range(4):
        shown = server.client.get("/metrics")
        assert shown.status_code == 200
        assert "signalml_requests_total{" in shown.text


def test_a_folder_of_counters_that_was_deleted_does_not_end_the_service(
    serve: Serve, original_home: Path, wav: bytes
) -> None:
    """A process that is started again finds the folder made again; what a killed service has left is removed."""
    left = original_home / ".metrics-left"
    left.mkdir()
    server = serve(original_home, processes=2)
    assert not left.exists()
    wait_until(lambda: both_serve(server))
    (counters,) = original_home.glob(".metrics-*")
    shutil.rmtree(counters)
    before = workers(server)
    for victim in before:
        victim.kill()
    wait_until(lambda: len(set(workers(server)) - set(before)) == 2)
    assert judged(server, wav) == 200
    assert "signalml_requests_total{" in server.client.get("/metrics").text


class Enduring(ServerProcess):
    """One that has for ever to end what is under way."""

    launched = ("-c", "from api import server; server.SHUTDOWN_S = 10**6; from cli.main import main; main()")


def test_on_sigterm_it_does_not_wait_for_idle_connections(serve: Serve, original_home: Path) -> None:
    """Clients that hold connections open, answered or silent, do not keep the service from ending."""
    server = serve(original_home, kind=Enduring, header_timeout_s=10**6)
    with server.connect() as silent, server.connect() as half:
        half.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        server.stop()
        assert silent.recv(1) == b""


def test_a_process_that_is_killed_is_replaced(serve: Serve, original_home: Path, wav: bytes) -> None:
    """kill -9 on one of two: the other goes on answering, and soon there are two again."""
    server = serve(original_home, processes=2)
    wait_until(lambda: both_serve(server))
    before = workers(server)
    assert len(before) == 2
    for victim in before:
        victim.kill()
        wait_until(lambda victim=victim: ended(victim))
        assert [judged(server, wav) for _ in range(10)] == [200] * 10
        wait_until(lambda: len(workers(server)) == 2)
    assert not set(before) & set(workers(server))


def test_killing_all_processes_at_once_does_not_end_the_service(serve: Serve, original_home: Path, wav: bytes) -> None:
    """When every API process is killed the service is back within seconds, without anybody's doing."""
    server = serve(original_home, processes=2)
    wait_until(lambda: both_serve(server))
    for worker in workers(server):
        worker.kill()
    wait_until(lambda: len(workers(server)) == 2)
    assert judged(server, wav) == 200


def test_processes_do_not_outlive_their_parent(serve: Serve, original_home: Path) -> None:
    """When the parent is killed its processes end, and the port is free for the next."""
    server = serve(original_home, processes=2)
    wait_until(lambda: both_serve(server))
    children = workers(server)
    server.kill()
    wait_until(lambda: all(map(ended, children)))
    with pytest.raises(ConnectionRefusedError):
        server.connect()


@pytest.mark.parametrize("delay_s", [0.05, 0.4, 0.7, 1.0, 1.3])
def test_on_sigterm_while_it_starts_it_ends(original_home: Path, tmp_path: Path, delay_s: float) -> None:
    """However early the signal comes, all processes end soon."""
    server = ServerProcess(original_home, tmp_path / "run", processes=2).launch()
    time.sleep(delay_s)
    running = server.processes()
    server.kill(signal.SIGTERM)
    wait_until(lambda: all(map(ended, running)))
