"""The record of machines never stands in the way of uploads: held by another, damaged, removed, without room."""

import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testing.servers import Serve, ServerProcess, assert_problem, wait_until
from tests.disks import fill, small_disk
from tests.integration.machines import (
    FILE,
    LOST,
    SEEN,
    count_verdicts,
    health,
    judged_of,
    locked_record,
    metric,
    upload,
    wait_for_verdicts,
)


class Steadfast(ServerProcess):
    """One that waits for its record for as long as another holds it, also after SIGTERM."""

    launched = (
        "-c",
        "from api import machine_recorder; machine_recorder.STOP_WITHIN_S = 10**5\n"
        "from ml.machines import schema; schema.BUSY_S = 10**5\n"
        "from cli.main import main; main()",
    )


def test_on_sigterm_it_records_first_what_it_has_answered(serve: Serve, home: Path, healthy: bytes) -> None:
    """Whoever was answered is remembered, though the record was held by another when the process got SIGTERM."""
    server = serve(home, kind=Steadfast)
    upload(server, healthy, 1, before=0)
    with ThreadPoolExecutor(1) as pool:
        with locked_record(home):
            for _ in range(5):
                judged_of(server, healthy)
            stopped = pool.submit(server.stop)
            time.sleep(0.5)  # it has received the signal
        stopped.result()
    wait_for_verdicts(serve(home), 6)


def test_killed_it_keeps_every_verdict_that_it_has_recorded(
    serve: Serve, home: Path, healthy: bytes, faulty: bytes
) -> None:
    """kill -9 on everything: what was once read is read again, and the record goes on."""
    server = serve(home, processes=2, inference_threads=1)
    count = upload(server, faulty, 3, before=0)
    children = server.processes()[1:]
    server.kill(signal.SIGKILL)
    for child in children:
        child.kill()
    again = serve(home)
    assert health(again)["state"] == "alarm"
    wait_for_verdicts(again, count)
    upload(again, healthy, 1, before=count)


def test_a_record_that_somebody_else_holds_delays_no_answer(serve: Serve, home: Path, healthy: bytes) -> None:
    """Uploads are answered while another process writes; afterwards they are recorded."""
    server = serve(home, kind=Steadfast)
    upload(server, healthy, 1, before=0)
    with locked_record(home):
        for _ in range(5):
            judged_of(server, healthy)
        assert count_verdicts(server) == 1
    wait_for_verdicts(server, 6)
    assert metric(server, LOST) == 0


class ShortOfBreath(ServerProcess):
    """One in whose line three verdicts have room."""

    launched = ("-c", "from api import machine_recorder as r; r.LINE = 3; from cli.main import main; main()")


def test_what_finds_no_room_in_the_line_is_lost_and_counted(serve: Serve, home: Path, healthy: bytes) -> None:
    """And answered like all others, at once; every answer is either recorded or counted as lost."""
    server = serve(home, kind=ShortOfBreath)
    upload(server, healthy, 1, before=0)
    with locked_record(home):
        for _ in range(9):
            judged_of(server, healthy)
    wait_until(lambda: count_verdicts(server) + metric(server, LOST) == 10)
    assert metric(server, LOST) >= 3
    (complaint,) = _complaints(server)
    assert "the queue is full" in complaint


def test_on_sigterm_it_does_not_wait_for_a_disk_that_hangs(serve: Serve, home: Path, healthy: bytes) -> None:
    """It ends all the same, and logs what became of the verdicts."""
    server = serve(home)
    upload(server, healthy, 1, before=0)
    with locked_record(home):
        judged_of(server, healthy)
        server.stop()
        assert "stopped while verdicts on machines waited" in _complaints(server)[0]


def _complaints(server: ServerProcess) -> list[str]:
    lines = [line for line in server.lines() if line["logger"] == "signalml.machines"]
    return [line["message"] for line in lines if line["level"] == "error"]


def test_a_damaged_record_fails_no_upload_and_is_begun_anew(serve: Serve, home: Path, healthy: bytes) -> None:
    """Uploads are answered; the loss is counted, logged once and told as 503; without the file it goes on."""
    (home / FILE).parent.mkdir()
    (home / FILE).write_bytes(b"not a database at all" * 100)
    server = serve(home)
    for _ in range(4):
        assert judged_of(server, healthy)["verdict"] == "normal"
    wait_until(lambda: metric(server, LOST) == 4)
    assert metric(server, "signalml_machines_readable") == 0
    for answer in (
        server.client.get("/v1/machines"),
        server.client.get("/v1/machines/fan-3/health"),
        server.client.post("/v1/machines/fan-3/acknowledge", json=SEEN),
    ):
        assert str(home) not in assert_problem(answer, 503, "machines_unavailable")["detail"]
    (complaint,) = _complaints(server)
    assert "file is not a database" in complaint
    (home / FILE).unlink()
    upload(server, healthy, 2, before=0)
    assert metric(server, LOST) == 4
    assert metric(server, "signalml_machines_readable") == 1


def test_a_record_that_is_removed_is_begun_anew(serve: Serve, home: Path, healthy: bytes) -> None:
    """A running service notices, and writes into no file that nobody can read."""
    server = serve(home)
    upload(server, healthy, 3, before=0)
    shutil.rmtree(home / "machines")
    upload(server, healthy, 2, before=0)


@pytest.fixture
def full(home: Path) -> Iterator[Path]:
    """A real disk for the record that has no room; the file to remove from it to make some."""
    with small_disk(home / "machines", "256k") as disk:
        yield fill(disk)


def test_a_full_disk_fails_no_upload(serve: Serve, home: Path, full: Path, healthy: bytes) -> None:
    """Uploads are answered and the loss is counted; once there is room, later verdicts are recorded."""
    server = serve(home)
    for _ in range(4):
        assert judged_of(server, healthy)["verdict"] == "normal"
    wait_until(lambda: metric(server, LOST) == 4)
    assert len(_complaints(server)) >= 1
    full.unlink()
    upload(server, healthy, 2, before=0)
    server.stop()
