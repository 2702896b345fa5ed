"""Machines over time: what was heard of each, whether it is in alarm, and whether its scores have moved.

::

    observation.py  one verdict on one machine, as it is remembered
    alarms.py       k of the last n verdicts raise an alarm; hysteresis, acknowledgement
    drift.py        whether the scores of one version at one machine are still what they were
    health.py       what is told of a machine
    ledger.py       all of it in one SQLite file, bounded, for several processes:
                    schema (the tables), rows, recording (into them), joining (of one machine's two names),
                    forgetting (what is too much), telling (out of them)
"""
