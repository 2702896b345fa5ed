"""Time and memory of a detector's fit to many recordings: ``python -m benchmarks.detectors.large_fit``.

Simulated recordings of 10 s, each used many times under other names: what is measured does not depend on their content.
Each size is measured in a process of its own, from the files to the fitted detector. Two minutes on two idle cores.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ml.audio.batch import AudioFile
from ml.dataset.indexing.build import index
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.detectors.engines.names import DEFAULT_ENGINES
from ml.detectors.engines.registry import engine_by_name
from ml.detectors.fitting import fit_detector
from ml.detectors.parallel_spectra import parallel_spectra
from ml.detectors.reference import NormalRecording
from ml.features.feature_specs import detector_spec, spec_for
from ml.features.spec import FeatureSpec
from ml.system.atomic import write_atomic

RESULTS = Path(__file__).parents[1] / "results" / "large_fit.json"
SIZES = (5000, 10_000, 20_000)
MACHINES, SESSIONS = 12, 10
SOURCE = SimulationPlan(machines=2, sessions=2, recordings=10, snr_db=(6.0,), duration_s=10.0)


def main() -> None:
    """Measure each size, print a table, and write the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks.detectors.large_fit", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    sizes = parser.parse_args().sizes
    table = Table("recordings of 10 s", "spectra, s", "fit, s", "peak memory, MB")
    found = []
    with tempfile.TemporaryDirectory(prefix="signalml-large-") as folder:
        dataset = index(simulate(Path(folder) / "fans", plan=SOURCE))
        spec = detector_spec(spec_for(dataset.entries, "spectrum"))
        files = [dataset.file(entry) for entry in dataset.entries]
        for size in sizes:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (files, spec, size)))
            table.add_row(*(f"{each:g}" for each in found[-1].values()))
    Console().print(table)
    write_atomic(RESULTS, (json.dumps(found, indent=1) + "\n").encode())


def measure(files: Sequence[Path], spec: FeatureSpec, size: int) -> dict[str, float]:
    """Fit a default detector to so many recordings, in a fresh process."""
    began = time.perf_counter()
    names = [f"{number:06d}.wav" for number in range(size)]
    sources = [AudioFile(files[number % len(files)], None, name) for number, name in enumerate(names)]
    spectra = parallel_spectra(spec, sources, with_frames=False, processes=1)
    loaded = time.perf_counter()
    recordings = [
        NormalRecording(clips, f"fan/id_{number % MACHINES:02d}", f"day {number * SESSIONS // size}", name)
        for number, (name, clips) in enumerate(zip(names, spectra, strict=True))
    ]
    fit_detector(spec, [engine_by_name(name) for name in DEFAULT_ENGINES], recordings)
    fitted = time.perf_counter()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "recordings": size,
        "spectra_s": round(loaded - began, 1),
        "fit_s": round(fitted - loaded, 1),
        "peak_mb": round(peak_mb),
    }


if __name__ == "__main__":
    main()
