"""``signalml machines``: list, show and acknowledge, with and without a running service."""

from pathlib import Path

from ml.machines.ledger import Ledger
from ml.machines.observation import Observation
from ml.models.registry import Registry
from ml.system.clock import timestamp
from testing.servers import Serve
from tests.commands import signalml, succeeds
from tests.integration.machines import health, upload
from tests.unit import detectors


def test_machines_that_the_champion_has_not_learned_are_marked(home: Path) -> None:
    """The mark is a star and a note with the learned machines; without a detector, no machine is marked."""
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


def test_a_machine_is_shown_with_the_time_between_its_false_alarms(home: Path) -> None:
    """At the time between its recordings, by the champion; a classifier alone, or few recordings: with the reason."""
    with Ledger(home, create=True) as ledger:
        ledger.record(
            Observation("id_00", f"2026-11-28T{hour:02}:00:00.000+00:00", "fan-1", 1, 0.2, 0.5, "normal", "normal")
            for hour in range(8)
        )
        ledger.record([Observation("id_02", timestamp(), "fan-1", 1, 0.2, 0.5, "normal", "normal")])
    assert "has no scores of normal recordings" in succeeds(home, "machines", "id_00")
    registry = Registry(home)
    registry.promote(detectors.add(registry))
    assert "With a recording every 60 minutes, alarms (3 of 5) come falsely at" in succeeds(home, "machines", "id_00")
    few = "Time between false alarms: The time between recordings is not known: it needs 6 recordings"
    assert few in succeeds(home, "machines", "id_02")


def test_a_unique_machine_id_stands_for_the_machine_name(home: Path) -> None:
    """It works for showing and acknowledging; not if two machines have the id, or if it is a name itself."""
    with Ledger(home, create=True) as ledger:
        for machine_id in ("fan/id_00", "fan/id_02", "pump/id_02", "fan/id_04", "id_04"):
            ledger.record(
                Observation(machine_id, timestamp(), "fan-1", 1, 0.9, 0.5, "anomalous", "-") for _ in range(3)
            )
    assert "fan/id_00" in succeeds(home, "machines", "id_00")
    printed = succeeds(home, "machines", "id_00", "--acknowledge", "Seen", "--by", "Ana")
    assert printed == "alarm 1 of fan/id_00 is acknowledged"
    assert succeeds(home, "machines", "id_04").splitlines()[1].split()[0] == "id_04"
    refused = signalml(home, "machines", "id_02")
    assert (refused.returncode, "fan/id_02, pump/id_02" in " ".join(refused.stderr.split())) == (1, True)


def test_machines_are_listed_shown_and_acknowledged(serve: Serve, home: Path, healthy: bytes, faulty: bytes) -> None:
    """While the service runs, the command lists all machines, shows one, and acknowledges its alarm."""
    assert "No machines yet" in succeeds(home, "machines")
    server = serve(home)
    upload(server, healthy, 1, 0, "fan-4")
    upload(server, faulty, 3, 0)
    header, *rows = succeeds(home, "machines").splitlines()
    assert header.split()[:2] == ["machine", "state"]
    assert [row.split()[:2] for row in rows] == [["fan-3", "alarm"], ["fan-4", "normal"]]
    printed = succeeds(home, "machines", "fan-3", "--acknowledge", "Bearing [bold]ordered", "--by", "Ana")
    assert printed == "alarm 1 of fan-3 is acknowledged"
    assert health(server)["state"] == "acknowledged"
    shown = succeeds(home, "machines", "fan-3")
    assert "3 of the last 3" in shown
    assert "Ana: Bearing [bold]ordered" in shown
    useless = (("--acknowledge", "of what"), ("fan-3", "--by", "Ana"))
    for arguments in (("fan-3", "--acknowledge", "again"), ("nobody",), *useless):
        refused = signalml(home, "machines", *arguments)
        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
