"""``signalml thresholds --recalibrate``: set a threshold with further normal recordings."""

from pathlib import Path

from rich.console import Console

from cli.operating_points import print_odd_recordings
from cli.output import print_text
from cli.progress import show_progress
from ml.dataset.catalog import dataset_version, load_dataset
from ml.dataset.entries import Dataset
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache_file
from ml.models.registry import Registry
from ml.models.revisions import ThresholdRevision, recalibration_in_force
from ml.models.thresholds import ThresholdRequest
from ml.system.native import quiet_native_stderr
from ml.system.progress import ProgressCallback
from ml.training.recalibration import left_out_note
from ml.training.recalibration import recalibrate as recalibrate_model


def recalibrate(
    home: Path, version: str, source: str, request: ThresholdRequest | None, *, confirm_labels: bool = False
) -> ThresholdRevision:
    """Recalibrate a model with a progress display, and print what counts.

    Args:
        home: SIGNALML_HOME.
        version: the version.
        source: folder, manifest, or name of a dataset of the home.
        request: requested threshold; None keeps the requested rate.
        confirm_labels: whether labels count that names of files and folders contradict.
    """
    with quiet_native_stderr() as stderr, show_progress(Console(file=stderr)) as report:
        dataset = _find_dataset(home, source, report)
        revision = recalibrate_model(home, version, dataset, request, confirm_labels=confirm_labels, report=report)
    found = recalibration_in_force(Registry(home).threshold_revisions(version))
    if found is not None:
        alone = "together with those of the training" if found.with_training else "without those of the training"
        sessions = f"{found.n_sessions} session{'' if found.n_sessions == 1 else 's'}"
        print_text(f"{len(found.named)} normal recordings of {sessions} count, {alone}.{left_out_note(found.left_out)}")
        print_odd_recordings(found.odd_recordings)
        if (warning := found.warning()) is not None:
            print_text(f"Warning: {warning}")
    return revision


def _find_dataset(home: Path, source: str, report: ProgressCallback) -> Dataset:
    if Path(source).exists() or "/" in source:
        return index(Path(source), cache=index_cache_file(home), report=report)
    return load_dataset(home, source, dataset_version(home, source, report=report), report=report)
