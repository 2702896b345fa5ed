"""``signalml machines``: listed, shown and acknowledged, while a service runs or none does."""

from pathlib import Path

from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.models.registry import Registry
from ml.system.clock import timestamp
from testing.servers import Serve
from tests.commands import signalml, succeeds
from tests.integration.machines import health, upload
from tests.unit import detectors


def test_the_command_line_marks_what_the_champion_has_not_learned(home: Path) -> None:
    """By a star and a sentence, with the names that it knows; a champion without a detector marks nothing."""
    with Ledger(home, create=True) as ledger:
        ledger.record(
            Observation(machine_id, timestamp(), "fan-1", 1, 0.2, 0.5, "normal", "normal")
            for machine_id in ("fan-9", "fan/id_00", "id_00")
        )
    assert "*" not in succeeds(home, "machines")
    registry = Registry(home)
    registry.promote(detectors.add(registry))
    _, *rows, note = succeeds(home, "machines").splitlines()
    assert [row.split()[:2] for row in rows] == [["fan-9", "*"], ["fan/id_00", "normal"], ["id_00", "normal"]]
    assert note.startswith("* The champion, hall-3-")
    assert note.endswith("It has learned: fan/id_00.")
    assert "fan-9 *" in succeeds(home, "machines", "fan-9")


def test_the_command_line_takes_an_id_that_one_machine_has(home: Path) -> None:
    """For its whole name, to show it and to acknowledge its alarm; not where two have it, or it is a name itself."""
    with Ledger(home, create=True) as ledger:
        for machine_id in ("fan/id_00", "fan/id_02", "pump/id_02", "fan/id_04", "id_04"):
            ledger.record(
                Observation(machine_id, timestamp(), "fan-1", 1, 0.9, 0.5, "anomalous", "-") for _ in range(3)
            )
    assert "fan/id_00" in succeeds(home, "machines", "id_00")
    said = succeeds(home, "machines", "id_00", "--acknowledge", "Seen", "--by", "Ana")
    assert said == "alarm 1 of fan/id_00 is acknowledged"
    assert succeeds(home, "machines", "id_04").splitlines()[1].split()[0] == "id_04"
    refused = signalml(home, "machines", "id_02")
    assert (refused.returncode, "fan/id_02, pump/id_02" in " ".join(refused.stderr.split())) == (1, True)


def test_the_command_line_lists_shows_and_acknowledges(serve: Serve, home: Path, healthy: bytes, faulty: bytes) -> None:
    """While the service runs: all machines, one machine, and an alarm that somebody has seen."""
    assert "No machines yet" in succeeds(home, "machines")
    server = serve(home)
    upload(server, healthy, 1, 0, "fan-4")
    upload(server, faulty, 3, 0)
    header, *rows = succeeds(home, "machines").splitlines()
    assert header.split()[:2] == ["machine", "state"]
    assert [row.split()[:2] for row in rows] == [["fan-3", "alarm"], ["fan-4", "normal"]]
    said = succeeds(home, "machines", "fan-3", "--acknowledge", "Bearing [bold]ordered", "--by", "Ana")
    assert said == "alarm 1 of fan-3 is acknowledged"
    assert health(server)["state"] == "acknowledged"
    shown = succeeds(home, "machines", "fan-3")
    assert "3 of the last 3" in shown
    assert "Ana: Bearing [bold]ordered" in shown
    without_use = (("--acknowledge", "of what"), ("fan-3", "--by", "Ana"))
    for arguments in (("fan-3", "--acknowledge", "again"), ("nobody",), *without_use):
        refused = signalml(home, "machines", *arguments)
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
