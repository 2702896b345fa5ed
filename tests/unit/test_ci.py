"""The public CI: what docs/security.md promises about it is in its file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
JOBS: dict[str, Any] = CI["jobs"]


def commands(job: str) -> str:
    """All commands of a job."""
    return "\n".join(step.get("run", "") for step in JOBS[job]["steps"])


def test_the_whole_service_is_tested_in_containers() -> None:
    """The smoke test runs, and is a program."""
    assert "deploy/smoke.sh" in commands("compose")
    assert (ROOT / "deploy" / "smoke.sh").stat().st_mode & 0o111


def test_every_lock_is_audited_by_its_hashes_each_week_too() -> None:
    """Without a resolution by pip, which would look at other versions; a weakness fails the job."""
    found = " ".join(commands("audit").split())
    assert "for lock in requirements/*.lock" in found
    for option in ("--strict", "--disable-pip", "--require-hashes", '--requirement "$lock"', 'exit "$failed"'):
        assert option in found
    assert CI[True]["schedule"]  # YAML 1.1 reads the key "on" as true


@pytest.mark.parametrize("image", ["api", "worker", "listener"])
def test_each_image_has_a_list_of_its_packages(image: str) -> None:
    """Made from the image, and kept with the run."""
    name, job = f"signalml-{image}", JOBS[f"{image}-image"]
    found = commands(f"{image}-image")
    assert f"deploy/build.sh Dockerfile.{image} {name}" in found
    assert f"deploy/sbom.sh {name}" in found
    (kept,) = [step["with"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept == {"name": f"{name}-sbom", "path": f"{name}.cdx.json", "if-no-files-found": "error"}


@pytest.mark.parametrize("script", ["build.sh", "sbom.sh"])
def test_its_scripts_are_programs(script: str) -> None:
    """They stop at the first failure."""
    path = ROOT / "deploy" / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text()


def test_the_policy_points_to_the_page() -> None:
    """A reader of the repository finds how to report a weakness."""
    assert "docs/security.md#reporting-a-weakness" in (ROOT / "SECURITY.md").read_text()
    assert "## Reporting a weakness" in (ROOT / "docs" / "security.md").read_text()


def test_the_programs_that_tests_need_are_installed() -> None:
    """Each package of live listening is in the script that CI runs, before the tests."""
    script = (ROOT / ".ci" / "run").read_text()
    needed = ("gcc", "ffmpeg", "pulseaudio", "pulseaudio-utils", "alsa-utils", "mosquitto", "icecast2")
    before, _, _ = script.partition("\nmake test\n")
    assert not [each for each in (*needed, "gir1.2-gst-rtsp-server-1.0", "python3-gi") if each not in before]
