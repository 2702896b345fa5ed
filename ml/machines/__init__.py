"""Machines over time: the recorded verdicts on each machine, its alarms, and the drift of its scores.

::

    observation.py  one recorded verdict, and the names of a machine
    recording_time.py  the time of a recording: stated, from its file or name, or that of the answer
    alarms.py       alarms, their acknowledgement, and the state of a machine
    rhythm.py       the time from one recording to the next
    false_alarms.py expected time between false alarms at this rhythm
    drift.py        whether the scores of one version for one machine have moved
    health.py       what the records show for one machine
    ledger.py       all records in one SQLite file of bounded size, for several processes; its parts:
                    schema (the tables), rows (rows to values), insertion (of verdicts), repeats (the same bytes
                    again), numbering and alarm_replay (verdicts and alarms in the order of the recordings), merge (of
                    the records of one machine's two names), retention (deletion of old rows), queries (rows to
                    health), limits (how much is kept)
"""
