"""The fuzzer: its inputs are reproducible, and it sees faults."""

from pathlib import Path
from random import Random

import pytest

from benchmarks.fuzz import runner
from benchmarks.fuzz.odd_values import change_value, json_text, mutate


def test_inputs_are_reproducible() -> None:
    """The same seed gives the same bytes, another one other bytes."""
    values = {"label": "normal", "snr_db": [1, 2, {"a": None}]}
    for make in (
        lambda random: mutate(random, bytes(range(256)), (b"RIFF",)),
        lambda random: json_text(random, change_value(random, values)),
    ):
        texts = [make(Random(seed)) for seed in range(200)]
        assert texts == [make(Random(seed)) for seed in range(200)]
        assert len(set(texts)) > 100


@pytest.mark.parametrize("name", ["manifest", "detector"])
def test_parsers_refuse_by_name(name: str, tmp_path: Path) -> None:
    """Some inputs of each kind; ``python -m benchmarks.fuzz`` tries more."""
    with runner.open_target(name)(tmp_path) as target:
        for seed in range(60):
            assert runner.try_one(target, target.make(Random(seed)))[1] == "", seed


class Stumbling:
    """A target with faults."""

    memory_bytes = 10**9

    def make(self, random: Random) -> bytes:
        return bytes([random.randrange(4)])

    def check(self, data: bytes) -> str:
        if data == b"\0":
            raise ValueError("a fault")
        return "accepted"

    def memory(self) -> int:
        return 0


def test_a_fault_is_a_result() -> None:
    """An exception that is no refusal is a fault, with its place; other inputs are counted."""
    target = Stumbling()
    results = [runner.try_one(target, target.make(Random(seed))) for seed in range(50)]
    assert {found for found, _ in results} == {"accepted", "fault"}
    (fault,) = {fault for _, fault in results if fault}
    assert fault.startswith("ValueError: a fault (test_fuzz.py:")
