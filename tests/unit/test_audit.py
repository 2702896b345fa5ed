"""The audit log: whole lines from several processes, in bounded files, whatever the disk does."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.system import audit
from ml.system.audit import Actor, acting_as, configure_audit, read_entries, record_change, user_name
from ml.system.logs import job_context, request_context
from testing.servers import ROOT

LIMITS = (2**20, 10)


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """The limits of each test; those of the process afterwards."""
    before = audit._limits.max_bytes, audit._limits.files
    configure_audit(*LIMITS)
    yield
    configure_audit(*before)


def entries(home: Path) -> list[dict[str, Any]]:
    """All lines."""
    return list(read_entries(home))


def test_a_line_states_who_did_what_to_what(tmp_path: Path) -> None:
    """Time in UTC, actor, address, action, object, before and after, outcome, request and job."""
    with request_context("abc"), acting_as(Actor("key", "line-3", "192.0.2.7")):
        record_change(tmp_path, "model.promote", "champion", before="fan-1", after="fan-2")
    (line,) = entries(tmp_path)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "actor_kind": "key",
        "actor": "line-3",
        "address": "192.0.2.7",
        "action": "model.promote",
        "object": "champion",
        "before": "fan-1",
        "after": "fan-2",
        "outcome": "done",
        "request_id": "abc",
        "job": None,
    }


def test_without_an_actor_it_is_the_user_and_in_a_job_its_id_is_there(tmp_path: Path) -> None:
    """The command line needs no code of its own."""
    with job_context("abc", job="019a", unit="begin"):
        record_change(tmp_path, "key.create", "line-3")
    (line,) = entries(tmp_path)
    assert (line["actor_kind"], line["actor"], line["job"]) == ("user", user_name(), "019a")


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Also after a rotation."""
    configure_audit(1000, 2)
    for number in range(20):
        record_change(tmp_path, "key.create", str(number))
    files = sorted(tmp_path.glob("audit.jsonl*"))
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_full_files_get_a_number_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    """The lines that are left are the last ones, in their order, and no file is above the limit."""
    configure_audit(1000, 3)
    for number in range(50):
        record_change(tmp_path, "key.create", str(number))
    left = [int(line["object"]) for line in entries(tmp_path)]
    assert left == list(range(left[0], 50))
    assert 5 < len(left) < 20
    assert all(file.stat().st_size <= 1000 for file in tmp_path.glob("audit.jsonl*"))


@pytest.mark.parametrize("name", ['a\n{"actor": "x"}', "a\u2028b", "\x00\x1b[31m", "=1+1", "\ud800", '"', "\r\n"])
def test_no_text_of_a_client_can_make_a_line(tmp_path: Path, name: str) -> None:
    """It is one line of ASCII, and reads as the same text."""
    record_change(tmp_path, "key.create", name, after={"note": name})
    content = (tmp_path / "audit.jsonl").read_bytes()
    assert content.count(b"\n") == 1
    assert content.isascii()
    assert not any(byte < 32 for byte in content[:-1])
    assert entries(tmp_path)[0]["object"] == name


def test_a_long_value_is_shortened(tmp_path: Path) -> None:
    """A client does not decide how long a line is."""
    record_change(tmp_path, "a" * 10, "b" * 10**6, before="c" * 10**6, after=["d"] * 10**6)
    assert (tmp_path / "audit.jsonl").stat().st_size < 10_000


def test_a_part_of_a_line_does_not_join_the_next_one(tmp_path: Path) -> None:
    """A process that was killed within a write leaves one."""
    record_change(tmp_path, "key.create", "first")
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-')
    record_change(tmp_path, "key.create", "second")
    assert [line["object"] for line in entries(tmp_path)] == ["first", "second"]


WRITER = """
import sys
from pathlib import Path
from ml.system.audit import configure_audit, record_change
configure_audit(4000, 150)
for number in range(200):
    record_change(Path(sys.argv[1]), "key.create", f"{sys.argv[2]}-{number}", after="x" * number)
"""


def test_several_processes_lose_no_line_while_the_files_rotate(tmp_path: Path) -> None:
    """Each line is whole, once, and in the order of its process."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abc"]
    assert [each.wait() for each in writers] == [0, 0, 0]
    configure_audit(4000, 150)
    found = [line["object"] for line in entries(tmp_path)]
    assert len(list(tmp_path.glob("audit.jsonl.*"))) > 3
    for name in "abc":
        assert [each for each in found if each.startswith(name)] == [f"{name}-{number}" for number in range(200)]


FULL = """
import resource, signal, sys
from pathlib import Path
from ml.system.audit import record_change
from ml.system.logs import configure_logging
configure_logging("info")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(10):
    record_change(Path(sys.argv[1]), "key.create", str(number))
"""


def test_a_full_disk_stops_no_change_and_the_line_is_in_the_log(tmp_path: Path) -> None:
    """What the disk takes is whole; the rest is an error in the log, with all of the line."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    written = [line["object"] for line in entries(tmp_path)]
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert 0 < len(written) < 10
    assert (tmp_path / "audit.jsonl").read_bytes().endswith(b"}\n")
    assert written + [line["audit"]["object"] for line in logged] == [str(number) for number in range(10)]
    assert {line["level"] for line in logged} == {"error"}


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A user of the computer could otherwise have another file written."""
    other = tmp_path / "other"
    other.write_text("kept")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "audit.jsonl").symlink_to(other)
    with caplog.at_level(logging.ERROR, "signalml.audit"):
        record_change(tmp_path / "home", "key.create", "line-3")
    assert other.read_text() == "kept"
    assert "cannot be written" in caplog.text
