"""``signalml train`` and ``signalml demo``: train a model on recordings."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.settings import Settings
from cli.evaluate import print_tables
from cli.home import created_home, protect_home
from cli.lazy import INTERRUPTED
from cli.operating_points import (
    print_calibration,
    print_expectations,
    print_false_alarms,
    print_operating_points,
)
from cli.output import print_text
from cli.progress import show_progress
from cli.training_options import choices_from, with_training_options
from ml.dataset.entries import Dataset, Entry, FileRefusal
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache_file
from ml.dataset.simulate.plan import SimulationPlan
from ml.dataset.simulate.simulator import simulate
from ml.dataset.summary import passed_over_lines
from ml.detectors.detector import Detector
from ml.errors import ChampionChanged, InvalidParameter
from ml.models.names import LONGEST_NAME
from ml.models.registry import Registry
from ml.system.native import quiet_native_stderr
from ml.system.text import printable
from ml.training.champion_comparison import compare_with_champion
from ml.training.options import TrainingOptions
from ml.training.paths import REPORT
from ml.training.pipeline import require_packages
from ml.training.pipeline import train as train_model
from ml.training.promotion import Promotion
from ml.training.promotion import promote as promote_by
from ml.training.training_result import TrainingResult

DEMO_NAME, DEMO_FOLDER = "demo-fans", ".demo-"
REFUSALS_SHOWN = 10
LEFT_BEHIND_S = 3600  # an older demonstration dataset is left from a killed run


@with_training_options
def train(
    source: Annotated[Path, typer.Argument(help="A folder of recordings, or a manifest (.csv).")],
    detector: Annotated[
        bool,
        typer.Option("--detector", help="Learn from normal recordings alone; abnormal ones are only for evaluation."),
    ] = False,
    both: Annotated[
        bool,
        typer.Option("--both", help="Train a classifier of known faults and a detector of unknown ones, in one model."),
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; default: one per core, or 1 for few recordings.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion: it then answers uploads.")] = False,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Make it the champion if it is better than the present one.")
    ] = False,
    **choices: Any,
) -> None:
    """Train a model on a folder of recordings, evaluate it, and print its version.

    If it is interrupted, the same command continues from where it stopped.
    """
    if promote and if_better:
        raise InvalidParameter("--promote and --if-better were given; one of them was expected.")
    chosen = choices_from(choices, detector=detector, both=both)
    options = TrainingOptions(source=source, **chosen | {"name": chosen["name"] or _name_of(source)})
    home = created_home().home
    try:
        trained, dataset = _train(options, home, processes)
    except KeyboardInterrupt as interrupt:
        typer.echo("Stopped. The same command continues the training.", err=True)
        raise typer.Exit(INTERRUPTED) from interrupt
    registry = Registry(home)
    if promote:
        registry.promote(trained.version)
    elif if_better:
        promotion = _promote_if_better(trained, options, dataset, home, processes)
        print_text(("Promoted: " if promotion.promoted else "Not promoted: ") + promotion.reason)
    _print_thresholds(trained, registry, options.false_alarm_rate)
    if trained.expectations is not None:
        print_expectations(trained.expectations, trained.version)
    _print_champion(trained.version, registry)
    typer.echo(trained.version)


def demo() -> None:
    """Train a demonstration model on simulated fans, if no model answers yet; takes about a minute."""
    settings = Settings()
    protect_home(settings)  # as the service does, which starts after this command
    home = settings.home
    registry = Registry(home)
    if registry.aliases().get("champion"):
        return
    stderr = Console(stderr=True, highlight=False)
    stderr.print("No model answers yet. Making a demonstration model from simulated fans, about a minute ...")
    with simulated_fans(home) as fans:
        trained, _ = _train(TrainingOptions(source=fans, name=DEMO_NAME), home, None, demonstration=True)
    with suppress(ChampionChanged), quiet_native_stderr():  # a model that was promoted meanwhile stays the champion
        registry.promote(trained.version, expected_version=None)
    _print_champion(trained.version, registry)
    typer.echo(trained.version)


@contextmanager
def simulated_fans(home: Path) -> Iterator[Path]:
    """Make a small simulated dataset, and remove it after use."""
    home.mkdir(parents=True, exist_ok=True)
    for left_behind in home.glob(f"{DEMO_FOLDER}*"):
        if time.time() - left_behind.stat().st_mtime > LEFT_BEHIND_S:
            shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=DEMO_FOLDER) as folder, show_progress() as report:
        yield simulate(Path(folder) / DEMO_NAME, plan=SimulationPlan.demo(), report=report)


def _train(
    options: TrainingOptions, home: Path, processes: int | None, *, demonstration: bool = False
) -> tuple[TrainingResult, Dataset]:
    """Train with a progress display, and print the figures."""
    require_packages()
    with quiet_native_stderr() as stderr:
        console = Console(file=stderr, markup=False, highlight=False, soft_wrap=True)
        with show_progress(console) as report:
            cache = index_cache_file(home)
            dataset = index(options.source, snr_db=options.snr_db, cache=cache, processes=processes, report=report)
        for line in (*_refusal_lines(dataset.refusals), *_passed_over(dataset)):
            console.print(line)
        with show_progress(console) as report:
            trained = train_model(
                options, home, dataset=dataset, demonstration=demonstration, processes=processes, report=report
            )
    if trained.split.method == "machine":
        print_text(f"The figures are for a machine that the model has not learned: {_machines(trained.split.test)}.")
        typer.echo()
    print_tables(trained.evaluation)
    typer.echo(f"\nReport: {trained.records / REPORT}")
    return trained, dataset


def _refusal_lines(refusals: Sequence[FileRefusal]) -> list[str]:
    """Return a line for each file that is left out, with the reason; at most :data:`REFUSALS_SHOWN`."""
    lines = [printable(f"left out: {refusal.path}: {refusal.reason}") for refusal in refusals[:REFUSALS_SHOWN]]
    if (more := len(refusals) - REFUSALS_SHOWN) > 0:
        lines.append(f"left out: {more} more; signalml inspect lists them")
    return lines


def _passed_over(dataset: Dataset) -> list[str]:
    return [printable(f"passed over: {line}") for line in passed_over_lines(dataset)]


def _machines(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted({entry.machine_name for entry in entries}))


def _print_thresholds(trained: TrainingResult, registry: Registry, rate: float) -> None:
    """Print the threshold of the final model and, if it differs, the threshold of the evaluation.

    Args:
        trained: the training.
        registry: registry with the model.
        rate: false-alarm rate that was requested.
    """
    bundle = registry.read_calibrated(trained.version)
    revision = registry.threshold_revisions(trained.version)[-1]
    final, detector = revision.decision, bundle.content.detector
    threshold, evaluated_at = f"{final.threshold:.4g}", f"{trained.evaluation.threshold:.4g}"
    print_text(f"Threshold: a score above {threshold} is anomalous ({final.basis}).")
    if evaluated_at != threshold:
        print_text(f"The figures above are from the fit without the test side; its threshold is {evaluated_at}.")
    if detector is not None:
        _print_reference(detector)
        if revision.revision == 1:
            print_calibration(detector, final.threshold, rate)
        print_false_alarms(trained.version, detector, final.threshold, Settings().alarm_rule)
        print_operating_points(trained.version, bundle.content.card["detector"]["operating"])


def _print_reference(detector: Detector) -> None:
    """Print how much the reference channel explains, and whether it is used."""
    if detector.benefit is not None and detector.spec.reference_channel is not None:
        print_text(detector.benefit.describe(detector.spec.reference_channel))


def _print_champion(version: str, registry: Registry) -> None:
    """Print whether the model answers uploads, or the command that lets it answer them."""
    champion = registry.aliases().get("champion")
    if champion == version:
        typer.echo("The model is the champion now: it answers uploads.")
        return
    typer.echo(f"The model answers no uploads: {champion or 'no model'} is the champion.")
    typer.echo(f"To let it answer uploads:  signalml models promote {version}")


def _promote_if_better(
    trained: TrainingResult, options: TrainingOptions, dataset: Dataset, home: Path, processes: int | None
) -> Promotion:
    """Compare the model with the champion, and promote it if it is better."""
    with quiet_native_stderr() as stderr, show_progress(Console(file=stderr)) as report:
        comparison = compare_with_champion(trained, options, dataset, home, processes=processes, report=report)
    return promote_by(trained.version, comparison, "if-better", home)


def _name_of(source: Path) -> str:
    """Return the name of the source, in the form of a model's name."""
    source = source.resolve()
    name = source.name if source.is_dir() else source.stem
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:LONGEST_NAME] or "model"
