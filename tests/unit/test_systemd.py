"""Units of systemd: their commands exist, and they are confined."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from cli.main import app

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))
CONFINED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "StateDirectoryMode": "0700",
}


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> Path:
    """One unit."""
    found: Path = request.param
    return found


def test_a_unit_is_confined_and_is_started_again(unit: Path) -> None:
    """It is not root, writes only its home, and ends with all its processes."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    service = dict(parser["Service"])
    assert {name: service.get(name) for name in CONFINED} == CONFINED
    assert service["User"] != "root"
    assert (service["Restart"], service["KillMode"]) == ("always", "mixed")
    assert service["Environment"] == f"SIGNALML_HOME=/var/lib/{service['StateDirectory']}"
    _, command, *options = shlex.split(service["ExecStart"])
    parameters = typer.main.get_command(app).commands[command].load().params  # type: ignore[attr-defined]
    assert set(options) <= {name for each in parameters for name in each.opts}


def test_systemd_can_read_a_unit(unit: Path, tmp_path: Path) -> None:
    """systemd-analyze finds nothing wrong; only the program itself is another one here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; the other test of this unit needs no program")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/signalml/bin/signalml", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
