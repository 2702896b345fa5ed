"""Checks of a registry, for tests."""

from ml.models.registry import Registry
from tests import sounds

NAMES = [("gut", "Alles gut"), ("unwucht", "Unwucht"), ("verstopft", "Verstopft"), ("spannung", "Spannung")]


def assert_still_served(registry: Registry, version: str) -> None:
    """The champion is ``version`` and answers."""
    assert registry.aliases()["champion"] == version
    predictor = registry.load_predictor("champion")
    assert predictor.predict(predictor.decode(sounds.recording(sounds.fan(1)))).version == version
