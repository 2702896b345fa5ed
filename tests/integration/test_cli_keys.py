"""``signalml keys``: made, listed and revoked; the secret is shown once, and the file is its owner's."""

from pathlib import Path

from tests.commands import signalml, succeeds


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """create prints the secret this once; list has names and scopes and no secret; revoke removes."""
    home = tmp_path / "home"
    secrets = [succeeds(home, "keys", "create", name, "--scope", name) for name in ("predict", "admin")]
    assert all(secret.startswith("sml_") and len(secret) > 40 for secret in secrets)
    listed = succeeds(home, "keys", "list")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["predict", "predict"], ["admin", "admin"]]
    assert not any(secret[4:20] in listed for secret in secrets)
    taken = signalml(home, "keys", "create", "admin")
    assert taken.returncode != 0
    assert "Traceback" not in taken.stderr
    succeeds(home, "keys", "revoke", "admin")
    assert "admin" not in succeeds(home, "keys", "list")


def test_a_keys_name_may_have_brackets(tmp_path: Path) -> None:
    """A name is text, not markup: what was created can be listed and revoked."""
    home = tmp_path / "home"
    succeeds(home, "keys", "create", "line[/3]")
    assert "line[/3]" in succeeds(home, "keys", "list")
    assert "line[/3]" in succeeds(home, "keys", "revoke", "line[/3]")


def test_the_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Nobody else on the machine can read the hashes."""
    succeeds(tmp_path / "home", "keys", "create", "line-3")
    assert (tmp_path / "home" / "api-keys.json").stat().st_mode & 0o777 == 0o600
