"""Limits of the records of machines."""

from typing import NamedTuple

MACHINES_KEPT = 1000  # the default of the setting SIGNALML_MACHINES_KEPT
VERSIONS_KEPT = 3  # of one machine: the versions used last
OBSERVATIONS_KEPT = 1000  # of one version and machine: the first 100, the reference of drift, and the last 900
UNUSABLE_KEPT = 100  # of one machine: recordings that could not be judged
ALARMS_KEPT = 100  # of one machine


class MachineLimits(NamedTuple):
    """Largest numbers of machines with a record.

    Attributes:
        kept: of all machines.
        per_key: of the machines that one API key makes.
    """

    kept: int
    per_key: int
