"""Jobs, their queue and their workers. A worker is a main process and its children; a child does one unit at a time.

::

    jobs.py         kinds, parameters, states and errors of jobs: the contract with the API
    store.py        job records in Redis; every change is one call of transitions.lua
    records.py      values read from the records
    queue.py        submit and cancel; the Celery application
    main.py         the main process of a worker, and its children
    tasks.py        from a message to the function of a unit
    lease.py        right to work on a unit, renewed while the work runs
    recovery.py     what happens after a worker died: calls the sweep of the store once a second
    parts.py        work on many recordings in parts
    extraction.py, scoring.py, retraining.py, recalibration.py, diagnostic.py    the kinds of jobs
    results.py      result files
    transport.py    which messages a worker takes from the broker
    broker.py       Redis-compatible server for one computer
"""
