"""Texts that leave the server name no folder of it."""

from pathlib import Path

import pytest

from ml.system.server_paths import hide_folders, hide_home
from worker.results import JobFolder


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No model is champion in {home}/models.", "No model is champion in models."),
        ("{home} is not a folder; {home}/a was expected.", "SIGNALML_HOME is not a folder; a was expected."),
        (
            "path_outside: It is outside {home}/datasets/hall; a path",
            "path_outside: It is outside datasets/hall; a path",
        ),
        ("(/mnt/nas/hall-3/a b.csv) cannot be read", "(a b.csv) cannot be read"),
        ("POST /v1/predict/batch takes several", "POST /v1/predict/batch takes several"),
        ("hall-3/a/b.wav and ./a/b and 1/2/3", "hall-3/a/b.wav and ./a/b and 1/2/3"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_only_the_name_of_a_file_is_left(tmp_path: Path, text: str, shown: str) -> None:
    """Below the home its path in it, else its name; addresses and relative paths stay."""
    assert hide_folders(text.format(home=tmp_path), tmp_path) == shown


def test_a_home_behind_a_link_is_hidden_too(tmp_path: Path) -> None:
    """Messages contain the path with the link or the one behind it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert hide_home(f"{tmp_path}/real/a and {tmp_path}/link/b", tmp_path / "link") == "a and b"


def test_rows_of_jobs_name_no_folder(tmp_path: Path) -> None:
    """The error of a recording is shown in the result of its job."""
    folder = JobFolder(tmp_path, "a" * 24)
    folder.path.mkdir(parents=True)
    rows = [{"name": "a.wav", "error": f"path_outside: It is outside {tmp_path}/datasets/hall."}, {"error": None}]
    written = folder.write_part("part-00000", 0, 1, rows)
    assert [row["error"] for row in folder.rows(written)] == ["path_outside: It is outside datasets/hall.", None]
