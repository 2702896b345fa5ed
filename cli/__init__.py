"""One command per thing a person wants to do."""

import os

# Before numpy is imported: what runs in parallel here are recordings, and threads inside a product are in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
