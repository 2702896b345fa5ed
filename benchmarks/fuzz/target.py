"""What a target of the fuzzing is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Parser to be fuzzed.

    Attributes:
        seeds: valid small inputs by name, which are changed.
        parse: reads an input. It raises one of ``refusals``, or returns.
        refusals: errors that are a clean refusal; any other exception is a finding.
        words: byte strings that have a meaning to the parser, which changes insert.
        max_input_s: time that one input may take.
        max_growth_bytes: memory by which the process may grow over the whole run.
        head_bytes: most changes are made in as many bytes at the start.
    """

    seeds: Mapping[str, bytes]
    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    words: tuple[bytes, ...] = ()
    max_input_s: float = 2.0
    max_growth_bytes: int = 256 * 2**20
    head_bytes: int = 256
