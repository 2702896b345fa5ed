"""How much is remembered of machines."""

MACHINES_KEPT = 1000  # by default; a setting of the service
VERSIONS_KEPT = 3  # of a machine: those that judged it last
OBSERVATIONS_KEPT = 1000  # of a version at a machine: the first 100, which drift is measured from, and the last
UNUSABLE_KEPT = 100  # recordings of a machine that could not be judged
ALARMS_KEPT = 100  # of a machine
