"""The file of API keys."""

import json
from pathlib import Path

from api.api_keys import ApiKeyStore

SOUND = {"name": "x", "sha256": "0" * 64, "created": "", "scopes": ["read"]}
WRONG = (
    *({"sha256": None}, {"sha256": "ü"}, {"name": None}, {"created": 1}),
    *({"expires": "soon"}, {"expires": 5}, {"expires": "2027-01-01"}),
    *({"scopes": "predict"}, {"scopes": [1]}, {"machines": "fan"}, {"datasets": [None]}),
)


def test_a_damaged_entry_hides_no_other_key(tmp_path: Path) -> None:
    """It is counted and kept in the file; the other keys are found, and keys are created and revoked as before."""
    store, file = ApiKeyStore(tmp_path), tmp_path / "api-keys.json"
    secret = store.create("line-3", "predict")
    damaged = [
        None,
        "text",
        {"name": "x"},
        {"name": "limited", "sha256": "", "created": "", "limit": 3, "scopes": ["admin"]},
        *(SOUND | wrong for wrong in WRONG),
    ]
    file.write_text(json.dumps([*damaged, *json.loads(file.read_bytes())]))
    found = store.find(secret)
    assert found is not None
    assert found.name == "line-3"
    assert store.count_damaged() == len(damaged)
    store.create("line-4", "read")
    store.revoke("line-3")
    assert [key.name for key in store.list_keys()] == ["line-4"]
    assert json.loads(file.read_bytes())[: len(damaged)] == damaged
