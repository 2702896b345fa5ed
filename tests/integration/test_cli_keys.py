"""``signalml keys``: create, list and revoke; the secret is printed once, and only the owner can read the file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.api_keys import ApiKeyStore
from tests.commands import Done, assert_one_sentence, signalml, succeeds


def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    """create prints the secret; list has names and scopes, and no secret; revoke removes the key."""
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


def test_the_name_of_a_key_can_have_brackets(tmp_path: Path) -> None:
    """A name is text, not markup: the key can be listed and revoked."""
    home = tmp_path / "home"
    succeeds(home, "keys", "create", "line[/3]")
    assert "line[/3]" in succeeds(home, "keys", "list")
    assert "line[/3]" in succeeds(home, "keys", "revoke", "line[/3]")


def test_only_the_owner_can_read_the_key_file(tmp_path: Path) -> None:
    """The file of hashes has mode 600."""
    succeeds(tmp_path / "home", "keys", "create", "line-3")
    assert (tmp_path / "home" / "api-keys.json").stat().st_mode & 0o777 == 0o600


def test_a_signed_model_is_accepted_where_signatures_are_required(home: Path, tmp_path: Path) -> None:
    """The whole way: key, export, trust, import; without trust, without a signature and from HDF5 it is refused."""
    other, archive, unsigned = tmp_path / "other", tmp_path / "model.zip", tmp_path / "unsigned.zip"
    public = succeeds(home, "keys", "signing", "new", "hall")
    succeeds(home, "models", "export", "champion", archive, "--sign", "hall")
    succeeds(home, "models", "export", "champion", unsigned)

    def imported(file: Path) -> Done:
        return signalml(other, "models", "import", file, "--promote", require_signed_bundles=True)

    assert_one_sentence(imported(archive), "is not trusted here")
    assert succeeds(other, "keys", "signing", "trust", public) == "hall is trusted"
    assert "trusted" in succeeds(other, "keys", "signing", "list")
    assert_one_sentence(imported(unsigned), "is not signed")
    (tmp_path / "weights.h5").write_bytes(b"any")
    assert_one_sentence(imported(tmp_path / "weights.h5"), "has no signature")
    done = imported(archive)
    assert (done.returncode, "signed with the trusted key hall" in done.stderr) == (0, True)
    succeeds(other, "keys", "signing", "distrust", "hall")
    assert signalml(other, "models", "verify", require_signed_bundles=True).returncode == 1


def test_a_model_of_this_home_is_signed(home: Path) -> None:
    """models sign names the version and the key; an unknown key is refused."""
    assert_one_sentence(signalml(home, "models", "sign", "champion", "--key", "hall"), "no signing key called 'hall'")
    succeeds(home, "keys", "signing", "new", "hall")
    assert succeeds(home, "models", "sign", "champion", "--key", "hall").endswith("is signed with hall")


def test_a_key_has_scopes_bindings_and_an_end(tmp_path: Path) -> None:
    """list shows them, and whether a key has expired."""
    home = tmp_path / "home"
    bound = ("--machine", "hall-3/*", "--dataset", "hall-3", "--expires", "2999-01-01")
    succeeds(home, "keys", "create", "screen", "--scope", "read", "--scope", "predict", *bound)
    succeeds(home, "keys", "create", "line-3")
    ApiKeyStore(home).create("old", "label", expires=datetime(2020, 1, 1, tzinfo=UTC), datasets=["hall-3"])
    rows = [line.split() for line in succeeds(home, "keys", "list").splitlines()]
    screen, line, old = rows[1:]
    assert screen[:5] == ["screen", "predict,", "read", "hall-3/*", "hall-3"]
    assert screen[-1] == "2999-01-01T00:00:00+00:00"
    assert line[:4] == ["line-3", "predict", "all", "all"]
    assert old[:4] == ["old", "label", "none", "hall-3"]
    assert old[-2:] == ["2020-01-01T00:00:00+00:00", "(expired)"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "--scope", "everything"),
        ("a", "--machine", "hall[3]"),
        ("a", "--machine", "a/b/c"),
        ("a", "--dataset", ""),
        ("a", "--expires", "yesterday"),
        ("a\nb",),
        ("\x1b[31m",),
        ("",),
        ("x" * 101,),
    ],
)
def test_a_key_that_nobody_can_mean_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """In one sentence, and no key is made."""
    done = signalml(tmp_path / "home", "keys", "create", *arguments)
    assert done.returncode != 0
    assert "expected" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "api-keys.json").exists()
