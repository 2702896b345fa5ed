"""Features of many recordings: a job with two processes, beside the same work in a plain pool of two.

Both index the dataset (its facts are on disk from an earlier look), decide on the same spec, and write to an empty
features folder. The job does more: it pins, plans, hands out parts, keeps a row for each recording, and gathers them.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.jobs.homes import DATASET, add_recordings
from ml.dataset.indexing.build import index
from ml.dataset.paths import dataset_folder, features_folder, index_cache_file
from ml.dataset.splitting.methods import split
from ml.features.feature_specs import spec_for
from ml.features.store import FeatureStore
from testing.jobs import JobHarness, run_jobs
from worker.jobs import ExtractionParameters

PROCESSES = 2
TARGET = 0.85
WITHIN_S = 600.0


def measure(root: Path, recordings: int, clip_s: float, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Both ways in turn, A B, B A; the worker is warm, and the start of the pool is timed separately.

    Args:
        root: an empty folder.
        recordings: how many.
        clip_s: how long each is.
        rounds: how often each way is measured.
        say: told what is being done.
    """
    say(f"throughput: writing {recordings} recordings")
    home = add_recordings(root / "home", recordings, clip_s)
    times_s: dict[str, list[float]] = {"pool": [], "job": []}
    with run_jobs(root, home) as jobs:
        jobs.start_worker(queues=("extraction",), children=PROCESSES)
        _job(jobs)  # not counted: loads what is loaded once, and notes the index on disk
        for number in range(rounds):
            for way in times_s if number % 2 == 0 else reversed(times_s):
                say(f"throughput, round {number + 1}: {way}")
                times_s[way].append(_pool(home) if way == "pool" else _job(jobs))
    start_s = min(_pool(home, recordings=PROCESSES) for _ in range(rounds))
    pairs = list(zip(times_s["pool"], times_s["job"], strict=True))
    ratio = _spread([pool / job for pool, job in pairs])
    return {
        "recordings": recordings,
        "clip_s": clip_s,
        "processes": PROCESSES,
        "seconds": times_s,
        "pool_start_s": start_s,
        "ratio": ratio,
        "ratio_without_pool_start": _spread([(pool - start_s) / job for pool, job in pairs]),
        "target": TARGET,
        "met": ratio["median"] >= TARGET,
    }


def _spread(ratios: list[float]) -> dict[str, float]:
    return {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def _job(jobs: JobHarness) -> float:
    """Seconds from asking to the end."""
    _forget_features(jobs.home)
    started = time.perf_counter()
    job = jobs.submit(ExtractionParameters(dataset=DATASET))
    ended = jobs.wait_for_end(job, within_s=WITHIN_S)
    seconds = time.perf_counter() - started
    assert ended.state == "succeeded", ended
    return seconds


def _pool(home: Path, recordings: int | None = None) -> float:
    """Seconds in a process of its own, measured there, without what Python needs to start; None for all recordings."""
    _forget_features(home)
    command = [
        sys.executable,
        "-m",
        "benchmarks.jobs.throughput",
        str(home),
        *([str(recordings)] if recordings else []),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def _forget_features(home: Path) -> None:
    """All but the index, which is a file."""
    for folder in features_folder(home).glob("*/"):
        shutil.rmtree(folder)


def main() -> None:
    """In the process that is measured: the plain way, for the first so many recordings; prints its seconds."""
    home, recordings = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    started = time.perf_counter()
    dataset = index(dataset_folder(home, DATASET), cache=index_cache_file(home), processes=1)
    spec = spec_for(split(dataset).train, "spectrum")
    FeatureStore(features_folder(home)).extract(dataset, dataset.entries[:recordings], spec, processes=PROCESSES)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
