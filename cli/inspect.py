"""``signalml inspect``: summary of a dataset before a training."""

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from api.settings import Settings
from cli.output import print_table
from cli.progress import show_progress
from ml.dataset.entries import SessionOrigin
from ml.dataset.indexing.build import index
from ml.dataset.paths import index_cache_file
from ml.dataset.summary import manifest_row, passed_over_lines, summarise
from ml.system.text import csv_row
from ml.training.reference_choice import ReferenceChoice, ReferenceComparison, compare_reference_channels

# Lines shown of a long list.
SHOWN = 10
NAMES = {"channels": "channels", "sample_rate_hz": "sample rate", "bits": "bit depth", "codec": "codec"}
ORIGINS: dict[SessionOrigin, str] = {
    "given": "given in the column group",
    "folders": "by folders, one for each machine",
    "file names": "by the beginnings of file names",
    "times in names": "by gaps between the times in file names",
    "file times": "by gaps between the times of files or uploads (unsure: copying changes them)",
    "none": "none known, all recordings of a machine or a class count as one",
}
UNITS = {"channels": "", "sample_rate_hz": " Hz", "bits": " bit", "codec": ""}


def inspect(
    source: Annotated[Path, typer.Argument(help="A folder of recordings, or a manifest (.csv).")],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the table of metadata, with a row for each recording.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole summary as JSON.")] = False,
    snr: Annotated[float | None, typer.Option(help="Only the recordings at this signal-to-noise ratio, in dB.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
    channels: Annotated[
        bool, typer.Option(help="Compare the channels as reference; takes a few seconds if there are several.")
    ] = True,
) -> None:
    """Summarise a dataset: counts, formats, levels, refused files, copies, channels, and the automatic split."""
    if as_csv and as_json:
        raise typer.BadParameter("--csv and --json were given; one of them was expected")
    with show_progress() as report:
        dataset = index(source, snr_db=snr, cache=index_cache_file(Settings().home), processes=processes, report=report)
    if as_csv:
        _print_csv([manifest_row(entry) for entry in dataset.entries])
        return
    compared = None
    if channels:
        with show_progress() as report:
            compared = compare_reference_channels(dataset, processes=processes, report=report)
    if as_json:
        facts = {} if compared is None else {"reference_channels": compared.to_dict()}
        typer.echo(json.dumps(summarise(dataset) | facts, indent=2, ensure_ascii=False))
    else:
        _print_summary(summarise(dataset), passed_over_lines(dataset))
        if compared is not None:
            _print_channels(compared)


def _print_csv(rows: list[dict[str, Any]]) -> None:
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(sys.stdout, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(dict(zip(row, csv_row(row.values()), strict=True)) for row in rows)


def _print_summary(facts: dict[str, Any], passed_over: list[str]) -> None:
    hours = facts["duration_s"] / 3600
    total = f"{hours:.1f} h" if hours >= 1 else f"{facts['duration_s'] / 60:.1f} min"
    _print_line(
        f"{facts['name']}: {facts['recordings']} recordings, {total}, {facts['bytes'] / 1e6:,.1f} MB "
        f"(layout: {facts['layout']}, fingerprint {facts['fingerprint']})"
    )
    for table in (
        _kinds(facts),
        _sessions_table(facts),
        _shares(facts),
        _ranges(facts),
        _machine_levels(facts),
        _given_split(facts),
        _split(facts),
    ):
        if table.row_count:
            _print_line(f"\n{table.title}")
            table.title = None
            print_table(table, "")
    _print_notes(facts, passed_over)


def _print_channels(compared: ReferenceComparison) -> None:
    """Print how much each channel would bring as reference, the best first."""
    if compared.refused is not None:
        _list("reference channel", [f"{compared.refused} It is not known which would serve as reference."])
        return
    title = f"reference channel, from {compared.recordings} normal recordings with {compared.channels} channels"
    lines = [
        _channel_line(compared.channels, choice, is_best=number == 0) for number, choice in enumerate(compared.choices)
    ]
    if any(choice.benefit is not None and choice.benefit.pair_contrast is None for choice in compared.choices):
        lines.append(
            "With one machine, it cannot be measured which channel records the machine: the reference must be the "
            "microphone that is farther from it."
        )
    _list(title, lines)


def _channel_line(channels: int, choice: ReferenceChoice, *, is_best: bool) -> str:
    if choice.benefit is None or choice.level_db is None:
        return f"channel {choice.channel} as reference: not measured, because {choice.why_not}"
    benefit, main = choice.benefit, f"channel {1 - choice.channel}" if channels == 2 else "the mean of the others"
    if benefit.why_not is not None:
        advice = f"no reference, because {benefit.why_not}"
    else:
        advice = f"{'a good' if is_best else 'also a'} reference (--reference-channel {choice.channel})"
    return (
        f"channel {choice.channel} as reference explains {benefit.explained_percent}, and is "
        f"{abs(choice.level_db):.1f} dB {'louder' if choice.level_db > 0 else 'softer'} than {main}: {advice}"
    )


def _kinds(facts: dict[str, Any]) -> Table:
    table = _table("recordings by kind", "machine", "id", "SNR", "label", "fault", numbers=("recordings",))
    for kind in facts["kinds"]:
        snr = "-" if kind["snr_db"] is None else f"{kind['snr_db']:g} dB"
        cells = (kind["machine"], kind["machine_id"], snr, kind["label"], kind["fault"])
        table.add_row(*(cell or "-" for cell in cells), str(kind["recordings"]))
    return table


def _sessions_table(facts: dict[str, Any]) -> Table:
    counts = facts["groups"]["counts"]
    number = f"{len(counts)} session{'' if len(counts) == 1 else 's'}"
    table = _table(f"{number}: {_origins(counts)}", "session", "machine", numbers=("normal", "abnormal"))
    timed = any(session["first"] for session in counts[:SHOWN])
    for name in ("first", "last") if timed else ():
        table.add_column(name)
    for session in counts[:SHOWN]:
        machines = session["machines"]
        times = (session["first"] or "-", session["last"] or "-") if timed else ()
        only, *others = machines
        machine = f"{len(machines)} machines (--json has all)" if others else only or "-"
        table.add_row(session["group"], machine, str(session["normal"]), str(session["abnormal"]), *times)
    if len(counts) > SHOWN:
        table.add_row(f"... and {len(counts) - SHOWN} more (--json has all)", "", "")
    return table


def _origins(counts: list[dict[str, Any]]) -> str:
    """Return where the sessions come from, the surest first."""
    numbers = Counter(session["origin"] for session in counts)
    found = [name for name in ORIGINS if numbers[name]]
    if len(found) == 1:
        return ORIGINS[found[0]]
    return "; ".join(f"{numbers[name]} {ORIGINS[name]}" for name in found)


def _shares(facts: dict[str, Any]) -> Table:
    table = _table("formats", "property", "value", numbers=("share", "recordings"))
    for name, shares in facts["shares"].items():
        for share in shares:
            value = f"{share['value']}{UNITS[name]}"
            table.add_row(NAMES[name], value, f"{share['share']:.3f}", str(share["recordings"]))
    return table


def _ranges(facts: dict[str, Any]) -> Table:
    table = _table("duration and level", "label", "", numbers=("min", "median", "max"))
    for label, durations in facts["durations_s"].items():
        for what, values, unit in (("duration", durations, "s"), ("level", facts["levels"]["dbfs"][label], "dBFS")):
            if values:
                table.add_row(label, what, *(f"{values[key]:.1f} {unit}" for key in ("min", "median", "max")))
    return table


def _machine_levels(facts: dict[str, Any]) -> Table:
    table = _table("level alone: abnormal and normal", "machine", numbers=("recordings", "difference", "AUC"))
    if facts["levels"]["auc"] is None:
        return table
    for where in [facts["levels"], *facts["levels"]["by_machine"][:SHOWN]]:
        name = where.get("machine", "all") + ("" if where.get("snr_db") is None else f" at {where['snr_db']:g} dB")
        table.add_row(name, str(where["recordings"]), f"{where['difference_db']:+.1f} dB", f"{where['auc']:.2f}")
    return table


def _given_split(facts: dict[str, Any]) -> Table:
    table = _table("given split, as folders, names or the manifest state it", "side", numbers=("normal", "abnormal"))
    for side, counts in facts["given_split"].items():
        table.add_row(side, str(counts.get("normal", 0)), str(counts.get("abnormal", 0)))
    return table


def _split(facts: dict[str, Any]) -> Table:
    split = facts["split"]
    title = f"automatic split: by {split.get('method')}, {split.get('left_out')} left out (gap recordings and copies)"
    table = _table(title, "side", numbers=("normal", "abnormal"))
    for side, counts in split.get("sides", {}).items():
        table.add_row(side, str(counts.get("normal", 0)), str(counts.get("abnormal", 0)))
    return table


def _print_notes(facts: dict[str, Any], passed_over: list[str]) -> None:
    contradictions = facts["contradictions"]
    title = f"{len(contradictions)} labels that names contradict: a training is refused without --confirm-labels"
    _list(title, [f"{each['path']}: {each['reason']}" for each in contradictions])
    warnings = list(facts["levels"]["given_away"])
    if facts["split"].get("refused"):
        warnings.append(f"No automatic split: {facts['split']['refused']}")
    _list("warnings", warnings)
    _list(f"{len(facts['refusals'])} refused", [f"{r['path']}: {r['reason']}" for r in facts["refusals"]])
    _list(f"{len(facts['passed_over'])} passed over", passed_over)
    _list(f"{len(facts['duplicates'])} recordings with copies", [_copies(same) for same in facts["duplicates"]])
    _list(f"{len(facts['silent'])} silent", facts["silent"])
    _list(f"{len(facts['clipped'])} with samples at full scale", facts["clipped"])


def _copies(same: dict[str, Any]) -> str:
    contradicting = "  (their labels contradict: none is used)" if same["contradicting"] else ""
    return " = ".join(same["paths"]) + contradicting


def _list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    _print_line(f"\n{title}")
    for line in lines[:SHOWN]:
        _print_line(f"  {line}")
    if len(lines) > SHOWN:
        _print_line(f"  ... and {len(lines) - SHOWN} more (--json has all)")


def _table(title: str, *columns: str, numbers: tuple[str, ...]) -> Table:
    table = Table(*columns, title=title, box=None)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _print_line(line: str) -> None:
    Console(markup=False, highlight=False, soft_wrap=True).print(line)
