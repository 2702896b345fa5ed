"""Figures of the reference channel: a recording before and after the hall is removed."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.reports.drawing import ABNORMAL_COLOUR, COLOURS, INK, Picture, draw_picture
from ml.reports.facts import HallExample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEFORE_COLOUR, AFTER_COLOUR = COLOURS[6], ABNORMAL_COLOUR
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16_000)


def hall_picture(example: HallExample, centres_hz: NDArray[np.float64], number: int) -> Picture:
    """Draw the deviation of the main channel and the residual of a recording.

    Args:
        example: the recording.
        centres_hz: centres of the mel bands, ``(bands,)``.
        number: number of the figure in the page.
    """
    before, after = (float(np.sqrt(np.square(each).mean())) for each in (example.main_db, example.residual_db))
    return draw_picture(
        f"hall-{number}",
        f"With and without the hall: {example.title}",
        f"{example.caption}. Level of each mel band minus that of the machine's normal recordings, at the same "
        f"loudness. The grey line is the main channel (RMS {before:.1f} dB), the orange line what is left without the "
        f"reference channel (RMS {after:.1f} dB).",
        partial(_draw, example=example, centres_hz=centres_hz),
        height_in=2.8,
    )


def _draw(figure: "Figure", example: HallExample, centres_hz: NDArray[np.float64]) -> None:
    axes = figure.add_subplot()
    # Bands have equal width, as in the spectrograms of the page.
    bands = np.arange(len(centres_hz))
    axes.axhline(0, color=INK, linewidth=0.6, alpha=0.6)
    axes.plot(bands, example.main_db, color=BEFORE_COLOUR, linewidth=1.2, label="main channel")
    axes.plot(bands, example.residual_db, color=AFTER_COLOUR, linewidth=1.4, label="without the hall")
    shown = [hz for hz in TICKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    axes.set_xticks(np.interp(shown, centres_hz, bands), [f"{hz / 1000:g}" for hz in shown])
    axes.set(xlabel="kHz", ylabel="deviation in dB")
    figure.legend(loc="outside upper left", ncols=2)
