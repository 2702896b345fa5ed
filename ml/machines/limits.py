"""Limits of the records of machines."""

from typing import NamedTuple

MACHINES_KEPT = 1000  # the default of the setting SIGNALML_MACHINES_KEPT
VERSIONS_KEPT = 3  # of one machine: the versions used last
OBSERVATIONS_KEPT = 1000  # of one version and machine: the first 100, the reference of drift, and the last 900
UNUSABLE_KEPT = 100  # of one machine: recordings that could not be judged
ALARMS_KEPT = 100  # of one machine
# An upload that got no answer is sent again within minutes; a recorder that sends one file for ever is counted again
# after this time, so that it is noticed.
REPEAT_WINDOW_S = 600.0
REQUESTS_KEPT = 100_000  # requests with an Idempotency-Key whose keys are kept, for a day
INSERTED_AT_ONCE = 400  # verdicts; with the 100 that an alarm can count, they are fewer than the kept ones
REPLAYED = OBSERVATIONS_KEPT - 200  # later verdicts over which an alarm is decided again; the rule counts 100 more


class MachineLimits(NamedTuple):
    """Largest numbers of machines with a record.

    Attributes:
        kept: of all machines.
        per_key: of the machines that one API key makes.
    """

    kept: int
    per_key: int
