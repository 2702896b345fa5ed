"""Command line: one module for each command of ``signalml``."""

import os

# Set before numpy is imported: recordings run in parallel, and threads inside a matrix product would compete with them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
