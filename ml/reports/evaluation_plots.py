"""Figures of training and evaluation: curves, scores, ROC, calibration, AUC by machine, id and SNR."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.reports.drawing import (
    ABNORMAL_COLOUR,
    COLOURS,
    INK,
    NORMAL_COLOUR,
    Picture,
    as_pixels,
    draw_picture,
    jitter,
    printable_name,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ml.classifier.fitting import Epoch
    from ml.evaluation.results import Estimate, Evaluation, Slice

PARTIAL = 0.1  # largest false-alarm rate of the pAUC
SCORE_BINS = np.linspace(0, 1, 26)
RELIABILITY_BINS = np.linspace(0, 1, 11)
MAX_COMPARED = 24  # rows in the figure of AUC by machine, id and SNR


def training_picture(history: "Sequence[Epoch]", best: int | None) -> Picture:
    """Draw loss and accuracy of the training and validation sides over the epochs."""
    kept = "" if best is None else f" The weights of epoch {best} (dashed line) were kept."
    return draw_picture(
        "training",
        "Training curves",
        "If the validation loss rises while the training loss falls, the network memorises its training recordings; "
        f"n = {len(history)} epochs.{kept}",
        lambda figure: _curves(figure, history, best),
        height_in=4.4,
    )


def evaluation_pictures(evaluation: "Evaluation") -> list[Picture]:
    """Draw all figures of an evaluation. ROC and calibration need normal and abnormal recordings."""
    normal, abnormal = (np.array(scores) for scores in (evaluation.scores_normal, evaluation.scores_abnormal))
    counts = f"n = {len(normal)} normal and {len(abnormal)} abnormal recordings"
    pictures = [
        draw_picture(
            "scores",
            "Scores of normal and abnormal recordings",
            "Scores to the right of the threshold of the measured model (dashed line) raise an alarm. Less overlap is "
            f"better; {counts}.",
            lambda figure: _scores(figure, normal, abnormal, evaluation.threshold),
        )
    ]
    if len(normal) and len(abnormal):
        pictures += [
            draw_picture(
                "roc",
                "ROC",
                "Detection rate at each false-alarm rate. The dot is the measured model's threshold, the tinted area "
                f"belongs to the pAUC, and the diagonal is chance; {counts}.",
                lambda figure: _roc(figure, evaluation),
            ),
        ]
    if evaluation.brier.value is not None and len(normal) and len(abnormal):
        pictures.append(
            draw_picture(
                "reliability",
                "Calibration",
                "Of the recordings with a score near 0.8, 8 of 10 should be abnormal: dots should be on the diagonal. "
                f"A larger dot stands for more recordings; {counts}.",
                lambda figure: _reliability(figure, normal, abnormal),
            )
        )
    compared = [part for part in evaluation.slices if part.auc.value is not None][:MAX_COMPARED]
    if len(compared) > 1:
        pictures.append(
            draw_picture(
                "slices",
                "AUC by machine, id and SNR",
                "Lines are 95 % intervals. If a line reaches 0.5 (dotted), the AUC may be chance. The number of "
                "recordings is next to each name.",
                lambda figure: _slices(figure, compared),
                height_in=1.1 + 0.27 * len(compared),
            )
        )
    return pictures


def _curves(figure: "Figure", history: "Sequence[Epoch]", best: int | None) -> None:
    panels = figure.subplots(2, 1, sharex=True)
    epochs = [epoch.epoch for epoch in history]
    rows = (
        ("loss", [e.loss for e in history], [e.validation_loss for e in history]),
        ("accuracy", [e.accuracy for e in history], [e.validation_accuracy for e in history]),
    )
    mark = "o" if len(epochs) < 40 else ""
    for axes, (name, training, validation) in zip(panels, rows, strict=True):
        axes.plot(epochs, training, color=COLOURS[0], marker=mark, markersize=3, label="training")
        axes.plot(epochs, validation, color=COLOURS[1], marker=mark, markersize=3, label="validation")
        axes.set_ylabel(name)
        if best is not None:
            axes.axvline(best, color=INK, linewidth=1, linestyle="--")
    panels[0].legend()
    panels[1].set_xlabel("epoch")
    panels[1].xaxis.get_major_locator().set_params(integer=True)


def _scores(figure: "Figure", normal: NDArray[np.float64], abnormal: NDArray[np.float64], threshold: float) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    kinds = ((normal, NORMAL_COLOUR, "normal"), (abnormal, ABNORMAL_COLOUR, "abnormal"))
    for row, (scores, colour, name) in enumerate(kinds):
        if len(scores):
            share = np.full(len(scores), 100 / len(scores))
            above.hist(
                scores, SCORE_BINS, weights=share, histtype="stepfilled", facecolor=f"{colour}55", edgecolor=colour,
                label=name,
            )  # fmt: skip  # one line for each thing drawn
            pixels = as_pixels(len(scores))
            height = row + jitter(len(scores), 0.3)
            below.scatter(scores, height, s=8, color=colour, alpha=0.7, linewidths=0, rasterized=pixels)
    for axes in (above, below):
        axes.axvline(threshold, color=INK, linewidth=1, linestyle="--")
    above.set_ylabel("share (%)")
    above.legend()
    below.set(xlabel="score", xlim=(-0.02, 1.02), ylim=(1.6, -0.6))
    below.set_yticks([0, 1], ["normal", "abnormal"])


def _roc(figure: "Figure", evaluation: "Evaluation") -> None:
    axes = figure.add_subplot()
    false_alarms, detected = (np.array([point[i] for point in evaluation.roc]) for i in (0, 1))
    edge = float(np.interp(PARTIAL, false_alarms, detected))
    inside = false_alarms <= PARTIAL
    axes.fill_between(
        [*false_alarms[inside], PARTIAL], [*detected[inside], edge], color=COLOURS[0], alpha=0.2, linewidth=0,
        label=f"pAUC {_short(evaluation.pooled.pauc)}",
    )  # fmt: skip  # one line for each thing drawn
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
    axes.plot(false_alarms, detected, color=COLOURS[0], linewidth=1.8, label=f"AUC {_short(evaluation.pooled.auc)}")
    alarm, detection = evaluation.pooled.false_alarm_rate.value, evaluation.pooled.detection_rate.value
    if alarm is not None and detection is not None:
        label = f"threshold {evaluation.threshold:.3g}"
        axes.scatter([alarm], [detection], color=COLOURS[1], s=55, zorder=3, label=label, clip_on=False)
    axes.set(xlabel="false-alarm rate", ylabel="detection rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")


def _reliability(figure: "Figure", normal: NDArray[np.float64], abnormal: NDArray[np.float64]) -> None:
    axes = figure.add_subplot()
    scores = np.concatenate([normal, abnormal])
    abnormal_flags = np.repeat([0.0, 1.0], [len(normal), len(abnormal)])
    bins = np.clip(np.digitize(scores, RELIABILITY_BINS) - 1, 0, len(RELIABILITY_BINS) - 2)
    filled = [number for number in range(len(RELIABILITY_BINS) - 1) if (bins == number).any()]
    counts = np.array([(bins == number).sum() for number in filled])
    means = [scores[bins == number].mean() for number in filled]
    shares = [abnormal_flags[bins == number].mean() for number in filled]
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
    axes.plot(means, shares, color=COLOURS[2], linewidth=1)
    axes.scatter(means, shares, s=20 + 180 * counts / counts.max(), color=COLOURS[2], alpha=0.75, linewidths=0)
    axes.set(xlabel="mean score", ylabel="share of abnormal recordings", xlim=(-0.05, 1.05), ylim=(-0.08, 1.08))


def _slices(figure: "Figure", compared: "Sequence[Slice]") -> None:
    axes = figure.add_subplot()
    for row, part in enumerate(compared):
        _whisker(axes, row, part.auc, COLOURS[1] if part.kind == "pooled" else COLOURS[0])
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(compared)), [f"{printable_name(part.name)} ({part.n})" for part in compared])
    lowest = min(
        part.auc.value if part.auc.low is None else part.auc.low for part in compared if part.auc.value is not None
    )
    axes.set(xlabel="AUC", xlim=(min(0.45, lowest - 0.03), 1.02), ylim=(len(compared) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")


def _whisker(axes: "Axes", row: int, auc: "Estimate", colour: str) -> None:
    if auc.low is not None and auc.high is not None:
        axes.plot([auc.low, auc.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.scatter([np.nan if auc.value is None else auc.value], [row], color=colour, s=34, zorder=3)


def _short(estimate: "Estimate") -> str:
    return "undefined" if estimate.value is None else f"{estimate.value:.3f}"
