"""The chart of the README: both ways side by side, drawn from the results. ``python -m benchmarks.inference.chart``."""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.inference.samples import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results" / "inference.json"
IMAGE = REPOSITORY / "docs" / "images" / "inference.svg"
# Greys and hues of medium lightness: readable on white and on black alike.
TEXT, ORIGINAL, OURS = "#808890", "#9aa0a6", "#2f8fd0"
ROOM = 1.16  # bars end before the axes do, so that their figures fit
SHOWN = {
    "p50_one": ("Latency, 1 client", "{:.1f} ms", "lower"),
    "p99_many": ("Slowest 1 %, {clients} clients", "{:.0f} ms", "lower"),
    "throughput_many": ("Throughput, {clients} clients", "{:.1f} /s", "higher"),
    "rss_loaded": ("Memory after the load", "{:.0f} MiB", "smaller"),
    "ready": ("Start to ready", "{:.1f} s", "sooner"),
}


def draw(results: dict[str, Any], image: Path) -> None:
    """Draw one group of two bars for each figure, on a scale of its own, and say how many times better."""
    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "signalml",
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT),
    }
    with mpl.rc_context(style):
        drawing, groups = plt.subplots(len(SHOWN), 1, figsize=(8.4, 0.86 * len(SHOWN) + 0.5))
        for group, key in zip(groups, SHOWN, strict=True):
            _group(group, key, results)
        drawing.subplots_adjust(left=0.24, right=0.86, top=0.93, bottom=0.07, hspace=0.35)
        drawing.text(0.24, 0.96, "original's way", color=ORIGINAL, weight="bold")
        drawing.text(0.40, 0.96, "signalml", color=OURS, weight="bold")
        drawing.text(0.24, 0.02, _footnote(results), size=8)
        image.parent.mkdir(parents=True, exist_ok=True)
        drawing.savefig(image, format="svg", transparent=True, metadata={"Date": None})
        plt.close(drawing)


def _group(axes: Axes, key: str, results: dict[str, Any]) -> None:
    title, unit, direction = SHOWN[key]
    figure = results["compared"][key]
    values = (figure["original"], figure["signalml"])
    axes.barh((0, 1), values, color=(ORIGINAL, OURS), height=0.82)
    axes.set_xlim(0, max(values) * ROOM)
    axes.invert_yaxis()
    axes.set_axis_off()
    for position, value in enumerate(values):
        axes.text(value + max(values) * 0.01, position, unit.format(value), va="center")
    axes.text(
        -0.02,
        0.5,
        title.format(clients=results["plan"]["clients"]),
        transform=axes.transAxes,
        ha="right",
        va="center",
    )
    axes.text(
        1.02,
        0.5,
        f"{figure['ratio']['median']:.1f}x {direction}",
        transform=axes.transAxes,
        va="center",
        weight="bold",
        color=OURS,
    )


def _footnote(results: dict[str, Any]) -> str:
    facts = results["machine"]
    return (
        f"{facts['cpu']}, {facts['cores']} cores; Python {results['versions']['python']}; "
        f"medians of {results['plan']['rounds']} alternating rounds; {results['made']['date'][:10]}"
    )


def main() -> None:
    """Draw the chart anew."""
    parser = argparse.ArgumentParser(description="Draw the chart of the README from the results.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--image", type=Path, default=IMAGE)
    options = parser.parse_args()
    draw(json.loads(options.results.read_text()), options.image)


if __name__ == "__main__":
    main()
