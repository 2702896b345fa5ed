"""From what the rounds measured to figures, ratios and the verdict on each target."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

Round = dict[str, Any]
"""What one round measured of one server: see :func:`benchmarks.inference.rounds.Bench`."""


Ratio = dict[str, float]
"""How many times better: ``median``, worst (``low``) and best (``high``) of so many ``rounds``."""


class ComparedFigure(NamedTuple):
    """One figure of a round, how to find it, and whether more of it is better."""

    name: str
    find: Callable[[Round], float]
    more_is_better: bool = False


def load_key(route: str, clients: int) -> str:
    """How a round calls a measurement of ``route`` with so many clients."""
    return f"{route} x{clients}"


def spread(latencies_ms: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Percentiles of all rounds together, and how many answers they are of.

    Raises:
        RuntimeError: there is no answer at all.
    """
    pooled = np.concatenate(latencies_ms)
    if not len(pooled):
        raise RuntimeError("not one right answer in any round")
    p50, p95, p99 = np.percentile(pooled, (50, 95, 99)).tolist()
    return {"n": len(pooled), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def loaded(measurements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The measurements of several rounds together."""
    percentiles = spread([measurement["latencies_ms"] for measurement in measurements])
    return percentiles | {
        "throughput_per_s": percentiles["n"] / sum(measurement["seconds"] for measurement in measurements),
        "wrong": sum(measurement["wrong"] for measurement in measurements),
        "first_problem": next((m["first_problem"] for m in measurements if m["wrong"]), None),
        "client_cpu_share": float(np.mean([measurement["client_cpu_share"] for measurement in measurements])),
    }


def staged(measured: Sequence[Round]) -> dict[str, Any]:
    """The stages of several rounds together: of each round's medians the median."""
    names = [row["stage"] for row in measured[0]["stages"]]
    return {
        "n": sum(one["n"] for one in measured),
        "sgemm_gflops": max(one["sgemm_gflops"] for one in measured),
        "stages": [
            {"stage": name} | {key: median(one["stages"][i][key] for one in measured) for key in ("ms", "floor_ms")}
            for i, name in enumerate(names)
        ],
    }


def better_by(more: Sequence[float], less: Sequence[float]) -> Ratio:
    """The ratio of two figures, round by round."""
    ratios = [a / b for a, b in zip(more, less, strict=True)]
    return {"median": median(ratios), "low": min(ratios), "high": max(ratios), "rounds": len(ratios)}


def ratio(figure: ComparedFigure, original: Sequence[Round], ours: Sequence[Round]) -> Ratio:
    """How many times better this service is in ``figure``."""
    theirs, mine = [figure.find(r) for r in original], [figure.find(r) for r in ours]
    return better_by(mine, theirs) if figure.more_is_better else better_by(theirs, mine)


def percentile_of(key: str, percent: float) -> Callable[[Round], float]:
    """Finds a percentile of the latencies of one measurement in a round."""
    return lambda measured: float(np.percentile(measured["load"][key]["latencies_ms"], percent))


def throughput_of(key: str) -> Callable[[Round], float]:
    """Finds the right answers per second of one measurement in a round."""
    return lambda measured: len(measured["load"][key]["latencies_ms"]) / measured["load"][key]["seconds"]


def figures(route: str, many: int) -> dict[str, ComparedFigure]:
    """What the two servers are compared by, in the order of the tables."""
    one, all_ = load_key(route, 1), load_key(route, many)
    return {
        "p50_one": ComparedFigure("p50, 1 client (ms)", percentile_of(one, 50)),
        "p99_one": ComparedFigure("p99, 1 client (ms)", percentile_of(one, 99)),
        "p50_many": ComparedFigure(f"p50, {many} clients (ms)", percentile_of(all_, 50)),
        "p99_many": ComparedFigure(f"p99, {many} clients (ms)", percentile_of(all_, 99)),
        "throughput_one": ComparedFigure("answers per second, 1 client", throughput_of(one), more_is_better=True),
        "throughput_many": ComparedFigure(
            f"answers per second, {many} clients", throughput_of(all_), more_is_better=True
        ),
        "rss_ready": ComparedFigure("memory when ready (MiB)", lambda r: r["memory_ready"]["largest"]),
        "rss_loaded": ComparedFigure("memory after the load (MiB)", lambda r: r["memory_loaded"]["largest"]),
        "ready": ComparedFigure("start to ready (s)", lambda r: r["ready_s"]),
        "first_answer": ComparedFigure("start to first answer (s)", lambda r: r["first_answer_s"]),
    }


def in_process_ratio(theirs: Sequence[Round], ours: Sequence[Round]) -> Ratio:
    """How many times sooner, by the median of each round."""
    return better_by([median(r["latencies_ms"]) for r in theirs], [median(r["latencies_ms"]) for r in ours])


def targets(ratios: dict[str, Ratio], in_process: Ratio, many: int) -> list[dict[str, Any]]:
    """What this service has promised; each is met when the median round meets it."""
    promised = [
        ("HTTP p50, 1 client", ratios["p50_one"], 8),
        (f"throughput, {many} clients", ratios["throughput_many"], 10),
        ("memory of an API process, when ready", ratios["rss_ready"], 4),
        ("memory of an API process, after the load", ratios["rss_loaded"], 4),
        ("start to ready", ratios["ready"], 3),
        ("in process, decode to answer", in_process, 9),
    ]
    return [
        {"name": name, "at_least": at_least, "ratio": found, "met": found["median"] >= at_least}
        for name, found, at_least in promised
    ]
