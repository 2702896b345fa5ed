"""Figure of the scores of each session, with the served threshold."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ml.dataset.annotations import ABNORMAL, NORMAL
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
from ml.reports.expectations import Expectations, SessionScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SHOWN = 12  # sessions of each label
MAX_LETTERS = 60  # with more letters in their names, the sessions are written at a slant
COLOUR = {NORMAL: NORMAL_COLOUR, ABNORMAL: ABNORMAL_COLOUR}
MARK = {NORMAL: "o", ABNORMAL: "^"}


def sessions_picture(found: Expectations) -> Picture:
    """Draw a column of points for each session, healthy and faulty, and the served threshold."""
    normal, abnormal = (found.of_label(label) for label in (NORMAL, ABNORMAL))
    # Of many sessions, those are shown that are nearest to a wrong verdict.
    shown = [*normal.sorted_by_share()[-MAX_SHOWN:], *abnormal.sorted_by_share()[:MAX_SHOWN]]
    left_out = len(found.sessions) - len(shown)
    return draw_picture(
        "sessions",
        "Scores of each session, and the served threshold",
        "A recording above the dashed line is answered anomalous. Circles are normal recordings and should be below, "
        f"triangles are abnormal ones and should be above; n = {normal.n} normal and {abnormal.n} abnormal recordings."
        f"{f' {left_out} more sessions are not shown.' if left_out else ''}",
        lambda figure: draw_sessions(figure, sorted(shown, key=_place), found.threshold),
    )


def _place(session: SessionScores) -> tuple[bool, str]:
    return session.label == ABNORMAL, session.session


def draw_sessions(
    figure: "Figure",
    shown: Sequence[SessionScores],
    threshold: float,
    own_thresholds: Mapping[str, float] = MappingProxyType({}),
    ink: str = INK,
) -> None:
    """Draw a column of points for each session into an empty figure.

    Args:
        figure: the figure.
        shown: the sessions; those of normal recordings are first.
        threshold: threshold of all sessions, 0 to 1.
        own_thresholds: thresholds of single sessions of normal recordings, by name, 0 to 1.
        ink: colour of lines.
    """
    axes = figure.add_subplot()
    pixels = as_pixels(sum(len(each.scores) for each in shown))
    for column, each in enumerate(shown):
        n = len(each.scores)
        axes.scatter(
            column + jitter(n, 0.28),
            each.scores,
            s=13,
            color=COLOUR[each.label],
            marker=MARK[each.label],
            alpha=0.65,
            linewidths=0,
            rasterized=pixels,
        )
        if each.label == NORMAL and each.session in own_thresholds:
            own = own_thresholds[each.session]
            axes.plot([column - 0.4, column + 0.4], [own, own], color=ABNORMAL_COLOUR, linewidth=1.8)
    axes.axhline(threshold, color=ink, linewidth=1, linestyle="--")
    _label(axes, shown, threshold, ink)


def _label(axes: "Axes", shown: Sequence[SessionScores], threshold: float, ink: str) -> None:
    """Name the columns, the labels and the threshold."""
    names = [f"{printable_name(each.session, 16)} ({len(each.scores)})" for each in shown]
    turned = sum(map(len, names)) > MAX_LETTERS
    turn: Any = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(range(len(shown)), names, fontsize=8, **turn)
    axes.text(-0.55, threshold, f"threshold {threshold:.3g}", va="bottom", fontsize=8)
    for label in (NORMAL, ABNORMAL):
        columns = [column for column, each in enumerate(shown) if each.label == label]
        if columns:
            axes.scatter([], [], color=COLOUR[label], marker=MARK[label], linewidths=0, label=label)
            if columns[0]:
                axes.axvline(columns[0] - 0.5, color=ink, linewidth=0.6, alpha=0.4)
    axes.set(ylabel="score", xlim=(-0.6, len(shown) - 0.4), ylim=(-0.03, 1.03))
    axes.grid(visible=False, axis="x")
    figure = axes.figure
    figure.legend(loc="outside upper left", ncols=2)
