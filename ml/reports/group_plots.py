"""Figures of the fault groups: as in the original project, and figures of their reliability."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.faults.groups import FaultGroups
from ml.reports.drawing import COLOURS, INK, MARKERS, Picture, as_pixels, draw_picture, jitter, printable_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = 240  # points in each direction for the regions of the groups


def group_pictures(groups: FaultGroups, names: Sequence[str]) -> list[Picture]:
    """Draw all figures of ``groups``, labelled with ``names``."""
    n = len(groups.assignments)
    return [
        draw_picture(
            "variance",
            "Explained variance",
            "Share of the variance in each principal component, and the sum up to it. The groups were found in the "
            f"first {groups.dimensions} (dark bars); n = {n}.",
            lambda figure: _variance(figure, groups),
        ),
        draw_picture(
            "elbow",
            "Number of groups",
            f"Inertia always falls; a bend suggests a number of groups. Silhouette and stability should be high at the "
            f"chosen number, {groups.k} (dashed line); n = {n}.",
            lambda figure: _elbow(figure, groups),
            height_in=4.6,
        ),
        draw_picture(
            "scatter",
            "Recordings by their principal components",
            f"Each mark is one abnormal training recording; similar recordings are close together; n = {n}.",
            lambda figure: _scatter(figure, groups, names),
        ),
        draw_picture(
            "regions",
            "Regions of the groups",
            f"A recording in a coloured region belongs to the group with the nearest centroid (cross); "
            f"n = {n}.{_section(groups)}",
            lambda figure: _regions(figure, groups),
        ),
        draw_picture(
            "distances",
            "Distances to the centroids",
            f"Groups are well separated if the distances to their own centroid (coloured) are smaller than those to "
            f"the nearest other centroid (grey). Each box contains the middle half; n = {n}.",
            lambda figure: _to_centroids(figure, groups, names),
        ),
        draw_picture(
            "space",
            "Recordings by three components",
            f"Recordings that overlap in two components can be separate in the third; n = {n}.",
            lambda figure: _space(figure, groups, names),
            height_in=4.4,
        ),
    ]


def _section(groups: FaultGroups) -> str:
    if groups.dimensions <= 2:
        return ""
    return f" The groups were found in {groups.dimensions} components; the regions are shown where all others are 0."


def _variance(figure: "Figure", groups: FaultGroups) -> None:
    axes = figure.add_subplot()
    shares = 100 * np.array(groups.explained_variance_ratio)
    numbers = np.arange(1, len(shares) + 1)
    colours = [COLOURS[0] if number <= groups.dimensions else f"{COLOURS[0]}55" for number in numbers]
    axes.bar(numbers, shares, color=colours, width=0.75, label="each")
    axes.plot(numbers, np.cumsum(shares), color=COLOURS[1], marker="o", markersize=3.5, label="sum")
    axes.set(xlabel="principal component", ylabel="share of the variance (%)", ylim=(0, 105))
    axes.set_xticks(numbers[:: 1 + len(numbers) // 11])
    axes.legend(loc="center right")


def _elbow(figure: "Figure", groups: FaultGroups) -> None:
    panels = figure.subplots(3, 1, sharex=True)
    numbers = [trial.k for trial in groups.curve]
    rows: tuple[tuple[str, Sequence[float | None]], ...] = (
        ("inertia", [trial.inertia for trial in groups.curve]),
        ("silhouette", [trial.silhouette for trial in groups.curve]),
        ("stability", [trial.stability for trial in groups.curve]),
    )
    for axes, (name, values), colour in zip(panels, rows, COLOURS, strict=False):
        known = [np.nan if value is None else value for value in values]
        axes.plot(numbers, known, color=colour, marker="o", markersize=4)
        axes.axvline(groups.k, color=INK, linewidth=1, linestyle="--")
        axes.set_ylabel(name)
        axes.margins(y=0.15)
    panels[0].ticklabel_format(axis="y", style="plain")
    panels[-1].set_xlabel("number of groups")
    panels[-1].set_xticks(numbers)


def _scatter(figure: "Figure", groups: FaultGroups, names: Sequence[str]) -> None:
    axes = figure.add_subplot()
    _marks(axes, groups, names)
    _name_axes(axes, groups)
    axes.legend(loc="best", framealpha=0)


def _regions(figure: "Figure", groups: FaultGroups) -> None:
    axes = figure.add_subplot()
    x, y = _column(groups.projected, 0), _column(groups.projected, 1)
    (left, right), (low, high) = _range(x), _range(y)
    plane = np.stack(np.meshgrid(np.linspace(left, right, GRID), np.linspace(low, high, GRID)), axis=-1)
    nearest = _nearest_centroid(plane.reshape(-1, 2), groups).reshape(GRID, GRID)
    tints = np.array([_rgba(COLOURS[number], 0.25) for number in range(groups.k)])
    axes.imshow(tints[nearest], extent=(left, right, low, high), origin="lower", aspect="auto", interpolation="none")
    _marks(axes, groups, [""] * groups.k, size=10)
    centre_y = groups.centroids[:, 1] if groups.dimensions > 1 else np.zeros(groups.k)
    axes.scatter(groups.centroids[:, 0], centre_y, marker="x", s=90, linewidths=2.5, color=INK, zorder=3)
    _name_axes(axes, groups)
    axes.grid(visible=False)


def _to_centroids(figure: "Figure", groups: FaultGroups, names: Sequence[str]) -> None:
    axes = figure.add_subplot()
    for number in range(groups.k):
        inside = groups.distances[groups.assignments == number]
        if not len(inside):
            continue
        others = np.delete(inside, number, axis=1).min(axis=1)
        for values, colour, offset in ((inside[:, number], COLOURS[number], -0.2), (others, "#8c8c8c", 0.2)):
            _box(axes, values, number + offset, colour)
    axes.set_xticks(range(groups.k), [_short(names[g], groups.k) for g in range(groups.k)])
    axes.set(ylabel="distance", ylim=(0, None), xlim=(-0.6, groups.k - 0.4))
    axes.grid(visible=False, axis="x")


def _box(axes: "Axes", values: NDArray[np.float64], x: float, colour: str) -> None:
    line = {"color": INK, "linewidth": 1}
    axes.boxplot(
        values,
        positions=[x],
        widths=0.3,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": f"{colour}40", "edgecolor": INK},
        medianprops={"color": INK, "linewidth": 1.8},
        whiskerprops=line,
        capprops=line,
    )
    pixels = as_pixels(len(values))
    axes.scatter(x + jitter(len(values), 0.1), values, s=7, color=colour, linewidths=0, rasterized=pixels, zorder=3)


def _space(figure: "Figure", groups: FaultGroups, names: Sequence[str]) -> None:
    axes = figure.add_subplot(projection="3d")
    depth = [_column(groups.projected, number) for number in range(3)]
    for number in range(groups.k):
        inside = groups.assignments == number
        axes.scatter(
            *(values[inside] for values in depth),
            color=COLOURS[number],
            marker=MARKERS[number],
            s=16,
            linewidths=0,
            label=printable_name(names[number]),
            rasterized=as_pixels(len(groups.assignments)),
        )
    for side in (axes.xaxis, axes.yaxis, axes.zaxis):
        side.set_pane_color((0.5, 0.5, 0.5, 0.06))
        side._axinfo["grid"].update(color=(0.5, 0.5, 0.5, 0.35), linewidth=0.6)  # no public interface exists
    axes.set(xlabel="component 1", ylabel="component 2", zlabel="component 3")
    axes.set_box_aspect(None, zoom=0.86)
    axes.tick_params(labelsize=8, pad=0)
    axes.locator_params(nbins=5)
    axes.legend(loc="upper left", framealpha=0)


def _marks(axes: "Axes", groups: FaultGroups, names: Sequence[str], size: float = 22) -> None:
    x, y = _column(groups.projected, 0), _column(groups.projected, 1)
    for number in range(groups.k):
        inside = groups.assignments == number
        axes.scatter(
            x[inside],
            y[inside],
            color=COLOURS[number],
            marker=MARKERS[number],
            s=size,
            linewidths=0,
            alpha=0.85,
            label=printable_name(names[number]),
            rasterized=as_pixels(len(x)),
        )


def _name_axes(axes: "Axes", groups: FaultGroups) -> None:
    shares = [*groups.explained_variance_ratio, 0.0]
    axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"component 2 ({shares[1]:.0%})")


def _nearest_centroid(plane: NDArray[np.float64], groups: FaultGroups) -> NDArray[np.intp]:
    """Return the group of points ``(m, 2)`` in the first two components; all others are 0, the mean."""
    points = np.zeros((len(plane), max(groups.dimensions, 2)))
    points[:, :2] = plane
    distances = [((points[:, : groups.dimensions] - centroid) ** 2).sum(axis=1) for centroid in groups.centroids]
    nearest: NDArray[np.intp] = np.argmin(distances, axis=0)
    return nearest


def _column(projected: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return one component of every recording; zeros if it does not exist."""
    return projected[:, number] if number < projected.shape[1] else np.zeros(len(projected))


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    margin = 0.06 * float(np.ptp(values)) or 1.0
    return float(values.min()) - margin, float(values.max()) + margin


def _rgba(colour: str, alpha: float) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue, alpha


def _short(name: str, columns: int) -> str:
    return printable_name(name, max(6, 60 // columns))
