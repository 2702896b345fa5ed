"""Levels: how well loudness alone separates normal from abnormal recordings."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ml.dataset.entries import Entry

# Digital silence has no level in dB. Any number below the quietest recording gives it the right rank.
SILENCE_DBFS = -400.0
# From this AUC of level alone, a score measured without random gain may depend on loudness only.
LEVEL_AUC_WARNING = 0.8
# Smallest number of recordings of each class for the figure of one machine.
MIN_PER_CLASS = 5


def auc(normal: Sequence[float], abnormal: Sequence[float]) -> float | None:
    """Return the probability that an abnormal value is above a normal one (Mann and Whitney, 1947).

    Ties count half.

    Returns:
        0 to 1; None without values of one class.

    Example:
        >>> auc([1.0, 2.0], [2.0, 3.0])
        0.875
    """
    if not normal or not abnormal:
        return None
    low, high = np.sort(np.asarray(normal, float)), np.asarray(abnormal, float)
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))


def level_statistics(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return levels by class, and the difference and AUC of level alone: in total, by machine and SNR.

    The AUC is that of the better direction, 0.5 to 1: a model may also learn that the faulty machine is quieter.
    """
    levels_by_label = _by_class(entry for entry in entries if entry.info.level_dbfs is not None)
    of_machine: defaultdict[tuple[str, float | None], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.annotation.machine_id is not None:
            of_machine[entry.machine_name, entry.annotation.snr_db].append(entry)
    machines = [
        {"machine": machine, "snr_db": snr_db} | _level_separation(within)
        for (machine, snr_db), within in of_machine.items()
        if min(map(len, _by_class(within).values())) >= MIN_PER_CLASS
    ]
    pooled = _level_separation(entries)
    return {
        "dbfs": {label: low_median_high(levels) for label, levels in levels_by_label.items()},
        **pooled,
        "by_machine": machines,
        "given_away": [_warning(where) for where in [pooled, *machines] if (where["auc"] or 0) >= LEVEL_AUC_WARNING],
    }


def low_median_high(values: Sequence[float]) -> dict[str, float] | None:
    """Return minimum, median and maximum; None without values."""
    if not values:
        return None
    return {"min": float(min(values)), "median": float(np.median(values)), "max": float(max(values))}


def _by_class(entries: Iterable[Entry]) -> dict[str, list[float]]:
    levels: dict[str, list[float]] = {"normal": [], "abnormal": []}
    for entry in entries:
        levels[entry.label].append(SILENCE_DBFS if entry.info.level_dbfs is None else entry.info.level_dbfs)
    return levels


def _level_separation(entries: Iterable[Entry]) -> dict[str, Any]:
    of_class = _by_class(entries)
    one_way = auc(of_class["normal"], of_class["abnormal"])
    return {
        "recordings": sum(map(len, of_class.values())),
        "difference_db": _difference_of_medians(of_class) if one_way is not None else None,
        "auc": None if one_way is None else max(one_way, 1 - one_way),
    }


def _difference_of_medians(of_class: dict[str, list[float]]) -> float:
    return float(np.median(of_class["abnormal"]) - np.median(of_class["normal"]))


def _warning(where: dict[str, Any]) -> str:
    name = " ".join(filter(None, (where.get("machine"), _at(where.get("snr_db"))))) or "all recordings"
    return (
        f"In {name}, level alone separates abnormal from normal with AUC {where['auc']:.2f} "
        f"({where['difference_db']:+.1f} dB): evaluate with random gain."
    )


def _at(snr_db: float | None) -> str | None:
    return None if snr_db is None else f"at {snr_db:g} dB"
