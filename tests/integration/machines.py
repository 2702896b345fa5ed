"""Records of machines over HTTP: uploads with a machine name, and the health of the machine."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from testing.servers import ServerProcess, wait_until
from tests import sounds
from tests.integration.uploads import WAV_TYPE, Body

FILE = Path("machines") / "health.sqlite3"
SEEN = {"by": "Ana", "note": "Bearing ordered"}
LOST = "signalml_observations_not_recorded_total"


def new_recording(wav: bytes) -> bytes:
    """Return the same sound with other bytes, as if it was recorded again: equal bytes count once."""
    return sounds.with_chunk(wav, b"note", uuid.uuid4().bytes)


def judged_of(server: ServerProcess, wav: bytes, machine_id: str = "fan-3") -> Body:
    """Return the answer to a new recording of a machine, over a new connection: any process can take it."""
    params, content = {"machine_id": machine_id}, new_recording(wav)
    answer = server.afresh("POST", "/v1/predict", content=content, headers=WAV_TYPE, params=params)
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def health(server: ServerProcess, machine_id: str = "fan-3", **parameters: int) -> Body:
    """Return the health of a machine."""
    answer = server.client.get(f"/v1/machines/{machine_id}/health", params=parameters)
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def count_verdicts(server: ServerProcess, machine_id: str = "fan-3") -> int:
    """Return the number of recorded verdicts on a machine; 0 for a machine without a record."""
    answer = server.client.get(f"/v1/machines/{machine_id}/health")
    return sum(version["observations"] for version in answer.json().get("versions", ()))


def wait_for_verdicts(server: ServerProcess, count: int, machine_id: str = "fan-3") -> None:
    """Wait until this number of verdicts is recorded; there must not be more."""
    wait_until(lambda: count_verdicts(server, machine_id) >= count)
    assert count_verdicts(server, machine_id) == count


def upload(server: ServerProcess, wav: bytes, count: int, before: int, machine_id: str = "fan-3") -> int:
    """Upload a recording several times, wait until the verdicts are recorded, and return their number."""
    for _ in range(count):
        judged_of(server, wav, machine_id)
    wait_for_verdicts(server, before + count, machine_id)
    return before + count


@contextmanager
def locked_record(home: Path) -> Iterator[None]:
    """Lock the record, as a writing process does: other writers wait, or fail."""
    with closing(sqlite3.connect(home / FILE, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def metric(server: ServerProcess, line: str) -> float:
    """Return the value of one line of /metrics; 0 without this line."""
    shown = server.afresh("GET", "/metrics").text.splitlines()
    return next((float(each.rpartition(" ")[2]) for each in shown if each.startswith(f"{line} ")), 0.0)
