"""Order of paths."""

import pytest

from ml.dataset.indexing.listing import natural_key

PATHS = ["a.wav", "a/2.wav", "a/02.wav", "a/10.wav", "a/10b.wav", "b/0.wav", "b/00.wav", "b/1.wav"]


def test_numbers_are_in_their_order() -> None:
    """2 is before 10; equal numbers are in the order of their texts."""
    assert sorted(PATHS, key=natural_key) == [
        "a.wav", "a/02.wav", "a/2.wav", "a/10.wav", "a/10b.wav", "b/0.wav", "b/00.wav", "b/1.wav",
    ]  # fmt: skip


@pytest.mark.parametrize("digits", [4299, 4301, 40_000])
def test_a_number_may_have_any_length(digits: int) -> None:
    """Python converts at most 4300 digits; a row of a manifest can have more."""
    long = "9" * digits
    assert sorted([f"{long}.wav", "10.wav", f"1{long}.wav"], key=natural_key)[0] == "10.wav"
