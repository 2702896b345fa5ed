"""Comparison of detectors as one HTML page: tables, scores relative to the threshold, mean spectra."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.experiments.comparison_results import FALSE_ALARM_RATES, DetectorComparison, MeanSpectrum, Trial
from ml.experiments.recommendation import recommend
from ml.reports.drawing import (
    ABNORMAL_COLOUR,
    INK,
    NORMAL_COLOUR,
    Picture,
    as_pixels,
    draw_picture,
    jitter,
    printable_name,
)
from ml.reports.page import render_template
from ml.system.atomic import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parent / "comparison.html.jinja"
MAX_SPECTRA = 24
# Range of the logarithmic axis of scores; scores outside it are drawn at its ends.
MAX_THRESHOLD_RATIO = 1000.0
BINS = np.geomspace(1 / MAX_THRESHOLD_RATIO, MAX_THRESHOLD_RATIO, 61)
COLOUR = {"normal": NORMAL_COLOUR, "abnormal": ABNORMAL_COLOUR}
TICKS_THRESHOLD_RATIO = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)


def write_comparison_report(target: Path, comparison: DetectorComparison) -> None:
    """Write a comparison as one HTML file that needs no other file.

    Args:
        target: file to write, in an existing folder. An existing file is replaced.
        comparison: content of the report.

    Raises:
        MissingExtra: matplotlib or jinja2 is not installed.
        OSError: the file cannot be written.
    """
    context = {
        "comparison": comparison,
        "recommendation": recommend(comparison).message,
        "stated": FALSE_ALARM_RATES,
        "scores": [_scores(name, number, comparison) for number, name in enumerate(comparison.contenders)],
        "spectra": [_spectrum(spectrum, number) for number, spectrum in enumerate(comparison.spectra[:MAX_SPECTRA])],
        "spectra_left_out": max(0, len(comparison.spectra) - MAX_SPECTRA),
    }
    write_atomic(target, render_template(TEMPLATE, context))


def _scores(contender: str, number: int, comparison: DetectorComparison) -> Picture:
    trials = comparison.trials[contender]
    ratios = {label: _threshold_ratios([each for each in trials if each.entry.label == label]) for label in COLOUR}
    counts = f"{len(ratios['normal'])} normal and {len(ratios['abnormal'])} abnormal scores"
    return draw_picture(
        f"scores-{number}",
        f"Scores of {printable_name(contender, 48)}",
        f"Distances relative to the threshold for {FALSE_ALARM_RATES[0]:.0%} false alarms (dashed line) of each fold. "
        f"Scores to the right of it raise an alarm. Less overlap is better; n = {counts}.",
        lambda figure: _draw_scores(figure, ratios),
    )


def _threshold_ratios(trials: list[Trial]) -> NDArray[np.float64]:
    """Divide each relative distance by that of its threshold. Scores and thresholds are ``d / (1 + d)``."""
    scores, thresholds = (
        np.clip(values, 1e-9, 1 - 1e-9)
        for values in (np.array([each.score for each in trials]), np.array([each.thresholds[0] for each in trials]))
    )
    ratios = scores / (1 - scores) * (1 - thresholds) / thresholds
    return np.asarray(np.clip(ratios, 1 / MAX_THRESHOLD_RATIO, MAX_THRESHOLD_RATIO))


def _draw_scores(figure: "Figure", ratios: dict[str, NDArray[np.float64]]) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for row, (label, values) in enumerate(ratios.items()):
        if len(values):
            share, colour = np.full(len(values), 100 / len(values)), COLOUR[label]
            above.hist(
                values, BINS, weights=share, histtype="stepfilled", facecolor=f"{colour}55", edgecolor=colour,
                label=label,
            )  # fmt: skip  # one line for each thing drawn
            height = row + jitter(len(values), 0.3)
            pixels = as_pixels(len(values))
            below.scatter(values, height, s=8, color=colour, alpha=0.7, linewidths=0, rasterized=pixels)
    for axes in (above, below):
        axes.axvline(1, color=INK, linewidth=1, linestyle="--")
    every = np.concatenate([*ratios.values(), [1.0]])
    above.set_ylabel("share (%)")
    above.legend()
    below.set(xlabel="multiples of the threshold", xscale="log", ylim=(1.6, -0.6))
    below.set_xlim(every.min() / 1.3, every.max() * 1.3)
    shown = [ratio for ratio in TICKS_THRESHOLD_RATIO if every.min() / 1.3 <= ratio <= every.max() * 1.3]
    below.set_xticks(shown, [f"{ratio:g}" for ratio in shown])
    below.minorticks_off()
    below.set_yticks([0, 1], list(COLOUR))


def _spectrum(spectrum: MeanSpectrum, number: int) -> Picture:
    counts = " and ".join(f"{n} {label}" for label, n in spectrum.n.items())
    return draw_picture(
        f"spectrum-{number}",
        f"Mean spectrum of {printable_name(spectrum.name, 48)}",
        "Level removed. The tinted areas are one standard deviation between clips. Frequencies where the two lines "
        f"differ show the faults; n = {counts} recordings.",
        lambda figure: _draw_spectrum(figure, spectrum),
        height_in=2.8,
    )


def _draw_spectrum(figure: "Figure", spectrum: MeanSpectrum) -> None:
    axes = figure.add_subplot()
    for label, mean in spectrum.mean_db.items():
        deviation, colour = spectrum.deviation_db[label], COLOUR[label]
        axes.fill_between(
            spectrum.centres_hz, mean - deviation, mean + deviation, color=colour, alpha=0.25, linewidth=0
        )
        axes.plot(spectrum.centres_hz, mean, color=colour, linewidth=1.3, label=label)
    shown = [hz for hz in TICKS_HZ if spectrum.centres_hz[0] <= hz <= spectrum.centres_hz[-1]]
    axes.set(xlabel="kHz", ylabel="dB", xscale="log")
    axes.set_xticks(shown, [f"{hz / 1000:g}" for hz in shown])
    axes.minorticks_off()
    axes.legend()
