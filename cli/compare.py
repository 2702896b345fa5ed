"""``signalml compare``: comparison of detectors on a dataset."""

import shlex
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
from ml.experiments.recommendation import recommend
from ml.system.atomic import to_json, write_atomic
from ml.system.native import quiet_native_stderr
from ml.system.text import printable
from ml.training.label_check import require_plain_labels
from ml.training.pipeline import require_packages


def compare(
    source: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="A folder of recordings, or a manifest (.csv). Normal ones are enough."),
    ],
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="Engine to compare with the default and the baseline, which always take part. Repeat the option for "
            f"several engines; A+B is two together. Default: all engines ({', '.join(ENGINES)})."
        ),
    ] = None,
    snr: Annotated[float | None, typer.Option(help="Only the recordings at this signal-to-noise ratio, in dB.")] = None,
    out_of_domain: Annotated[
        Path | None, typer.Option(help="A folder of sounds that come from no machine, to count how many are rejected.")
    ] = None,
    gain_db: Annotated[
        float, typer.Option(min=0, max=60, help="Largest random gain of each tested recording, in dB, up or down.")
    ] = 6.0,
    report_file: Annotated[Path | None, typer.Option("--report", help="Also write a report to this HTML file.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures to this JSON file.")] = None,
    confirm_labels: Annotated[
        bool, typer.Option("--confirm-labels", help="Use labels that names of files and folders contradict.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random gains and of the intervals.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
) -> None:
    """Compare detectors on a dataset, each tested on recordings that it was not trained on.

    Every comparison includes the published baseline of MIMII. Detectors are trained on normal recordings only; abnormal
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
        require_plain_labels(dataset, confirmed=confirm_labels)
        comparison = compare_detectors(
            dataset,
            tuple(engine or ENGINES),
            out_of_domain=out_of_domain,
            gain_db=gain_db,
            seed=seed,
            processes=processes,
            report=report,
        )
    recommendation = recommend(comparison)
    confirmed = ("--confirm-labels",) if confirm_labels else ()
    command = shlex.join(["signalml", "train", str(source), *_snr_option(snr), *confirmed, *recommendation.options])
    if json_file is not None:
        recommended = recommendation.to_dict() | {"command": command}
        write_atomic(json_file, to_json(comparison.to_dict() | {"recommendation": recommended}))
    if report_file is not None:
        write_comparison_report(report_file, comparison)
    print_comparison(comparison)
    print_text(recommendation.message)
    typer.echo(f"To train it:  {printable(command)}")


def _snr_option(snr: float | None) -> tuple[str, ...]:
    return () if snr is None else ("--snr", f"{snr:g}")


def _refuse_unless_writable(file: Path | None) -> None:
    """Refuse a file that cannot be written before the work begins."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise InvalidParameter(f"{file} cannot be written; a file in an existing folder was expected.")


def print_comparison(comparison: "DetectorComparison") -> None:
    """Print all tables and notes of a comparison."""
    for rows in comparison.slices:
        first = rows[0]
        print_text(
            f"{first.name}: {first.normal} normal and {first.abnormal} abnormal recordings "
            f"(sessions: {first.normal_sessions} and {first.abnormal_sessions})"
        )
        print_table(_table(rows), "")
        typer.echo()
    if comparison.rejections:
        print_text("Out-of-domain sounds, and the share of them that is not taken for a healthy machine:")
        print_table(_rejections(comparison.rejections), "", keys=2)
        typer.echo()
    if comparison.refusals:
        print_text("Rejected as out of domain (an anomalous recording is never rejected for this reason):")
        print_table(_refusals(comparison.refusals), "", keys=2)
        typer.echo()
    print_note(f"{comparison.contenders[0]} is the default; {comparison.baseline} is the published baseline.")
    for note in comparison.notes:
        print_note(note)


def _table(rows: "Sequence[ComparisonRow]") -> Table:
    rates = [head for rate in FALSE_ALARM_RATES for head in (f"detected at {rate:.0%}", f"false alarms at {rate:.0%}")]
    table = Table("engines", "AUC", "pAUC", *rates, "AUC difference to the baseline", box=None)
    for row in rows:
        at_rates = (estimate for pair in row.rates for estimate in pair)
        table.add_row(row.contender, *map(_format_estimate, (row.auc, row.pauc, *at_rates, row.auc_difference)))
    return table


def _rejections(rejections: "Sequence[OutOfDomainRejection]") -> Table:
    heads = [f"{what} at {rate:.0%}" for what in ("rejected", "by an alarm") for rate in FALSE_ALARM_RATES]
    table = Table("trained on", "engines", "sounds", *heads, box=None)
    for each in rejections:
        table.add_row(each.subset, each.contender, str(each.n), *map(_format_estimate, (*each.rejected, *each.alarmed)))
    return table


def _refusals(refusals: "Sequence[UnusableShare]") -> Table:
    table = Table("trained on", "recordings", "n", "not judged", box=None)
    for each in refusals:
        table.add_row(each.subset, each.what, str(each.n), _format_estimate(each.refused))
    return table


def _format_estimate(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
