"""``signalml train`` and ``signalml demo``: from recordings to a model."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from api.settings import Settings
from cli.evaluate import print_tables
from cli.operating import print_operating_points
from cli.output import printable, say
from cli.progress import shown_progress
from ml.dataset.entries import Dataset, Entry, Refusal
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache
from ml.dataset.splitting.methods import Method
from ml.detectors.engines.registry import DEFAULT, ENGINES
from ml.detectors.thresholds import percent
from ml.errors import ChampionChanged, InvalidParameter
from ml.features.feature_specs import Kind
from ml.models.registry import Registry
from ml.system.native import notes_held_back
from ml.training.options import LabelsFrom, Options
from ml.training.promoting import Promotion, compare_with_champion
from ml.training.promoting import promote as promote_by
from ml.training.records import REPORT
from ml.training.run import require_packages, run
from ml.training.trained import Trained

LONGEST_NAME = 48  # of a model, as ml.models.bundle.NAME_PATTERN has it
INTERRUPTED = 130  # as a shell has it: 128 and the signal
FAULT_GROUPS = "3"
DEMO_NAME, DEMO_FOLDER = "demo-fans", ".demo-"
REFUSALS_SHOWN = 10
LEFT_BEHIND_S = 3600  # by a run that was killed
DEMO_NOTE = (
    "A demonstration model: it was trained on simulated fans, made by this project's own simulator, and knows nothing "
    "of any real machine. Train on recordings of yours, and promote that."
)


def train(
    source: Annotated[Path, typer.Argument(help="A folder of recordings, or a manifest (.csv).")],
    name: Annotated[
        str | None, typer.Option(help="What the version's name begins with; else the name of the source.")
    ] = None,
    detector: Annotated[
        bool,
        typer.Option("--detector", help="Learn from healthy recordings alone; abnormal ones, if any, only evaluate."),
    ] = False,
    both: Annotated[
        bool, typer.Option("--both", help="A classifier of known faults and a detector of unknown ones, in one model.")
    ] = False,
    engine: Annotated[
        list[str] | None, typer.Option(help=f"What the detector is made of, again for each: {', '.join(ENGINES)}.")
    ] = None,
    snr: Annotated[float | None, typer.Option(help="Only the recordings at this signal-to-noise ratio, in dB.")] = None,
    kind: Annotated[
        Kind, typer.Option(help="spectrum: the native rate; original: the original project's MFCCs and CNN.")
    ] = "spectrum",
    labels: Annotated[
        LabelsFrom, typer.Option(help="Classes from: faults in the manifest, groups found in the sound, or binary.")
    ] = "auto",
    groups: Annotated[str, typer.Option(help="How many groups of faults, 2 to 9, or auto.")] = FAULT_GROUPS,
    copies: Annotated[int, typer.Option(min=0, help="Augmented copies of each training recording.")] = 0,
    split: Annotated[
        Method, typer.Option(help="What is held out: group, blocks, machine, or what fits the recordings.")
    ] = "auto",
    held_out: Annotated[str | None, typer.Option(help="The machine id that --split machine holds out.")] = None,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of healthy recordings that may raise an alarm.")
    ] = 0.01,
    refit: Annotated[
        bool, typer.Option(help="Once measured, fit once more, to all recordings, and serve that.")
    ] = True,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; else one per core.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion: it then answers uploads.")] = False,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Make it the champion if it beats the one there is, and say why.")
    ] = False,
) -> None:
    """Train a model: index, split, features, groups, fit, threshold, evaluation, card, report; prints its version.

    Interrupted, it goes on where it was when it is started again in the same way.
    """
    if detector and both:
        raise InvalidParameter("--detector and --both were given; one of them was expected.")
    of_classifiers = {
        "--epochs": epochs is not None,
        "--copies": copies > 0,
        "--labels": labels != "auto",
        "--groups": groups != FAULT_GROUPS,
    }
    if detector and (idle := [option for option, given in of_classifiers.items() if given]):
        raise InvalidParameter(
            f"{', '.join(idle)} changes nothing with --detector: it fits no classifier. --both does."
        )
    if engine and not (detector or both):
        raise InvalidParameter("--engine says what a detector is made of; --detector or --both was expected beside it.")
    if held_out is not None and split != "machine":
        raise InvalidParameter(f"--held-out {held_out} holds a machine out; add --split machine.")
    if promote and if_better:
        raise InvalidParameter("--promote and --if-better were given; one of them was expected.")
    options = Options(
        source=source,
        name=name or _name_of(source),
        snr_db=snr,
        learn="detector" if detector else "both" if both else "classifier",
        engines=tuple(engine or DEFAULT),
        kind=kind,
        labels=labels,
        groups=_groups(groups),
        copies=copies,
        split=split,
        held_out=held_out,
        false_alarm_rate=false_alarm_rate,
        refit=refit,
        epochs=epochs,
        seed=seed,
    )
    home = Settings().home
    try:
        trained, dataset = _trained(options, home, processes)
    except KeyboardInterrupt as interrupt:
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(INTERRUPTED) from interrupt
    registry = Registry(home)
    if promote:
        registry.promote(trained.version)
    elif if_better:
        decided = _decided(trained, options, dataset, home, processes)
        say(("Promoted: " if decided.promoted else "Not promoted: ") + decided.reason)
    _print_thresholds(trained, registry)
    _print_standing(trained.version, registry)
    typer.echo(trained.version)


def demo() -> None:
    """Make a demonstration model from simulated fans, if no model answers yet; it takes about a minute."""
    home = Settings().home
    registry = Registry(home)
    if registry.aliases().get("champion"):
        return
    stderr = Console(stderr=True, highlight=False)
    stderr.print("No model answers yet. Making a demonstration model from simulated fans, about a minute ...")
    with made_up_fans(home) as fans:
        trained, _ = _trained(Options(source=fans, name=DEMO_NAME), home, None, (DEMO_NOTE,))
    with suppress(ChampionChanged), notes_held_back():  # whoever promoted a model meanwhile meant that one to answer
        registry.promote(trained.version, replacing=None)
    _print_standing(trained.version, registry)
    typer.echo(trained.version)


@contextmanager
def made_up_fans(home: Path) -> Iterator[Path]:
    """A small simulated dataset, which vanishes once something was learned from it."""
    from ml.dataset.simulate.plan import Plan
    from ml.dataset.simulate.tree import simulate

    home.mkdir(parents=True, exist_ok=True)
    for left_behind in home.glob(f"{DEMO_FOLDER}*"):
        if time.time() - left_behind.stat().st_mtime > LEFT_BEHIND_S:
            shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=DEMO_FOLDER) as folder, shown_progress() as report:
        yield simulate(Path(folder) / DEMO_NAME, plan=Plan.demo(), report=report)


def _trained(options: Options, home: Path, processes: int | None, notes: Sequence[str] = ()) -> tuple[Trained, Dataset]:
    """Train, show how far it is, and print what it came to."""
    require_packages()
    with notes_held_back() as stderr:
        console = Console(file=stderr, markup=False, highlight=False, soft_wrap=True)
        with shown_progress(console) as report:
            cache = index_cache(home)
            dataset = index(options.source, snr_db=options.snr_db, cache=cache, processes=processes, report=report)
        for line in _said_of(dataset.refusals):
            console.print(line)
        with shown_progress(console) as report:
            trained = run(options, home, dataset=dataset, notes=notes, processes=processes, report=report)
    if trained.split.method == "machine":
        say(f"Held out, so that the figures are of a machine not learned from: {_machines(trained.split.test)}.")
        typer.echo()
    print_tables(trained.evaluation)
    typer.echo(f"\nReport: {trained.records / REPORT}")
    return trained, dataset


def _said_of(refusals: Sequence[Refusal]) -> list[str]:
    """Which files are left out, and why; of many, the first."""
    lines = [printable(f"left out: {refusal.path}: {refusal.reason}") for refusal in refusals[:REFUSALS_SHOWN]]
    if (more := len(refusals) - REFUSALS_SHOWN) > 0:
        lines.append(f"left out: {more} more; signalml inspect lists them")
    return lines


def _machines(entries: Sequence[Entry]) -> str:
    return ", ".join(sorted({entry.machine_name for entry in entries}))


def _print_thresholds(trained: Trained, registry: Registry) -> None:
    """Where alarms begin in what is served and, where that differs, where they did in what was measured."""
    bundle = registry.read(trained.version)
    served = registry.thresholds(trained.version, bundle)[-1].decision
    at, measured_at = f"{served.threshold:.4g}", f"{trained.evaluation.threshold:.4g}"
    say(f"Threshold: served, a score above {at} is anomalous ({served.basis}).")
    if measured_at != at:
        say(f"The figures above were measured at {measured_at}, by the fit that left the test side out.")
    asked, came = served.false_alarm_rate, trained.evaluation.pooled.false_alarm_rate
    if asked is not None and came.value is not None and came.low is not None and came.low > asked:
        say(
            f"There, {came.value:.1%} of the healthy recordings raised an alarm, where {percent(asked)} was stated: "
            "another session is another sound. Record more of them before you trust that rate."
        )
    if bundle.content.detector is not None:
        print_operating_points(trained.version, bundle.content.card["detector"]["operating"])


def _print_standing(version: str, registry: Registry) -> None:
    """Whether it answers uploads, or what makes it do so."""
    champion = registry.aliases().get("champion")
    if champion == version:
        typer.echo("It is the champion now: it answers uploads.")
        return
    typer.echo(f"It answers no uploads: {champion or 'no model'} is the champion.")
    typer.echo(f"To let it answer them:  signalml models promote {version}")


def _decided(trained: Trained, options: Options, dataset: Dataset, home: Path, processes: int | None) -> Promotion:
    """Hold it against the champion, and promote it if it is better."""
    with notes_held_back() as stderr, shown_progress(Console(file=stderr)) as report:
        compared = compare_with_champion(trained, options, dataset, home, processes=processes, report=report)
    return promote_by(trained.version, compared, "if-better", home)


def _name_of(source: Path) -> str:
    """The source's name as a model may be called."""
    return re.sub(r"[^a-z0-9._-]+", "-", source.resolve().stem.lower()).strip("-._")[:LONGEST_NAME] or "model"


def _groups(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InvalidParameter(f"{text!r} groups; a number from 2 to 9, or auto, was expected.")
    return int(text)
