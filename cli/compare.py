"""``signalml compare``: detectors that learn from healthy sound alone, side by side on a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from api.settings import Settings
from cli.output import print_note, print_table, print_text
from cli.progress import show_progress
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache_file
from ml.detectors.engines.registry import ENGINES
from ml.errors import InvalidParameter
from ml.evaluation.results import Estimate
from ml.experiments.comparison_report import write_comparison_report
from ml.experiments.comparison_results import (
    FALSE_ALARM_RATES,
    ComparisonRow,
    DetectorComparison,
    OutOfDomainRejection,
    UnusableShare,
)
from ml.experiments.detector_comparison import compare_detectors
from ml.system.atomic import to_json, write_atomic
from ml.system.native import quiet_native_stderr
from ml.training.pipeline import require_packages


def compare(
    source: Annotated[
        Path, typer.Argument(metavar="DATASET", help="A folder of recordings, or a manifest (.csv): healthy ones.")
    ],
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="Try this beside the default and the bar, which always take part; again for each, A+B for two "
            f"together. Left out, every engine is tried: {', '.join(ENGINES)}."
        ),
    ] = None,
    snr: Annotated[float | None, typer.Option(help="Only the recordings at this signal-to-noise ratio, in dB.")] = None,
    out_of_domain: Annotated[
        Path | None, typer.Option(help="A folder of sounds that are no machine: how many are rejected?")
    ] = None,
    gain_db: Annotated[
        float, typer.Option(min=0, max=60, help="A random gain of up to so many dB on each recording that is tried.")
    ] = 6.0,
    report_file: Annotated[Path | None, typer.Option("--report", help="Also write a report here, as HTML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures here, as JSON.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random gains and of the intervals.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes that listen; else one per core.")] = None,
) -> None:
    """Compare detectors on a dataset, each tested on recordings that it was not trained on.

    Every comparison includes MIMII's published baseline. Detectors are trained on healthy recordings only; abnormal
    recordings, if there are any, are used for the tests.
    """
    require_packages()
    for file in (report_file, json_file):
        _refuse_unless_writable(file)
    if out_of_domain is not None and not out_of_domain.exists():
        raise InvalidParameter(f"--out-of-domain {out_of_domain} does not exist; a folder of sounds was expected.")
    with quiet_native_stderr() as stderr, show_progress(Console(file=stderr)) as report:
        cache = index_cache_file(Settings().home)
        dataset = index(source, snr_db=snr, cache=cache, processes=processes, report=report)
        comparison = compare_detectors(
            dataset,
            tuple(engine or ENGINES),
            out_of_domain=out_of_domain,
            gain_db=gain_db,
            seed=seed,
            processes=processes,
            report=report,
        )
    if json_file is not None:
        write_atomic(json_file, to_json(comparison.to_dict()))
    if report_file is not None:
        write_comparison_report(report_file, comparison)
    print_comparison(comparison)


def _refuse_unless_writable(file: Path | None) -> None:
    """Said before the work and not after it."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise InvalidParameter(f"{file} cannot be written: a file in a folder that exists was expected.")


def print_comparison(comparison: "DetectorComparison") -> None:
    """Everything that a comparison found, for a person."""
    for rows in comparison.slices:
        first = rows[0]
        print_text(
            f"{first.name}: {first.normal} normal and {first.abnormal} abnormal recordings "
            f"(sessions: {first.normal_sessions} and {first.abnormal_sessions})"
        )
        print_table(_table(rows), "")
        typer.echo()
    if comparison.rejections:
        print_text("Sounds that are no machine, and the share of them that does not pass for a healthy one:")
        print_table(_rejections(comparison.rejections), "", keys=2)
        typer.echo()
    if comparison.refusals:
        print_text("What the default takes for no machine's, and does not judge unless it is anomalous:")
        print_table(_refusals(comparison.refusals), "", keys=2)
        typer.echo()
    print_note(
        f"{comparison.contenders[0]} is the default, {comparison.baseline} the bar that the others are held against."
    )
    for note in comparison.notes:
        print_note(note)


def _table(rows: "Sequence[ComparisonRow]") -> Table:
    rates = [head for rate in FALSE_ALARM_RATES for head in (f"detected at {rate:.0%}", f"false alarms at {rate:.0%}")]
    table = Table("engines", "AUC", "pAUC", *rates, "AUC less the bar's", box=None)
    for row in rows:
        of_rates = (estimate for pair in row.rates for estimate in pair)
        table.add_row(row.contender, *map(_format_estimate, (row.auc, row.pauc, *of_rates, row.auc_difference)))
    return table


def _rejections(rejections: "Sequence[OutOfDomainRejection]") -> Table:
    heads = [f"{what} at {rate:.0%}" for what in ("rejected", "by an alarm") for rate in FALSE_ALARM_RATES]
    table = Table("learned from", "engines", "sounds", *heads, box=None)
    for each in rejections:
        table.add_row(each.subset, each.contender, str(each.n), *map(_format_estimate, (*each.rejected, *each.alarmed)))
    return table


def _refusals(refusals: "Sequence[UnusableShare]") -> Table:
    table = Table("learned from", "of", "n", "share", box=None)
    for each in refusals:
        table.add_row(each.subset, each.what, str(each.n), _format_estimate(each.refused))
    return table


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
