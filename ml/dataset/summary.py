"""Summary of a dataset: counts, audio facts, levels, refusals, copies and automatic split."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ml.dataset.annotations import PUBLISHED_FIELDS
from ml.dataset.entries import Dataset, Entry, FileRefusal, SessionFacts
from ml.dataset.indexing.scan import REASONS
from ml.dataset.levels import level_statistics, low_median_high
from ml.dataset.splitting.duplicates import labels_contradict
from ml.dataset.splitting.methods import split
from ml.errors import DatasetError

KIND = ("machine", "machine_id", "snr_db", "label", "fault")
# The original project's notebook printed the shares of these.
PROPERTIES = ("channels", "sample_rate_hz", "bits")
NAMES_SHOWN = 3
COLUMNS = (
    *("path", "label", "machine", "machine_id", "snr_db", "fault", "group"),
    *("channels", "sample_rate_hz", "bits", "codec", "duration_s", "level_dbfs", "peak_dbfs", "clipped_share", "bytes"),
    "audio_hash",
)


def summarise(dataset: Dataset) -> dict[str, Any]:
    """Return all values that ``signalml inspect`` shows.

    Returns:
        Plain values for JSON: ``recordings`` and ``duration_s`` in total; ``kinds``, counts by machine, id, SNR, label
        and fault; ``groups``, counts by session, with machines, origin and times of each; ``shares`` of channels,
        sample rates (Hz), bit depths and codecs, 0 to 1, the most frequent first; ``durations_s`` by label; ``levels``
        (see :func:`~ml.dataset.levels.level_statistics`); ``silent`` and ``clipped`` recordings; ``duplicates``;
        ``refusals`` and ``passed_over``, with path, code and reason of each; ``contradictions``, labels that names
        contradict; ``given_split``, counts by side and label of the sides that the dataset states; ``split``, the
        automatic split.
    """
    entries = dataset.entries
    return {
        "name": dataset.name,
        "layout": dataset.layout,
        "fingerprint": dataset.fingerprint,
        "recordings": len(entries),
        "bytes": sum(entry.info.bytes for entry in entries),
        "duration_s": sum(entry.info.duration_s for entry in entries),
        "labels": dict(Counter(entry.label for entry in entries)),
        "kinds": _kinds(entries),
        "groups": {"named": dataset.explicit_sessions, "counts": session_summaries(dataset)},
        "shares": {name: _shares(getattr(entry.info, name) for entry in entries) for name in (*PROPERTIES, "codec")},
        "durations_s": _durations(entries),
        "levels": level_statistics(entries),
        "silent": [entry.path for entry in entries if entry.info.level_dbfs is None],
        "clipped": [entry.path for entry in entries if entry.info.clipped_share > 0],
        "duplicates": [_copies(same) for same in dataset.duplicates],
        "refusals": [asdict(refusal) for refusal in dataset.refusals],
        "passed_over": [asdict(each) for each in dataset.passed_over],
        "contradictions": [asdict(each) for each in dataset.contradictions],
        "given_split": _given_split(entries),
        "split": automatic_split_summary(dataset),
    }


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Files and folders that are not read for one reason.

    Attributes:
        code: stable code of the reason.
        reason: sentence.
        count: number of files and folders.
        examples: the first paths.
    """

    code: str
    reason: str
    count: int
    examples: tuple[str, ...]


def group_passed_over(refusals: Iterable[FileRefusal]) -> list[PassedOver]:
    """Return what is not read or cannot be used, for each reason."""
    of_code: defaultdict[str, list[FileRefusal]] = defaultdict(list)
    for refusal in refusals:
        of_code[refusal.code].append(refusal)
    return [
        PassedOver(code, REASONS.get(code, same[0].reason), len(same), tuple(each.path for each in same[:NAMES_SHOWN]))
        for code, same in of_code.items()
    ]


def passed_over_lines(dataset: Dataset) -> list[str]:
    """Return a line for each reason why files and folders are not read, with their number and the first names."""
    return [
        f"{group.count} {group.code}: {', '.join(group.examples)}{' ...' if group.count > NAMES_SHOWN else ''}. "
        f"{group.reason}"
        for group in group_passed_over(dataset.passed_over)
    ]


def automatic_split_summary(dataset: Dataset) -> dict[str, Any]:
    """Return method and counts by side and label of the automatic split, or why there is none."""
    try:
        result = split(dataset)
    except DatasetError as error:
        return {"refused": str(error), "code": error.code}
    sides: dict[str, Counter[str]] = {"train": Counter(), "validation": Counter(), "test": Counter()}
    for side, entry in result.sides():
        sides[side][entry.label] += 1
    return {
        "method": result.method,
        "sides": {side: dict(counts) for side, counts in sides.items()},
        "left_out": len(result.left_out),
    }


def manifest_row(entry: Entry) -> dict[str, Any]:
    """Return a row of the original project's metadata table with more columns; it is a manifest row too.

    The fields of published datasets are added where they are known.
    """
    known = entry.to_dict()
    values = {name: known[name] for name in (*COLUMNS, *PUBLISHED_FIELDS) if name in known}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def _given_split(entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    sides: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        if entry.annotation.split is not None:
            sides[entry.annotation.split][entry.label] += 1
    return {side: dict(counts) for side, counts in sides.items()}


def _kinds(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    counts = Counter(tuple(entry.annotation.to_dict()[name] for name in KIND) for entry in entries)
    ordered = sorted(counts, key=lambda kind: tuple((value is not None, value) for value in kind[:3]))
    return [dict(zip(KIND, kind, strict=True)) | {"recordings": counts[kind]} for kind in ordered]


def session_summaries(dataset: Dataset) -> list[dict[str, Any]]:
    """Return counts by label and machine, origin and times of each session."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    machines: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in dataset.entries:
        counts[entry.session][entry.label] += 1
        machines[entry.session][entry.machine_name] += 1
    facts = {group: dataset.session_facts.get(group, SessionFacts("none")) for group in counts}
    return [
        {
            "group": group,
            **{label: counts[group][label] for label in ("normal", "abnormal")},
            "machines": dict(machines[group]),
            **asdict(facts[group]),
        }
        for group in counts
    ]


def _shares(values: Iterable[Hashable]) -> list[dict[str, Any]]:
    counts = Counter(values)
    total = sum(counts.values())
    return [{"value": value, "share": count / total, "recordings": count} for value, count in counts.most_common()]


def _durations(entries: Iterable[Entry]) -> dict[str, Any]:
    of_label: defaultdict[str, list[float]] = defaultdict(list)
    for entry in entries:
        of_label[entry.label].append(entry.info.duration_s)
    return {label: low_median_high(durations) for label, durations in of_label.items()}


def _copies(same: tuple[Entry, ...]) -> dict[str, Any]:
    first, *others = same
    return {
        "paths": [entry.path for entry in same],
        "contradicting": any(labels_contradict(first, other) for other in others),
    }
